//! `GET /api/v1/ledger`: what has become of everything the state was given.

use std::sync::Arc;

use access::Caller;
use axum::{Extension, Json, extract::State, response::Response};
use otlp_proto::correlation::v1::{GetLedgerRequest, GetLedgerResponse, LedgerAccount};
use serde::Serialize;
use state_core::{Account, Ledger};
use tonic::Status;

use super::{answer, client, demand_all_tenants};
use crate::{engines::Method, server::Gateway};

/// `GET /api/v1/ledger`
pub(crate) async fn ledger(
    State(gateway): State<Arc<Gateway>>,
    Extension(caller): Extension<Caller>,
) -> Response {
    let read = async {
        demand_all_tenants(&caller)?;
        let call = |channel, request| async move { client(channel).get_ledger(request).await };
        let request = GetLedgerRequest {};
        let ask =
            gateway.engines.ask_each_state(&caller, gateway.deadline(), Method::GET_LEDGER, request, call);
        let ledgers: Vec<_> = ask.await.into_iter().collect::<Result<_, Status>>()?;
        Ok(Json(Answer::of(ledgers)))
    };
    answer("ledger", read).await
}

/// The accounts of both signals, over all states.
#[derive(Debug, Serialize)]
struct Answer {
    /// Whether nothing is unaccounted for.
    balanced: bool,
    #[serde(flatten)]
    ledger: Ledger,
}

impl Answer {
    fn of(ledgers: Vec<GetLedgerResponse>) -> Self {
        let mut sum = Ledger::default();
        for GetLedgerResponse { spans, logs } in ledgers {
            sum.spans += &account(spans.unwrap_or_default());
            sum.logs += &account(logs.unwrap_or_default());
        }
        Self { balanced: sum.is_balanced(), ledger: sum }
    }
}

fn account(account: LedgerAccount) -> Account {
    let LedgerAccount { received, kept, duplicate, refused, delivered, stored, pending, expired, deleted } =
        account;
    Account {
        received,
        kept,
        duplicate,
        refused: refused.into_iter().collect(),
        delivered,
        stored,
        pending,
        expired: expired.into_iter().collect(),
        deleted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_state(kept: u64, pending: u64) -> LedgerAccount {
        let refused = [("invalid".to_owned(), 2)].into();
        LedgerAccount { received: kept + 2, kept, refused, pending, delivered: 5, ..Default::default() }
    }

    #[test]
    fn several_states_add_up() {
        let ledger = |spans| GetLedgerResponse { spans: Some(spans), logs: None };
        let Answer { balanced, ledger: sum } =
            Answer::of(vec![ledger(of_state(7, 2)), ledger(of_state(6, 1))]);
        assert!(balanced);
        assert_eq!((sum.spans.kept, sum.spans.pending, sum.spans.refused["invalid"]), (13, 3, 4));
        assert_eq!(sum.logs, Account::default());
    }

    #[test]
    fn one_that_does_not_balance_is_told() {
        let ledger = GetLedgerResponse { spans: None, logs: Some(of_state(7, 1)) };
        assert!(!Answer::of(vec![ledger]).balanced);
    }
}
