//! The signals that end a process.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// Asks the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: what supervisors send.
    Terminate,
}

impl Signal {
    /// 128 + the signal's number: how shells report a process that a signal ended.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Where signals come from: the operating system, or a test.
pub(crate) trait Signals {
    /// The next signal. Cancelling loses none.
    async fn next(&mut self) -> Signal;
}

/// The signals of the operating system.
pub(crate) struct OsSignals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl OsSignals {
    /// From here on SIGINT and SIGTERM no longer end the process by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }
}

impl Signals for OsSignals {
    async fn next(&mut self) -> Signal {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Signal::Interrupt,
            Some(()) = self.terminate.recv() => Signal::Terminate,
            // Tokio's stream of signals never ends.
            else => std::future::pending().await,
        }
    }
}
