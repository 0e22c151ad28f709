//! `GET /api/v1/ledger`: what has become of everything the state was given.

use std::{collections::BTreeMap, sync::Arc};

use access::Caller;
use axum::{Extension, Json, extract::State, http::StatusCode, response::Response};
use otlp_proto::correlation::v1::{GetLedgerRequest, GetLedgerResponse, LedgerAccount};
use serde::Serialize;
use tonic::Status;

use super::{answer, client, problem::Problem};
use crate::{engines::Repeat, server::Gateway};

/// `GET /api/v1/ledger`
pub(crate) async fn ledger(
    State(gateway): State<Arc<Gateway>>,
    Extension(caller): Extension<Caller>,
) -> Response {
    let read = async {
        // It goes to the engine as this gateway's own question, so it is decided here.
        if caller.is_confined {
            let detail = "this concerns all tenants, and the credential is confined to one";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        let call = |channel, request| async move { client(channel).get_ledger(request).await };
        let request = GetLedgerRequest {};
        let ask = gateway.engines.ask_each_state(&caller, gateway.deadline(), Repeat::Safe, request, call);
        let ledgers: Vec<_> = ask.await.into_iter().collect::<Result<_, Status>>()?;
        Ok(Json(Ledger::of(ledgers)))
    };
    answer("ledger", read).await
}

/// The accounts of both signals, over all states.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Ledger {
    /// Whether nothing is unaccounted for.
    balanced: bool,
    spans: Account,
    logs: Account,
}

/// A `LedgerAccount`: its fields under their own names.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Account {
    received: u64,
    kept: u64,
    duplicate: u64,
    refused: BTreeMap<String, u64>,
    delivered: u64,
    stored: u64,
    pending: u64,
    expired: BTreeMap<String, u64>,
    deleted: u64,
}

impl Ledger {
    fn of(ledgers: Vec<GetLedgerResponse>) -> Self {
        let (mut spans, mut logs) = (Account::default(), Account::default());
        for ledger in ledgers {
            spans.add(ledger.spans.unwrap_or_default());
            logs.add(ledger.logs.unwrap_or_default());
        }
        Self { balanced: spans.is_balanced() && logs.is_balanced(), spans, logs }
    }
}

impl Account {
    fn add(&mut self, more: LedgerAccount) {
        self.received += more.received;
        self.kept += more.kept;
        self.duplicate += more.duplicate;
        self.delivered += more.delivered;
        self.stored += more.stored;
        self.pending += more.pending;
        self.deleted += more.deleted;
        for (sums, more) in [(&mut self.refused, more.refused), (&mut self.expired, more.expired)] {
            for (reason, items) in more {
                *sums.entry(reason).or_default() += items;
            }
        }
    }

    fn is_balanced(&self) -> bool {
        let (refused, expired): (u64, u64) = (self.refused.values().sum(), self.expired.values().sum());
        self.received == self.kept + self.duplicate + refused
            && self.kept == self.delivered + self.stored + self.pending + expired + self.deleted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(kept: u64, pending: u64) -> LedgerAccount {
        let refused = [("invalid".to_owned(), 2)].into();
        LedgerAccount { received: kept + 2, kept, refused, pending, delivered: 5, ..Default::default() }
    }

    #[test]
    fn several_states_add_up() {
        let ledger = |spans| GetLedgerResponse { spans: Some(spans), logs: None };
        let sum = Ledger::of(vec![ledger(account(7, 2)), ledger(account(6, 1))]);
        assert!(sum.balanced);
        assert_eq!((sum.spans.kept, sum.spans.pending, sum.spans.refused["invalid"]), (13, 3, 4));
        assert_eq!(sum.logs, Account::default());
    }

    #[test]
    fn one_that_does_not_balance_is_told() {
        let ledger = GetLedgerResponse { spans: None, logs: Some(account(7, 1)) };
        assert!(!Ledger::of(vec![ledger]).balanced);
    }
}
