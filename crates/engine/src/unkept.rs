//! Items that were refused before they reached the store, until its ledger has them.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use state_core::{Refused, Result, Signal};

/// Counts by signal and reason. What is counted between two visits to the store ends with the process;
/// the clients have been told.
#[derive(Debug, Default)]
pub(crate) struct Unkept {
    counts: Mutex<Counts>,
}

type Counts = BTreeMap<(Signal, &'static str), u64>;

impl Unkept {
    /// Counts items that were refused.
    pub(crate) fn add(&self, signal: Signal, reason: &'static str, items: u64) {
        if items > 0 {
            *self.counts().entry((signal, reason)).or_default() += items;
        }
    }

    /// Enters what has been counted into the ledger, by the call that is given; what the store does not take
    /// is kept for the next time.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn enter(&self, note: impl AsyncFnOnce(Vec<Refused>) -> Result<()>) -> Result<()> {
        let counts = mem::take(&mut *self.counts());
        if counts.is_empty() {
            return Ok(());
        }
        let refused = counts.iter().map(|((signal, reason), items)| Refused {
            signal: *signal,
            reason: (*reason).to_owned(),
            items: *items,
        });
        let entered = note(refused.collect()).await;
        if entered.is_err() {
            counts.iter().for_each(|((signal, reason), items)| self.add(*signal, reason, *items));
        }
        entered
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use state_core::Error;

    use super::*;

    #[tokio::test]
    async fn what_the_store_did_not_take_is_entered_later() {
        let unkept = Unkept::default();
        unkept.add(Signal::Traces, "invalid", 3);
        unkept.add(Signal::Traces, "unavailable", 0);
        let refuse = async |_| Err(Error::Closed { attempted: "note".into() });
        unkept.enter(refuse).await.unwrap_err();
        unkept.add(Signal::Traces, "invalid", 2);
        let mut noted = Vec::new();
        for _ in 0..2 {
            let note = async |refused| {
                noted.extend::<Vec<Refused>>(refused);
                Ok(())
            };
            unkept.enter(note).await.unwrap();
        }
        assert_eq!(noted, [Refused { signal: Signal::Traces, reason: "invalid".into(), items: 5 }]);
    }
}
