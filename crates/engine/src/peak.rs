//! A number that rises at once and seldom falls, so that its growth can be told by a counter's means.

use std::time::Duration;

use tokio::time::Instant;

/// How long a number stays at least before it falls. `rate()` takes each fall for a counter that began anew, and
/// shows a jump for as long as it looks back. Three times the five minutes of the usual query, so that an alert
/// that waits longer than one jump lasts sees nothing of it.
const STAYS: Duration = Duration::from_secs(15 * 60);

/// What a number was at most since it last fell.
#[derive(Debug)]
pub(crate) struct Peak {
    value: u64,
    fell: Instant,
}

impl Peak {
    pub(crate) fn new() -> Self {
        Self { value: 0, fell: Instant::now() }
    }

    /// Takes what the number is now, and answers what it lately was at most.
    pub(crate) fn of(&mut self, now: u64) -> u64 {
        if now < self.value && self.fell.elapsed() >= STAYS {
            (self.value, self.fell) = (now, Instant::now());
        }
        self.value = self.value.max(now);
        self.value
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peak_rises_at_once_and_falls_once_in_a_while() {
        let mut peak = Peak::new();
        assert_eq!([peak.of(10), peak.of(7), peak.of(12), peak.of(3)], [10, 10, 12, 12]);
        advance(STAYS).await;
        assert_eq!([peak.of(5), peak.of(4), peak.of(6)], [5, 5, 6]);
        advance(STAYS - Duration::from_secs(1)).await;
        assert_eq!(peak.of(1), 6);
        advance(Duration::from_secs(1)).await;
        assert_eq!(peak.of(1), 1);
    }
}
