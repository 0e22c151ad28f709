//! What every backend is told: how long a correlation lives and how large it may grow.

use std::time::Duration;

/// Bounds of one correlation. What would go beyond is refused before anything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most spans, and likewise most log records, counted before duplicates resent within other
    /// batches are removed. Default 10,000.
    pub spans_max: u64,
    /// Most bytes of payload before compression. Default 16 MiB.
    pub bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { spans_max: 10_000, bytes_max: 16 << 20 }
    }
}

/// Settings that all backends share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a correlation is kept after its last arrival, unless it was set with its own.
    /// Default one hour.
    pub ttl: Duration,
    /// Bounds of one correlation.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(3600), limits: Limits::default() }
    }
}
