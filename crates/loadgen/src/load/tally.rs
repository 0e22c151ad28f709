//! What came of the requests of a load.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    client::{Outcome, Sent},
    histogram::Histogram,
    traffic::Size,
};

/// Counts what came of requests.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Accepted until now, of the warm-up too.
    pub(super) accepted: Size,
    /// What counts, and has ended.
    pub(super) requests: u64,
    pub(super) sent: Size,
    pub(super) refused_requests: u64,
    pub(super) retried_requests: u64,
    pub(super) failed_requests: u64,
    pub(super) outcomes: Outcomes,
    pub(super) codes: BTreeMap<String, u64>,
    /// Of requests that were accepted.
    pub(super) latency: Histogram,
    /// The same since the line of progress was written.
    pub(super) recent: Histogram,
    /// What was said against the first request that was not accepted whole.
    pub(super) complaint: Option<String>,
}

/// Where everything that was sent is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Kept, for which the receiver is answerable.
    pub accepted: Items,
    /// Refused for good in a partial success.
    pub rejected: Items,
    /// Refused for good with its request.
    pub refused: Items,
    /// Refused for the moment until it was given up.
    pub given_up: Items,
    /// Not accepted, and not always answered: kept or not.
    pub unknown: Items,
}

/// So many of each signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Items {
    /// Spans.
    pub spans: u64,
    /// Log records.
    pub logs: u64,
}

impl Tally {
    /// Counts a request that has ended.
    pub(super) fn add(&mut self, size: Size, sent: &Sent, took: Duration, is_measured: bool) {
        let Size { spans, logs, traces } = size;
        if let Outcome::Accepted { rejected } = sent.outcome {
            self.recent.add(took);
            self.accepted.traces += traces;
            // A request holds either.
            self.accepted.spans += spans.saturating_sub(rejected);
            self.accepted.logs += logs.saturating_sub(rejected);
        }
        if !is_measured {
            return;
        }
        self.requests += 1;
        self.sent.spans += spans;
        self.sent.logs += logs;
        self.sent.traces += traces;
        self.refused_requests += u64::from(sent.was_refused());
        self.retried_requests += u64::from(sent.answers.len() > 1);
        for code in &sent.answers {
            *self.codes.entry(code.to_string()).or_default() += 1;
        }
        match sent.outcome {
            Outcome::Accepted { rejected } => {
                self.latency.add(took);
                let (rejected_spans, rejected_logs) = (rejected.min(spans), rejected.min(logs));
                self.outcomes.rejected.add(rejected_spans, rejected_logs);
                self.outcomes.accepted.add(spans - rejected_spans, logs - rejected_logs);
            }
            Outcome::Refused => self.outcomes.refused.add(spans, logs),
            Outcome::GivenUp => self.outcomes.given_up.add(spans, logs),
            Outcome::Unknown => self.outcomes.unknown.add(spans, logs),
        }
        let is_accepted = matches!(sent.outcome, Outcome::Accepted { .. });
        self.failed_requests += u64::from(!is_accepted);
        if sent.outcome != (Outcome::Accepted { rejected: 0 }) {
            self.complaint.get_or_insert_with(|| sent.message.clone());
        }
    }
}

impl Items {
    fn add(&mut self, spans: u64, logs: u64) {
        self.spans += spans;
        self.logs += logs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::client::Code;

    fn sent(outcome: Outcome, answers: &[Code]) -> Sent {
        Sent { outcome, answers: answers.to_vec(), message: "why".to_owned() }
    }

    #[test]
    fn everything_that_was_sent_has_one_outcome() {
        let unavailable = Code::Grpc(tonic::Code::Unavailable);
        let mut tally = Tally::default();
        for sent in [
            sent(Outcome::Accepted { rejected: 0 }, &[Code::Ok]),
            sent(Outcome::Accepted { rejected: 2 }, &[unavailable, Code::Ok]),
            sent(Outcome::Refused, &[Code::Http(400)]),
            sent(Outcome::GivenUp, &[unavailable, unavailable]),
            sent(Outcome::Unknown, &[Code::TimedOut]),
        ] {
            let size = Size { spans: 10, logs: 0, traces: 1 };
            tally.add(size, &sent, Duration::from_millis(1), true);
            // A warm-up adds to what was accepted alone.
            tally.add(size, &sent, Duration::from_millis(1), false);
        }
        let spans = |spans| Items { spans, logs: 0 };
        let expected = Outcomes {
            accepted: spans(18),
            rejected: spans(2),
            refused: spans(10),
            given_up: spans(10),
            unknown: spans(10),
        };
        assert_eq!(tally.outcomes, expected);
        assert_eq!((tally.requests, tally.failed_requests, tally.retried_requests), (5, 3, 2));
        assert_eq!((tally.refused_requests, tally.accepted.spans), (3, 36));
        assert_eq!(tally.codes["UNAVAILABLE"], 3);
        assert_eq!(tally.complaint.as_deref(), Some("why"));
    }
}
