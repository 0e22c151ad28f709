//! Whether the process should get traffic: a set of named checks.
//!
//! Not ready until every check has said that it is, and not ready for good once draining.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// The checks of a process. Clones share them.
#[derive(Debug, Clone)]
pub struct Readiness {
    state: Arc<Mutex<State>>,
    ready: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    /// Name to what is missing; `None` when nothing is.
    checks: BTreeMap<&'static str, Option<String>>,
    is_draining: bool,
}

impl Readiness {
    /// No check yet, which means not ready.
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), ready: watch::Sender::new(false) }
    }

    /// Adds a check that is not ready yet. `name` says what is looked at, such as `state`.
    pub fn check(&self, name: &'static str) -> Check {
        let check = Check { readiness: self.clone(), name };
        check.not_ready("starting");
        check
    }

    /// Follows whether all checks are ready and the process is not draining.
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Makes the process not ready for good.
    pub(crate) fn drain(&self) {
        self.update(|state| state.is_draining = true);
    }

    /// Whether the process is ready, and every check with what is missing, if anything.
    pub(crate) fn report(&self) -> (bool, Vec<(&'static str, Option<String>)>) {
        let state = self.state();
        let mut checks: Vec<_> = state.checks.clone().into_iter().collect();
        if state.is_draining {
            checks.push(("process", Some("draining".to_owned())));
        }
        (state.is_ready(), checks)
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let is_ready = state.is_ready();
        // Under the lock, so that of two changes the later one is announced last.
        let changed = self.ready.send_if_modified(|ready| std::mem::replace(ready, is_ready) != is_ready);
        drop(state);
        if changed {
            tracing::info!(ready = is_ready, "readiness changed");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a single assignment: a panic elsewhere cannot leave half of one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_ready(&self) -> bool {
        !self.is_draining && !self.checks.is_empty() && self.checks.values().all(Option::is_none)
    }
}

/// One check; whoever looks after the thing checked holds it.
#[derive(Debug, Clone)]
pub struct Check {
    readiness: Readiness,
    name: &'static str,
}

impl Check {
    /// Nothing is missing.
    pub fn ready(&self) {
        self.set(None);
    }

    /// Says what is missing, for people.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, missing: Option<String>) {
        self.readiness.update(|state| {
            state.checks.insert(self.name, missing);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_ready_until_every_check_is() {
        let readiness = Readiness::new();
        let ready = readiness.subscribe();
        assert!(!*ready.borrow(), "no check yet");
        let (state, engines) = (readiness.check("state"), readiness.check("engines"));
        state.ready();
        assert!(!*ready.borrow());
        engines.ready();
        assert!(*ready.borrow());
        state.not_ready("redis does not answer");
        assert!(!*ready.borrow());
        let missing = Some("redis does not answer".to_owned());
        assert_eq!(readiness.report(), (false, vec![("engines", None), ("state", missing)]));
    }

    #[test]
    fn draining_is_not_ready_for_good() {
        let readiness = Readiness::new();
        let state = readiness.check("state");
        state.ready();
        readiness.drain();
        state.ready();
        assert!(!*readiness.subscribe().borrow());
    }

    #[test]
    fn only_changes_are_announced() {
        let readiness = Readiness::new();
        let state = readiness.check("state");
        let mut ready = readiness.subscribe();
        state.not_ready("still starting");
        assert!(!ready.has_changed().unwrap());
        state.ready();
        assert!(ready.has_changed().unwrap());
        ready.mark_unchanged();
        state.ready();
        assert!(!ready.has_changed().unwrap());
    }
}
