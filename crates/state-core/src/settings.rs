//! What every backend is told: how long a correlation lives and how large it may grow.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{CorrelationEntry, CorrelationKey, Counts, Error, Result};

/// Longest TTL: ten years. With the times below it keeps every sum within 2^53 microseconds, which
/// is what a store that calculates in doubles keeps exactly.
const TTL_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// Times of an entry lie between 1970 and 2200, in seconds since 1970.
const SECONDS_MAX: i64 = 7_258_118_400;

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
    /// How long nothing must have arrived until a correlation is due. Default 2 s.
    pub grace: Duration,
    /// Age at which a generation is due although more keeps arriving. Less than the TTL, so that it is
    /// closed before it is gone. Default 5 minutes.
    pub age_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(3600),
            limits: Limits::default(),
            grace: Duration::from_secs(2),
            age_max: Duration::from_secs(300),
        }
    }
}

impl Settings {
    /// Checks what `set_correlation` was given; answers the TTL that applies.
    ///
    /// # Errors
    /// `Invalid` if the entry has another id than `key`, exceeds a limit or has a time outside of
    /// 1970 to 2200, or if the TTL is zero or longer than ten years.
    pub fn admit(
        &self,
        key: &CorrelationKey,
        entry: &CorrelationEntry,
        ttl: Option<Duration>,
    ) -> Result<Duration> {
        let ttl = ttl.unwrap_or(self.ttl);
        let reason = if entry.correlation_id != key.id {
            format!("the entry is of correlation {}", entry.correlation_id)
        } else if ttl.is_zero() || ttl > TTL_MAX {
            format!("a TTL of {ttl:?} is not allowed: more than zero and at most ten years")
        } else if let Some(time) = [entry.first_seen, entry.last_updated].into_iter().find(out_of_range) {
            format!("the time {time} is not allowed: from 1970 to 2200")
        } else if let Some(reason) = self.limits.exceeded(entry) {
            reason
        } else {
            return Ok(ttl);
        };
        Err(Error::Invalid { attempted: format!("set correlation {key}"), reason })
    }
}

impl Limits {
    fn exceeded(&self, entry: &CorrelationEntry) -> Option<String> {
        let mut counts = Counts::default();
        entry.fragments().for_each(|fragment| counts.absorb(fragment));
        let items = counts.spans.max(counts.logs);
        if items > self.spans_max {
            Some(format!("{items} spans or log records are more than spans_max = {}", self.spans_max))
        } else if counts.bytes > self.bytes_max {
            Some(format!("{} bytes are more than bytes_max = {}", counts.bytes, self.bytes_max))
        } else {
            None
        }
    }
}

fn out_of_range(time: &DateTime<Utc>) -> bool {
    !(0..SECONDS_MAX).contains(&time.timestamp())
}
