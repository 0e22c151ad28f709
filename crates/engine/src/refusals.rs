//! Tells the operator of requests that were refused, without a line for each of them.

use std::{
    mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use state_core::{Error, Signal};
use tokio::time::Instant;
use tracing::warn;

use crate::metrics;

/// Least time between two lines. A store that is away refuses thousands of requests a second.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts refusals between two lines.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    since: u64,
}

impl Refusals {
    /// Logs a refusal, or counts it for the next line.
    pub(crate) fn tell(&self, signal: Signal, error: &Error) {
        if let Some(requests) = self.due(Instant::now()) {
            let signal = metrics::label(signal);
            let error = error as &dyn std::error::Error;
            warn!(error, signal, requests, "requests refused as unavailable; this is the latest of them");
        }
    }

    /// How many refusals a line would stand for, this one included, if one is due.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.since += 1;
        if state.told.is_some_and(|told| now < told + INTERVAL) {
            return None;
        }
        state.told = Some(now);
        Some(mem::take(&mut state.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_make_one_line_that_counts_them() {
        let refusals = Refusals::default();
        let start = Instant::now();
        assert_eq!(refusals.due(start), Some(1));
        assert_eq!(refusals.due(start + INTERVAL / 3), None);
        assert_eq!(refusals.due(start + INTERVAL / 2), None);
        assert_eq!(refusals.due(start + INTERVAL), Some(3));
    }
}
