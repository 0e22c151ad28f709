//! Correlation state in the memory of one process: the contract in its simplest true form.
//!
//! What is kept ends with the process. For more than one replica use a shared store.

mod shard;
mod stored;

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use shard::Shard;
use state_core::{
    Append, Backend, CorrelationEntry, CorrelationKey, Cursor, Error, Outcome, Page, RangeQuery, Result,
    Settings, StateManager, Summary,
};
use stored::Stored;

/// Parts of the state that are locked apart from each other. More than a machine has cores; a list
/// reads all of them.
const SHARDS: usize = 16;
/// Most correlations that one page of a list looks at in each shard, matching or not.
const EXAMINED_MAX: usize = 10_000;

/// Correlation state in memory.
///
/// A clone shares the state and is closed with it; [`client`](Self::client) shares the state and
/// is closed on its own.
#[derive(Clone)]
pub struct InMemoryStateManager {
    state: Arc<State>,
    closed: Arc<AtomicBool>,
}

struct State {
    settings: Settings,
    clock: Box<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

impl InMemoryStateManager {
    /// An empty state that reads the system's clock.
    pub fn new(settings: Settings) -> Self {
        Self::with_clock(settings, Utc::now)
    }

    /// An empty state that reads another clock.
    pub fn with_clock(settings: Settings, clock: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        let state = State { settings, clock: Box::new(clock), hasher: RandomState::new(), shards };
        Self { state: Arc::new(state), closed: Arc::default() }
    }

    /// Another client of the same state.
    pub fn client(&self) -> Self {
        Self { state: Arc::clone(&self.state), closed: Arc::default() }
    }

    fn open(&self, attempted: impl FnOnce() -> String) -> Result<&State> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed { attempted: attempted() });
        }
        Ok(&self.state)
    }
}

impl fmt::Debug for InMemoryStateManager {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("InMemoryStateManager")
            .field("settings", &self.state.settings)
            .finish_non_exhaustive()
    }
}

impl State {
    /// The time, to the microsecond.
    fn now(&self) -> DateTime<Utc> {
        let now = (self.clock)();
        DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
    }

    fn shard(&self, key: &CorrelationKey) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

#[async_trait]
impl StateManager for InMemoryStateManager {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Outcome>> {
        let state = self.open(|| format!("append {} fragments", batch.len()))?;
        let now = state.now();
        let append =
            |Append { key, fragment }| state.shard(&key).lock().append(key, fragment, now, &state.settings);
        Ok(batch.into_iter().map(append).collect())
    }

    async fn get_correlation(&self, key: &CorrelationKey) -> Result<Option<CorrelationEntry>> {
        let state = self.open(|| format!("get correlation {key}"))?;
        Ok(state.shard(key).lock().get(key, state.now()).map(|stored| stored.entry(&key.id)))
    }

    async fn set_correlation(
        &self,
        key: &CorrelationKey,
        entry: CorrelationEntry,
        ttl: Option<Duration>,
    ) -> Result<()> {
        let state = self.open(|| format!("set correlation {key}"))?;
        let ttl = state.settings.admit(key, &entry, ttl)?;
        let now = state.now();
        let stored = Stored::of(entry, ttl, now);
        state.shard(key).lock().replace(key.clone(), stored, now);
        Ok(())
    }

    async fn delete_correlation(&self, key: &CorrelationKey) -> Result<bool> {
        let state = self.open(|| format!("delete correlation {key}"))?;
        Ok(state.shard(key).lock().remove(key, state.now()))
    }

    async fn get_correlations_by_time_range(&self, query: &RangeQuery) -> Result<Page> {
        let state = self.open(|| "list correlations".to_owned())?;
        let now = state.now();
        let parts = state.shards.iter().map(|shard| shard.lock().list(query, now, EXAMINED_MAX));
        Ok(merge(parts.collect(), query.limit))
    }

    async fn cleanup_old_correlations(&self, cutoff: DateTime<Utc>) -> Result<u64> {
        let state = self.open(|| format!("clean up before {cutoff}"))?;
        let now = state.now();
        Ok(state.shards.iter().map(|shard| shard.lock().cleanup(cutoff, now)).sum())
    }

    async fn expire(&self) -> Result<u64> {
        let state = self.open(|| "expire correlations".to_owned())?;
        let now = state.now();
        Ok(state.shards.iter().map(|shard| shard.lock().expire(now)).sum())
    }

    async fn get_correlation_count(&self) -> Result<u64> {
        let state = self.open(|| "count correlations".to_owned())?;
        let now = state.now();
        Ok(state.shards.iter().map(|shard| shard.lock().count(now)).sum())
    }

    async fn ready(&self) -> Result<()> {
        self.open(|| "serve".to_owned()).map(drop)
    }

    fn backend(&self) -> Backend {
        Backend::Memory
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}

/// What one shard has for a page.
#[derive(Default)]
struct Part {
    matches: Vec<Summary>,
    /// The last place looked at, if there may be more behind it.
    stopped: Option<Cursor>,
}

fn merge(parts: Vec<Part>, limit: usize) -> Page {
    // What lies behind the place where any shard stopped is not known well enough for this page.
    let border = parts.iter().filter_map(|part| part.stopped.clone()).min();
    let mut correlations: Vec<Summary> = parts.into_iter().flat_map(|part| part.matches).collect();
    correlations.sort_by_cached_key(Cursor::of);
    if let Some(border) = &border {
        correlations.retain(|summary| Cursor::of(summary) <= *border);
    }
    let next = if correlations.len() > limit {
        correlations.truncate(limit);
        correlations.last().map(Cursor::of)
    } else {
        border
    };
    Page { correlations, next }
}
