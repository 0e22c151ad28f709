//! How much is measured: every loop is bounded by these.

use std::time::Duration;

/// Sizes of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Of which the median is told.
    pub(crate) repetitions: usize,
    /// Passes of the codec over its requests, in each repetition.
    pub(crate) passes: usize,
    /// Spans that are sent to a process in each repetition, in requests of 1,000.
    pub(crate) spans: usize,
    /// Likewise in requests of 20.
    pub(crate) spans_in_small_requests: usize,
    /// Single requests on each way, of which latencies are compared.
    pub(crate) single_requests: usize,
    /// How long the peak of a door is looked for, before it is overloaded and again afterwards.
    pub(crate) peak_time: Duration,
    /// How long it is overloaded.
    pub(crate) overload_time: Duration,
}

impl Scale {
    pub(crate) const FULL: Self = Self {
        repetitions: 5,
        passes: 100,
        spans: 400_000,
        spans_in_small_requests: 100_000,
        single_requests: 1_500,
        peak_time: Duration::from_millis(1_500),
        overload_time: Duration::from_secs(4),
    };

    pub(crate) const QUICK: Self = Self {
        repetitions: 1,
        passes: 50,
        spans: 200_000,
        spans_in_small_requests: 60_000,
        single_requests: 1_000,
        peak_time: Duration::from_secs(1),
        overload_time: Duration::from_secs(2),
    };
}
