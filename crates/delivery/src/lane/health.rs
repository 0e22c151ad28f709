//! Whether an endpoint takes anything, and for how long it is left alone when it does not.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::Rng as _;
use tokio::time::Instant;

/// After the first failure, doubled with each that follows.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// So that an endpoint that is back is noticed.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Longest wait that an endpoint may ask for: a mistake of its must not last until everything has expired.
const ASKED_MAX: Duration = Duration::from_secs(300);

/// How requests have gone lately.
#[derive(Debug, Default)]
pub(super) struct Health {
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    /// One after the other, until now.
    failures: u32,
    resume: Option<Instant>,
}

impl Health {
    /// How long it is to be left alone; nothing when it may be sent to.
    pub(super) fn resume_in(&self, now: Instant) -> Duration {
        self.record().resume.map_or(Duration::ZERO, |resume| resume.saturating_duration_since(now))
    }

    /// A request has failed; answers how many have, one after the other, and for how long it is left
    /// alone.
    pub(super) fn failed(&self, asked: Option<Duration>, now: Instant) -> (u32, Duration) {
        let mut record = self.record();
        let grown = BACKOFF_MIN.saturating_mul(1 << record.failures.min(16)).min(BACKOFF_MAX);
        record.failures = record.failures.saturating_add(1);
        // Engines that failed together do not come back together, and never earlier than asked to.
        let pause = match asked {
            Some(asked) => asked.clamp(BACKOFF_MIN, ASKED_MAX).mul_f64(rand::rng().random_range(1.0..1.2)),
            None => grown.mul_f64(rand::rng().random_range(0.8..1.2)),
        };
        record.resume = Some(now + pause);
        (record.failures, pause)
    }

    /// A request was answered with a yes or no; answers how many had failed before it.
    pub(super) fn answered(&self) -> u32 {
        std::mem::take(&mut *self.record()).failures
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // Plain values are whole whatever happened while it was locked.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_answered_by_doubled_pauses_up_to_half_a_minute() {
        let (health, now) = (Health::default(), Instant::now());
        for expected in [1, 2, 4, 8, 16, 30, 30, 30] {
            let (_, pause) = health.failed(None, now);
            let seconds = pause.as_secs_f64() / f64::from(expected);
            assert!((0.8..1.2).contains(&seconds), "{expected}: {pause:?}");
            assert_eq!(health.resume_in(now), pause);
            assert_eq!(health.resume_in(now + pause), Duration::ZERO);
        }
        assert_eq!(health.answered(), 8);
        assert_eq!(health.resume_in(now), Duration::ZERO);
        assert!(health.failed(None, now).1 < Duration::from_millis(1_200), "and it begins again");
    }

    #[test]
    fn an_endpoint_says_itself_when_to_come_back_within_bounds() {
        let (health, now) = (Health::default(), Instant::now());
        for (asked, least) in [(0, 1), (7, 7), (1 << 40, 300)] {
            let (_, pause) = health.failed(Some(Duration::from_secs(asked)), now);
            let seconds = pause.as_secs_f64() / f64::from(least);
            assert!((1.0..1.2).contains(&seconds), "{asked}: {pause:?}");
        }
    }
}
