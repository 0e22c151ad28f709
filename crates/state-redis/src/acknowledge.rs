//! Waiting until replicas have received what was written.
//!
//! Replication is asynchronous: a primary that is killed takes along what its replicas lack. `WAIT`
//! behind a write, on the same connection, answers how many replicas have received it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::{
    error::{Error, ErrorKind},
    prelude::Value,
};

use crate::{error::BEHIND, link::Command};

/// Most time that one `WAIT` may block its connection. Replicas answer within a millisecond or so; one
/// that does not within this time is away or far behind.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// How many replicas must have received a write. Shared by all connections of a store; 0 until the
/// store has been verified, which is before the first write.
#[derive(Debug, Clone)]
pub(crate) struct Replicas {
    required: Arc<AtomicUsize>,
    wait: Duration,
}

impl Replicas {
    /// None required yet. A `WAIT` takes at most half of the time of a command.
    pub(crate) fn new(command_timeout: Duration) -> Self {
        Self { required: Arc::default(), wait: WAIT_MAX.min(command_timeout / 2) }
    }

    pub(crate) fn require(&self, count: usize) {
        self.required.store(count, Ordering::Release);
    }

    pub(crate) fn required(&self) -> usize {
        self.required.load(Ordering::Acquire)
    }

    /// Puts a `WAIT` behind commands, if replicas are required.
    ///
    /// Every one of the commands must write something, or the `WAIT` vouches for nothing (Redis 7.2).
    pub(crate) fn wait_behind(&self, commands: &mut Vec<Command>) {
        let required = self.required();
        if required > 0 {
            commands.push(Command::new("WAIT", [required as i64, self.wait.as_millis() as i64]));
        }
    }

    /// Takes the answer of that `WAIT` from the results, and puts its failure in the place of every
    /// success. What has failed by itself keeps its own error, which may say more.
    ///
    /// What is not confirmed must be written again as a whole: `WAIT` alone would vouch for nothing on
    /// a new primary.
    pub(crate) fn confirm(&self, results: &mut Vec<Result<Value, Error>>, sent: usize) {
        if results.len() <= sent {
            return;
        }
        let required = self.required();
        let error = match results.pop().unwrap_or(Ok(Value::Null)) {
            Ok(received) if received.as_usize().unwrap_or_default() >= required => return,
            Ok(received) => {
                let received = received.as_usize().unwrap_or_default();
                let wait = self.wait;
                let details = format!(
                    "{BEHIND} {received} of {required} replicas have received the write within {wait:?}"
                );
                Error::new(ErrorKind::Unknown, details)
            }
            Err(error) => error,
        };
        results.iter_mut().filter(|result| result.is_ok()).for_each(|result| *result = Err(error.clone()));
    }
}
