//! What a run ends with: one line of JSON, and whether everything holds.

use std::time::Duration;

use bench_kit::statistics::quantile;
use serde::Serialize;

use crate::footprint::{DESCRIPTORS_MAX, MEMORY_MIB_MAX};

/// The last line of the output; figures of all phases together.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Report {
    /// Spans and log records whose request was acknowledged.
    pub(crate) acked: u64,
    /// Of these, those that are not stored, or were not delivered.
    pub(crate) lost: u64,
    /// Stored or counted more than once.
    pub(crate) duplicated: u64,
    /// Stored, delivered or answered, and never sent like that.
    pub(crate) invented: u64,
    /// Traces of which something was closed in two generations.
    pub(crate) closed_twice: u64,
    /// Answers to valid requests and queries that are not to be repeated.
    pub(crate) nonretryable: u64,
    /// Faults that happened, and those that were left out for lack of time.
    pub(crate) faults: u64,
    pub(crate) left_out: u64,
    /// Faults after which requests were not accepted again within a minute.
    pub(crate) unrecovered: u64,
    /// From the healing of a fault until requests were accepted again.
    pub(crate) recovery_p50_s: f64,
    pub(crate) recovery_max_s: f64,
    /// Attempts that were refused or not answered, of all attempts.
    pub(crate) refused_share: f64,
    /// Attempts to send, also those of requests that were sent again.
    pub(crate) attempts: u64,
    /// Items that no request acknowledged: without an answer, or refused each time.
    pub(crate) unknown: u64,
    pub(crate) refused: u64,
    /// Generations, by signal, that came more than once; this is allowed.
    pub(crate) redelivered: u64,
    /// Whether everything was closed and delivered in the end.
    pub(crate) quiet: bool,
    pub(crate) ledger_balanced: bool,
    /// Differences between lists, counts and the ledger, and what is there.
    pub(crate) disagreements: u64,
    /// Correlation keys, and for how many of them the right traces are found.
    pub(crate) keys: u64,
    pub(crate) keys_together: u64,
    /// Keys of Redis without a TTL, but `schema`.
    pub(crate) lasting_keys: u64,
    /// Queries that were answered while faults happened, those that were refused or not answered, and
    /// answers that lacked what was acknowledged before.
    pub(crate) reads: u64,
    pub(crate) reads_refused: u64,
    pub(crate) reads_stale: u64,
    /// The most that an engine or a gateway held.
    pub(crate) memory_mib_max: u64,
    pub(crate) descriptors_max: u64,
    /// What the clusters of Redis were like.
    pub(crate) redis: Vec<&'static str>,
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    /// All of it, with the quiet and the comparison.
    pub(crate) took_s: u64,
}

impl Report {
    /// Enters times of recovery.
    pub(crate) fn recovered(&mut self, mut times: Vec<Duration>) {
        times.sort_unstable();
        let seconds = |share| (quantile(&times, share) / 1e4).round() / 100.0;
        (self.recovery_p50_s, self.recovery_max_s) = (seconds(0.5), seconds(1.0));
    }

    /// What does not hold, in words; empty when everything does.
    pub(crate) fn failures(&self) -> Vec<&'static str> {
        let claims = [
            (self.acked > 0, "nothing was acknowledged"),
            (self.faults > 0, "nothing failed"),
            (self.unrecovered == 0, "requests were not accepted again after a fault was healed"),
            (self.lost == 0, "something that was acknowledged is lost"),
            (self.duplicated == 0, "something is there twice"),
            (self.invented == 0, "something was never sent"),
            (self.closed_twice == 0, "something was closed twice"),
            (self.nonretryable == 0, "a valid request got an answer that it must not get"),
            (self.quiet, "something was not closed or not delivered"),
            (self.ledger_balanced, "the ledger does not balance"),
            (self.disagreements == 0, "lists, counts and ledger do not say what is there"),
            (self.keys_together == self.keys, "traces of one key are not found together"),
            (self.lasting_keys == 0, "a key of Redis has no TTL"),
            (self.memory_mib_max <= MEMORY_MIB_MAX, "a process holds too much memory"),
            (self.descriptors_max <= DESCRIPTORS_MAX, "a process holds too many descriptors"),
        ];
        claims.into_iter().filter(|(holds, _)| !holds).map(|(_, words)| words).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Report {
        Report { acked: 1, faults: 1, quiet: true, ledger_balanced: true, ..Report::default() }
    }

    #[test]
    fn every_claim_can_fail() {
        assert!(well().failures().is_empty());
        for broken in [
            Report { acked: 0, ..well() },
            Report { faults: 0, ..well() },
            Report { unrecovered: 1, ..well() },
            Report { lost: 1, ..well() },
            Report { duplicated: 1, ..well() },
            Report { invented: 1, ..well() },
            Report { closed_twice: 1, ..well() },
            Report { nonretryable: 1, ..well() },
            Report { quiet: false, ..well() },
            Report { ledger_balanced: false, ..well() },
            Report { disagreements: 1, ..well() },
            Report { keys: 1, ..well() },
            Report { lasting_keys: 1, ..well() },
            Report { memory_mib_max: MEMORY_MIB_MAX + 1, ..well() },
            Report { descriptors_max: DESCRIPTORS_MAX + 1, ..well() },
        ] {
            assert_eq!(broken.failures().len(), 1, "{broken:?}");
        }
    }

    #[test]
    fn recovery_is_told_in_seconds() {
        let mut report = well();
        report.recovered([1_500, 20, 250].map(Duration::from_millis).into());
        assert_eq!((report.recovery_p50_s, report.recovery_max_s), (0.25, 1.5));
    }

    #[test]
    fn the_line_begins_as_it_is_documented() {
        let line = serde_json::to_string(&well()).unwrap();
        let begin = r#"{"acked":1,"lost":0,"duplicated":0,"invented":0,"closed_twice":0,"nonretryable":0,"faults":1,"#;
        assert!(line.starts_with(begin), "{line}");
    }
}
