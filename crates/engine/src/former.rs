//! The former state: the one in Redis that an engine was switched away from. What it holds is closed, delivered and
//! served until it is empty, and nothing new depends on it.

mod united;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use state_core::{Error, Result, StateManager};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::{activity::Activity, end, metrics};
pub(crate) use united::United;

/// How often it is asked whether it answers, as long as it does.
const REACHED_INTERVAL: Duration = Duration::from_secs(1);
/// How often in the end while it does not, each pause twice as long as the one before.
const AWAY_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// How often it is looked what it holds, which reads every bucket.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// A former state and what is known of it. Cheap to clone; a clone knows the same.
#[derive(Debug, Clone)]
pub(crate) struct Former {
    store: Arc<dyn StateManager>,
    known: Arc<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// From when on it has been reached.
    id: OnceLock<String>,
    is_reached: AtomicBool,
    is_empty: AtomicBool,
}

/// The answer to what only the former state may know.
pub(crate) fn not_reached(attempted: &str) -> Error {
    let source = "the former state in Redis, which may hold it, is not reached".into();
    Error::Unavailable { attempted: attempted.to_owned(), source }
}

/// What it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Holdings {
    /// To be served until their TTL.
    correlations: u64,
    /// Items that are not closed, or not delivered where they are to be.
    unfinished: u64,
}

impl Former {
    pub(crate) fn new(store: Arc<dyn StateManager>) -> Self {
        Self { store, known: Arc::default() }
    }

    /// The state itself, whether it answers or not.
    pub(crate) fn store(&self) -> &Arc<dyn StateManager> {
        &self.store
    }

    /// Which state it is; `None` until it has been reached.
    pub(crate) fn id(&self) -> Option<&str> {
        self.known.id.get().map(String::as_str)
    }

    /// Whether it held nothing when that was looked at last. Then there is nothing to ask it for, and it may be
    /// gone.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty.load(Ordering::Relaxed)
    }

    /// The state to ask, if there is anything in it.
    ///
    /// # Errors
    /// It does not answer. This is known, and takes no time.
    fn asked(&self, attempted: &str) -> Result<Option<&dyn StateManager>> {
        if self.is_empty() {
            return Ok(None);
        }
        if !self.known.is_reached.load(Ordering::Relaxed) {
            return Err(not_reached(attempted));
        }
        Ok(Some(&*self.store))
    }

    /// Follows whether it answers and what it holds, for ever. Whoever closes what is in it is told by `activity`
    /// when it is reached. `is_delivered` says whether there is anybody to deliver to.
    pub(crate) async fn follow(self, activity: Activity, is_delivered: bool) {
        let (mut pause, mut told, mut look_at, mut held) = (REACHED_INTERVAL, None, Instant::now(), None);
        loop {
            match self.look(look_at <= Instant::now(), is_delivered).await {
                Ok(looked) => {
                    if !self.known.is_reached.swap(true, Ordering::Relaxed) {
                        activity.note();
                    }
                    if let Some(holdings) = looked {
                        self.tell(held.replace(holdings), holdings);
                        look_at = Instant::now() + LOOK_INTERVAL;
                    }
                    (pause, told) = (REACHED_INTERVAL, None);
                }
                Err(error) => {
                    self.known.is_reached.store(false, Ordering::Relaxed);
                    let error = format!("{:#}", anyhow::Error::new(error));
                    if told.as_ref() != Some(&error) {
                        warn!(
                            error,
                            "the former state is not reached: what it holds waits; what is new does not"
                        );
                        told = Some(error);
                    }
                    pause = (pause * 2).min(AWAY_INTERVAL_MAX);
                }
            }
            sleep(pause).await;
        }
    }

    /// Sees whether it answers, and what it holds if that is due.
    async fn look(&self, is_due: bool, is_delivered: bool) -> Result<Option<Holdings>> {
        self.store.ready().await?;
        if self.id().is_none() {
            let id = self.store.state_id().await?;
            self.known.id.get_or_init(|| id);
        }
        if !is_due {
            return Ok(None);
        }
        let (correlations, ledger) =
            tokio::try_join!(self.store.get_correlation_count(), self.store.get_ledger())?;
        let unfinished = end::unfinished(&ledger, is_delivered);
        Ok(Some(Holdings { correlations, unfinished }))
    }

    fn tell(&self, before: Option<Holdings>, now: Holdings) {
        let Holdings { correlations, unfinished } = now;
        metrics::former_state(correlations, unfinished);
        self.known.is_empty.store(now == Holdings::default(), Ordering::Relaxed);
        let state = self.store.backend();
        match before {
            Some(before) if (before.correlations, before.unfinished) == (correlations, unfinished) => {}
            _ if now == Holdings::default() => info!(%state, "Redis holds nothing any more; unset REDIS_URL"),
            None => info!(%state, correlations, unfinished, "finishing and serving what Redis holds"),
            Some(before) if before.unfinished > 0 && unfinished == 0 => {
                info!(%state, correlations, "what Redis holds is finished; it is served until its TTL");
            }
            Some(_) => {}
        }
    }
}
