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

/// How long one `WAIT` may block its connection. Replicas answer within a millisecond or so; one
/// that does not within this time is away or far behind.
const WAIT: Duration = Duration::from_millis(500);

/// How many replicas must have received a write. Shared by all connections of a store; 0 until the
/// store has been verified, which is before the first write.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replicas(Arc<AtomicUsize>);

impl Replicas {
    pub(crate) fn require(&self, count: usize) {
        self.0.store(count, Ordering::Release);
    }

    pub(crate) fn required(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Puts a `WAIT` behind commands, if replicas are required.
    ///
    /// Every one of the commands must write something, or the `WAIT` vouches for nothing (Redis 7.2).
    pub(crate) fn wait_behind(&self, commands: &mut Vec<Command>) {
        let required = self.required();
        if required > 0 {
            commands.push(Command::new("WAIT", [required as i64, WAIT.as_millis() as i64]));
        }
    }

    /// Takes the answer of that `WAIT` from the results.
    ///
    /// # Errors
    /// What was written is not confirmed. It must be written again as a whole: `WAIT` alone would
    /// vouch for nothing on a new primary.
    pub(crate) fn confirm(&self, results: &mut Vec<Result<Value, Error>>, sent: usize) -> Result<(), Error> {
        if results.len() <= sent {
            return Ok(());
        }
        let received = results.pop().unwrap_or_else(|| Ok(Value::Null))?.as_usize().unwrap_or_default();
        let required = self.required();
        if received >= required {
            return Ok(());
        }
        let details =
            format!("{BEHIND} {received} of {required} replicas have received the write within {WAIT:?}");
        Err(Error::new(ErrorKind::Unknown, details))
    }
}
