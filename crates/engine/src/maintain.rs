//! What an engine does besides answering: watches its store, frees what has expired, keeps the ledger.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use service_lifecycle::Check;
use state_core::StateManager;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{debug, warn};

use crate::{metrics, peak::Peak, unkept::Unkept};

/// How often the store is asked whether it serves, as long as it does: every engine asks all the time.
const READY_INTERVAL: Duration = Duration::from_secs(2);
/// How often otherwise: requests wait for it.
const UNREADY_INTERVAL: Duration = Duration::from_millis(500);
/// How often what has expired is freed.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(5);
/// How often what was refused is entered into the ledger, and the metrics are told what is there. Both read
/// every bucket.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);

/// Follows whether the store serves. Ends only with an error: when the store can never serve as it
/// is configured, and has not served before.
///
/// # Errors
/// What the store says.
pub(crate) async fn watch_store(store: Arc<dyn StateManager>, check: Check) -> anyhow::Result<()> {
    let mut served = false;
    let mut told = None;
    loop {
        let Err(error) = store.ready().await else {
            check.ready();
            (served, told) = (true, None);
            sleep(READY_INTERVAL).await;
            continue;
        };
        let is_retryable = error.is_retryable();
        let error = anyhow::Error::new(error);
        if !is_retryable && !served {
            return Err(error).context("the state cannot be used as it is configured");
        }
        let reason = format!("{error:#}");
        check.not_ready(reason.clone());
        if told.as_ref() != Some(&reason) {
            warn!(error = reason, "the state is not ready; requests are answered UNAVAILABLE");
            told = Some(reason);
        }
        sleep(UNREADY_INTERVAL).await;
    }
}

/// Frees what has expired, for ever.
pub(crate) async fn expire(store: Arc<dyn StateManager>) {
    let mut ticks = interval(EXPIRE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match store.expire().await {
            Ok(freed) => metrics::expired(freed),
            // The readiness check tells of a store that does not answer.
            Err(error) => debug!(error = &error as &dyn std::error::Error, "expiry was put off"),
        }
    }
}

/// Enters into the ledger what never reached the store, and tells the metrics what is there, for ever.
pub(crate) async fn count(store: Arc<dyn StateManager>, unkept: Arc<Unkept>) {
    let mut ticks = interval(COUNT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut peak = Peak::new();
    loop {
        ticks.tick().await;
        let counted = async {
            unkept.enter(async |refused| store.note_refused(refused).await).await?;
            let correlations = store.get_correlation_count().await?;
            metrics::correlations(correlations, peak.of(correlations));
            metrics::ledger(&store.get_ledger().await?);
            Ok::<_, state_core::Error>(())
        };
        if let Err(error) = counted.await {
            // The readiness check tells of a store that does not answer.
            debug!(error = &error as &dyn std::error::Error, "counting was put off");
        }
    }
}
