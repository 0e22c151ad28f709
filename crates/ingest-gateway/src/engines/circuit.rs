//! Leaves an engine alone for a while when its calls fail one after the other.
//!
//! Health says whether an engine believes that it can work; this goes by whether it does.

use std::time::Duration;

use tokio::time::Instant;

/// So many calls must fail in a row.
const FAILURES_MAX: u32 = 5;
/// How long an engine is left alone the first time; each failed trial doubles it.
const ASIDE_MIN: Duration = Duration::from_millis(250);
/// An engine that works again is found out within this time.
const ASIDE_MAX: Duration = Duration::from_secs(8);

/// The circuit of one engine.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    failures: u32,
    /// `None` while calls go through.
    aside: Option<Aside>,
}

#[derive(Debug, Clone, Copy)]
struct Aside {
    until: Instant,
    length: Duration,
    /// Whether a call has been let through to try.
    is_tried: bool,
}

impl Circuit {
    /// True when no call should be made now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.aside.is_some_and(|aside| now < aside.until)
    }

    /// A call is made. Once the time is over one may try; the others wait for how it goes, but no
    /// longer than that: its client may go away.
    pub(super) fn begin(&mut self, now: Instant) {
        if let Some(aside) = &mut self.aside
            && now >= aside.until
        {
            *aside = Aside { until: now + aside.length, is_tried: true, ..*aside };
        }
    }

    /// A call was answered.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A call failed. True when the engine is left alone from now on.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let length = match self.aside {
            None if self.failures >= FAILURES_MAX => ASIDE_MIN,
            Some(aside) if aside.is_tried => (aside.length * 2).min(ASIDE_MAX),
            // Too few, or calls that began before it was left alone, which say nothing new.
            _ => return false,
        };
        let is_new = self.aside.is_none();
        self.aside = Some(Aside { until: now + length, length, is_tried: false });
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: Instant) -> Circuit {
        let mut circuit = Circuit::default();
        for failure in 1..=FAILURES_MAX {
            assert!(!circuit.is_open(now));
            assert_eq!(circuit.failed(now), failure == FAILURES_MAX);
        }
        circuit
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let now = Instant::now();
        let mut circuit = Circuit::default();
        for _ in 0..10 * FAILURES_MAX {
            circuit.failed(now);
            circuit.succeeded();
        }
        assert!(!circuit.is_open(now));
        assert!(opened(now).is_open(now));
    }

    #[test]
    fn one_call_may_try_after_a_time_that_doubles_up_to_a_limit() {
        let mut now = Instant::now();
        let mut circuit = opened(now);
        let mut length = ASIDE_MIN;
        for _ in 0..10 {
            assert!(circuit.is_open(now + length - Duration::from_millis(1)));
            now += length;
            assert!(!circuit.is_open(now));
            circuit.begin(now);
            assert!(circuit.is_open(now), "only one at a time");
            circuit.failed(now);
            length = (length * 2).min(ASIDE_MAX);
        }
        assert_eq!(length, ASIDE_MAX);
        circuit.begin(now + length);
        circuit.succeeded();
        assert!(!circuit.is_open(now + length), "one success closes it");
    }

    #[test]
    fn failures_of_calls_that_began_before_do_not_prolong_it() {
        let now = Instant::now();
        let mut circuit = opened(now);
        for _ in 0..100 {
            circuit.failed(now);
        }
        assert!(!circuit.is_open(now + ASIDE_MIN));
    }

    #[test]
    fn a_trial_without_an_end_lets_the_next_one_try() {
        let now = Instant::now();
        let mut circuit = opened(now);
        circuit.begin(now + ASIDE_MIN);
        assert!(!circuit.is_open(now + 2 * ASIDE_MIN));
    }
}
