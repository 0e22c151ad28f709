//! When to look again at what was put back, so that an engine with nothing else to do looks only then.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

/// Times that are closer than this are one: many correlations are put back, and few times are kept.
const SLOT: Duration = Duration::from_millis(250);

/// Times to look at the store.
#[derive(Debug)]
pub(super) struct Agenda {
    began: Instant,
    /// In slots since then.
    slots: BTreeSet<u128>,
}

impl Agenda {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), slots: BTreeSet::new() }
    }

    /// Something is to be looked at after this time.
    pub(super) fn note(&mut self, after: Duration) {
        // The first slot that begins then or later.
        self.slots.insert((self.began.elapsed() + after).as_nanos().div_ceil(SLOT.as_nanos()));
    }

    /// How long until the next time, if there is one. Those that have passed are forgotten.
    pub(super) fn next(&mut self) -> Option<Duration> {
        let elapsed = self.began.elapsed();
        self.slots = self.slots.split_off(&(elapsed.as_nanos() / SLOT.as_nanos() + 1));
        let next = u32::try_from(*self.slots.first()?).ok()?;
        Some((SLOT * next).saturating_sub(elapsed))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_next_time_is_never_too_early_and_forgotten_when_it_has_passed() {
        let mut agenda = Agenda::new();
        assert_eq!(agenda.next(), None);
        agenda.note(Duration::from_secs(58));
        agenda.note(Duration::from_millis(510));
        agenda.note(Duration::from_millis(600));
        assert_eq!(agenda.next(), Some(Duration::from_millis(750)));
        advance(Duration::from_millis(750)).await;
        assert_eq!(agenda.next(), Some(Duration::from_millis(57_250)));
        advance(Duration::from_secs(60)).await;
        assert_eq!(agenda.next(), None);
    }
}
