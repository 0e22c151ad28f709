//! What a state in memory leaves when its process ends: everything closed and delivered, as far as there is time.

use std::time::Duration;

use state_core::{Account, Ledger, Result, StateManager};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use crate::close::Closer;

/// How often it is looked whether everything is delivered.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Closes everything in a state that ends with this process, and waits until it is delivered, if it is to
/// be; not longer than the deadline.
pub(crate) async fn close_and_deliver(
    store: &dyn StateManager,
    closer: &mut Closer,
    is_delivered: bool,
    deadline: Instant,
) {
    let closed = timeout_at(deadline, async {
        closer.close_all().await?;
        while is_delivered && unfinished(&store.get_ledger().await?, true) > 0 {
            sleep(LOOK_INTERVAL).await;
        }
        Ok::<_, state_core::Error>(())
    });
    if let Ok(Err(error)) = closed.await {
        warn!(error = &error as &dyn std::error::Error, "the state in memory was not closed");
    }
    match tell(store).await {
        Ok(()) => {}
        Err(error) => warn!(error = &error as &dyn std::error::Error, "what is left in memory is not known"),
    }
}

/// Items that are there and not closed, or not delivered where they are to be.
pub(crate) fn unfinished(ledger: &Ledger, is_delivered: bool) -> u64 {
    let of = |account: &Account| account.pending + if is_delivered { account.stored } else { 0 };
    of(&ledger.spans) + of(&ledger.logs)
}

/// Says what ends with this process.
async fn tell(store: &dyn StateManager) -> Result<()> {
    let (ledger, correlations) = (store.get_ledger().await?, store.get_correlation_count().await?);
    let undelivered = unfinished(&ledger, true);
    if undelivered > 0 {
        warn!(correlations, undelivered, "state in memory ends with this process");
    } else if correlations > 0 {
        info!(correlations, "state in memory ends with this process; everything in it is delivered");
    }
    Ok(())
}
