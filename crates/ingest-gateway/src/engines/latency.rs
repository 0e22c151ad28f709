//! How long an engine takes to answer: an average that follows peaks at once and forgets them slowly.
//!
//! A model for this was Finagle's "peak EWMA". Time comes from the caller.

use std::time::Duration;

use tokio::time::Instant;

/// A peak that is not repeated has lost two thirds of its weight after this time.
const DECAY: Duration = Duration::from_secs(2);

/// Below this, differences are noise: then only what is in flight counts, and no engine starves
/// because another one is quicker by a few microseconds.
const FLOOR: Duration = Duration::from_millis(5);

/// The estimate for one engine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latency {
    seconds: f64,
    at: Instant,
}

impl Latency {
    /// An engine about which nothing is known is believed to be quick.
    pub(super) fn unknown(now: Instant) -> Self {
        Self { seconds: FLOOR.as_secs_f64(), at: now }
    }

    /// An engine that comes (back) is believed to be as quick as the others are: it gets its share,
    /// not all that the others are too slow for.
    pub(super) fn assume(&mut self, estimate: Duration, now: Instant) {
        *self = Self { seconds: estimate.as_secs_f64(), at: now };
    }

    /// Takes note of a call that has taken `taken`, or that has been waited for so long.
    pub(super) fn observe(&mut self, taken: Duration, now: Instant) {
        let (taken, kept) = (taken.as_secs_f64(), self.weight(now));
        self.seconds = taken.max(self.seconds * kept + taken * (1.0 - kept));
        self.at = now;
    }

    /// What the next call will probably take.
    pub(super) fn estimate(&self, now: Instant) -> Duration {
        // Decays without observations too: an engine that was slow is tried again.
        Duration::from_secs_f64(self.seconds * self.weight(now)).max(FLOOR)
    }

    /// The part of the last estimate that still counts.
    fn weight(&self, now: Instant) -> f64 {
        (-now.saturating_duration_since(self.at).as_secs_f64() / DECAY.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_secs(1);
    const QUICK: Duration = Duration::from_millis(10);

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let start = Instant::now();
        let mut latency = Latency::unknown(start);
        latency.observe(QUICK, start);
        assert_eq!(latency.estimate(start), QUICK);
        latency.observe(SLOW, start);
        assert_eq!(latency.estimate(start), SLOW, "one slow answer is enough");
        latency.observe(QUICK, start);
        assert_eq!(latency.estimate(start), SLOW, "one quick answer is not");
        let third = latency.estimate(start + DECAY).as_secs_f64();
        assert!((0.36..0.38).contains(&third), "{third}");
        assert_eq!(latency.estimate(start + 20 * DECAY), FLOOR, "and it is tried again");
    }

    #[test]
    fn quick_answers_bring_the_estimate_down_with_time() {
        let start = Instant::now();
        let mut latency = Latency::unknown(start);
        latency.observe(SLOW, start);
        latency.observe(QUICK, start + DECAY);
        let mixed = latency.estimate(start + DECAY);
        assert!(mixed > QUICK && mixed < SLOW / 2, "{mixed:?}");
    }

    #[test]
    fn what_is_assumed_replaces_what_was_observed() {
        let start = Instant::now();
        let mut latency = Latency::unknown(start);
        latency.observe(SLOW, start);
        latency.assume(QUICK, start);
        assert_eq!(latency.estimate(start), QUICK);
    }
}
