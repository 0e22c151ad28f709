//! What the proof ends with: one line of JSON, and whether it holds.

use serde::Serialize;

/// The last line of the output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// Traces of the recording that were delivered.
    pub(crate) traces: usize,
    /// Of these, those that came with a root and every parent.
    pub(crate) complete: usize,
    /// By the measure of `expected.json`, without what engines have made.
    pub(crate) spans: usize,
    pub(crate) logs: usize,
    /// Items that were not delivered, or are not in the store.
    pub(crate) missing: u64,
    /// Items that were never sent like that.
    pub(crate) extra: u64,
    /// Traces of which something was closed in two generations.
    pub(crate) closed_twice: usize,
    /// Whether every item has reached the endpoint, and nothing is left in the outbox.
    pub(crate) delivered_at_least_once: bool,
    /// Bridge spans to other traces.
    pub(crate) linked: usize,
    pub(crate) ledger_balanced: bool,
    /// Deaths of engines.
    pub(crate) killed: usize,
    /// Whether the cut trace was linked to the one that calls it.
    pub(crate) cut_trace_linked: bool,
    /// Whether the span after the close was delivered alone, as a generation of its own.
    pub(crate) late_span_alone: bool,
    /// Traces that were closed more than once, with something new each time.
    pub(crate) second_generation: usize,
    /// Generations, by signal, that came more than once.
    pub(crate) redelivered: usize,
    /// Requests that the endpoint did not answer with a yes.
    pub(crate) endpoint_failures: u64,
    /// Correlation keys, and for how many of them exactly their traces were found.
    pub(crate) keys: usize,
    pub(crate) keys_together: usize,
    /// Traces that were read back from the store.
    pub(crate) read_back: usize,
    /// Requests of different content, and those sent again although they were acknowledged.
    pub(crate) requests: usize,
    pub(crate) sent_again: usize,
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
}

impl Report {
    /// What does not hold, in words; empty when everything does.
    pub(crate) fn failures(&self) -> Vec<&'static str> {
        let claims = [
            (self.traces > 0, "nothing was delivered"),
            (self.missing == 0, "something is missing"),
            (self.extra == 0, "something was never sent"),
            (self.closed_twice == 0, "something was closed twice"),
            (self.delivered_at_least_once, "something was not delivered"),
            (self.cut_trace_linked && self.linked > 0, "the trace that was cut in two is not linked"),
            (self.ledger_balanced, "the ledger does not balance"),
            (self.late_span_alone, "the late span has no generation and delivery of its own"),
            (self.keys_together == self.keys, "traces of one key are not found together"),
        ];
        claims.into_iter().filter(|(holds, _)| !holds).map(|(_, words)| words).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven() -> Report {
        Report {
            traces: 306,
            delivered_at_least_once: true,
            linked: 1,
            ledger_balanced: true,
            cut_trace_linked: true,
            late_span_alone: true,
            ..Report::default()
        }
    }

    #[test]
    fn every_claim_can_fail() {
        assert!(proven().failures().is_empty());
        for broken in [
            Report { traces: 0, ..proven() },
            Report { missing: 1, ..proven() },
            Report { extra: 1, ..proven() },
            Report { closed_twice: 1, ..proven() },
            Report { delivered_at_least_once: false, ..proven() },
            Report { cut_trace_linked: false, ..proven() },
            Report { linked: 0, ..proven() },
            Report { ledger_balanced: false, ..proven() },
            Report { late_span_alone: false, ..proven() },
            Report { keys: 1, ..proven() },
        ] {
            assert_eq!(broken.failures().len(), 1, "{broken:?}");
        }
    }

    #[test]
    fn the_line_begins_as_it_is_documented() {
        let line = serde_json::to_string(&proven()).unwrap();
        let begin = r#"{"traces":306,"complete":0,"spans":0,"logs":0,"missing":0,"extra":0,"closed_twice":0,"delivered_at_least_once":true,"linked":1,"ledger_balanced":true,"killed":0,"#;
        assert!(line.starts_with(begin), "{line}");
    }
}
