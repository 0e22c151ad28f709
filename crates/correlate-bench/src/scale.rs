//! How much is measured: every loop is bounded by these.

use std::time::Duration;

/// Sizes of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Of costs, of which the median is told.
    pub(crate) repetitions: usize,
    /// Spans in each repetition: fewer than an engine may hold in memory on their way to an endpoint.
    pub(crate) spans: usize,
    /// How long traces come of which the delay is measured.
    pub(crate) delay_time: Duration,
    /// Active correlations of an idle cluster.
    pub(crate) active: usize,
    /// How long it is watched.
    pub(crate) idle_time: Duration,
}

impl Scale {
    pub(crate) const FULL: Self = Self {
        repetitions: 5,
        spans: 120_000,
        delay_time: Duration::from_secs(12),
        active: 100_000,
        idle_time: Duration::from_secs(20),
    };

    pub(crate) const QUICK: Self = Self {
        repetitions: 1,
        spans: 60_000,
        delay_time: Duration::from_secs(4),
        active: 20_000,
        idle_time: Duration::from_secs(10),
    };
}
