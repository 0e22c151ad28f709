//! How many bytes the state may still take.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{counter, gauge};

pub(crate) struct Budget {
    bytes_max: u64,
    used: AtomicU64,
}

impl Budget {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, used: AtomicU64::new(0) }
    }

    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Takes bytes; `false` if they are not there.
    pub(crate) fn reserve(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.bytes_max);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok()
    }

    /// Counts a refusal for lack of bytes.
    pub(crate) fn refused(&self) {
        counter!("state_memory_refusals_total").increment(1);
    }

    /// Tells how much is taken.
    pub(crate) fn publish(&self) {
        gauge!("state_memory_used_bytes").set(self.used.load(Ordering::Acquire) as f64);
    }

    /// Takes bytes even if they are not there: of what cannot be refused any more.
    pub(crate) fn exceed(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Gives bytes back that were taken before.
    pub(crate) fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_takes_nothing() {
        let budget = Budget::new(10);
        assert!(budget.reserve(7));
        assert!(!budget.reserve(4));
        assert!(!budget.reserve(u64::MAX));
        assert!(budget.reserve(3));
        budget.release(10);
        assert!(budget.reserve(10));
    }
}
