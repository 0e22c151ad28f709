//! The two steps by which a process is asked to end.

use tokio_util::sync::CancellationToken;

/// Tells every part of a process that it is ending. Clones share the state.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    signalled: CancellationToken,
    draining: CancellationToken,
}

impl Shutdown {
    /// Resolves at once when a signal arrives, before `shutdown.drain_delay_ms`. Accepting goes on.
    pub fn signalled(&self) -> impl Future<Output = ()> + Send + 'static {
        self.signalled.clone().cancelled_owned()
    }

    /// Resolves when it is time to stop accepting and to finish what is in flight.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        self.draining.clone().cancelled_owned()
    }

    /// True from the signal on.
    pub fn is_signalled(&self) -> bool {
        self.signalled.is_cancelled()
    }

    pub(crate) fn signal(&self) {
        self.signalled.cancel();
    }

    pub(crate) fn drain(&self) {
        self.draining.cancel();
    }
}
