//! How much is measured: every loop is bounded by these.

use std::time::Duration;

/// Sizes of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Of which the median is told.
    pub(crate) repetitions: usize,
    /// Before any of them: traces close after a grace of two seconds, and from then on that costs too.
    pub(crate) warmup: Duration,
    /// Of one repetition.
    pub(crate) time: Duration,
    /// Before a repetition that follows another one: connections and buffers.
    pub(crate) rewarmup: Duration,
    /// Spans that are kept to see what bytes they take.
    pub(crate) pending_spans: usize,
    /// Requests of each of two writers to one trace.
    pub(crate) writes: usize,
    /// Times that each engine is restarted.
    pub(crate) restarts: usize,
}

impl Scale {
    pub(crate) const FULL: Self = Self {
        repetitions: 5,
        warmup: Duration::from_millis(2_250),
        time: Duration::from_millis(2_000),
        rewarmup: Duration::from_millis(250),
        pending_spans: 200_000,
        writes: 200,
        restarts: 2,
    };

    pub(crate) const QUICK: Self = Self {
        repetitions: 1,
        warmup: Duration::from_millis(500),
        time: Duration::from_millis(1_000),
        rewarmup: Duration::from_millis(250),
        pending_spans: 50_000,
        writes: 200,
        restarts: 1,
    };
}
