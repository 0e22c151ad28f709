//! How much is measured: every loop is bounded by these.

use std::time::Duration;

/// Sizes of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Of which the median is told.
    pub(crate) repetitions: usize,
    /// Appending goes on for so long in each repetition,
    pub(crate) append_time: Duration,
    /// or until so many spans are stored.
    pub(crate) append_spans_max: u64,
    /// Requests that are made in advance and appended again and again, for another tenant each time.
    pub(crate) requests: usize,
    /// Single calls in each repetition.
    pub(crate) calls: usize,
    /// Clean-ups in each repetition.
    pub(crate) cleanups: usize,
    /// Correlations of which the newest 100 are listed.
    pub(crate) listed: usize,
    /// Correlations that arrived all at once, likewise.
    pub(crate) burst: usize,
    /// Correlations that are counted.
    pub(crate) counted: usize,
}

impl Scale {
    pub(crate) const FULL: Self = Self {
        repetitions: 5,
        append_time: Duration::from_secs(2),
        append_spans_max: 2_000_000,
        requests: 200,
        calls: 4_000,
        cleanups: 5,
        listed: 100_000,
        burst: 10_000,
        counted: 1_000_000,
    };

    pub(crate) const QUICK: Self = Self {
        repetitions: 1,
        append_time: Duration::from_millis(700),
        append_spans_max: 500_000,
        requests: 100,
        calls: 1_000,
        cleanups: 5,
        listed: 20_000,
        burst: 1_000,
        counted: 100_000,
    };

    /// Sweeps have many points, and no marks on times.
    pub(crate) fn for_sweeps(self) -> Self {
        Self { repetitions: self.repetitions.min(3), ..self }
    }
}
