//! What was sent and what of it was acknowledged: the truth that the store is compared with.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use parking_lot::Mutex;
use state_core::{Append, CorrelationKey, Error, Facts, Fragment, FragmentId, Signal};

/// Fragments of each correlation.
pub(crate) type Fragments = HashMap<CorrelationKey, HashSet<FragmentId>>;

/// Errors that are quoted at most.
const QUOTED_MAX: usize = 5;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    serial: AtomicU64,
    sent: Mutex<Fragments>,
    acknowledged: Mutex<Fragments>,
    not_retryable: Mutex<Vec<String>>,
    not_retryable_count: AtomicU64,
}

pub(crate) fn key(id: &str) -> CorrelationKey {
    let id = id.parse().expect("the load names its correlations as name=value");
    CorrelationKey { tenant: Default::default(), id }
}

impl Ledger {
    /// A fragment for each of the correlations, unlike any other.
    pub(crate) fn request(&self, ids: impl Iterator<Item = String>) -> Vec<Append> {
        let mut sent = self.sent.lock();
        let appends = ids.map(|id| {
            let serial = self.serial.fetch_add(1, Ordering::Relaxed);
            let payload = Bytes::from(format!("span {serial} of {id}"));
            let identity = u128::from(serial).to_be_bytes();
            let fragment = Fragment::new(Signal::Traces, payload, vec![identity], Facts::default());
            let key = key(&id);
            sent.entry(key.clone()).or_default().insert(fragment.id());
            Append { key, fragment }
        });
        appends.collect()
    }

    pub(crate) fn acknowledge(&self, request: &[Append]) {
        let mut acknowledged = self.acknowledged.lock();
        for Append { key, fragment } in request {
            acknowledged.entry(key.clone()).or_default().insert(fragment.id());
        }
    }

    /// Takes note of an error that a caller got, of whatever call.
    pub(crate) fn failed(&self, error: &Error) {
        if !error.is_retryable() {
            self.misbehaved(format!("{error:?}"));
        }
    }

    /// Takes note of an answer that no caller may get.
    pub(crate) fn misbehaved(&self, what: String) {
        self.not_retryable_count.fetch_add(1, Ordering::Relaxed);
        let mut quoted = self.not_retryable.lock();
        if quoted.len() < QUOTED_MAX {
            quoted.push(what);
        }
    }

    pub(crate) fn not_retryable(&self) -> (u64, Vec<String>) {
        (self.not_retryable_count.load(Ordering::Relaxed), self.not_retryable.lock().clone())
    }

    pub(crate) fn sent(&self) -> Fragments {
        self.sent.lock().clone()
    }

    pub(crate) fn acknowledged(&self) -> Fragments {
        self.acknowledged.lock().clone()
    }
}

/// How many fragments there are.
pub(crate) fn count(fragments: &Fragments) -> u64 {
    fragments.values().map(|names| names.len() as u64).sum()
}
