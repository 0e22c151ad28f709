//! Correlation state in the memory of one process: the contract in its simplest true form.
//!
//! What is kept ends with the process. For more than one replica use a shared store.

mod budget;
mod ledger;
mod life;
mod list;
mod shard;
mod stored;

use std::{
    fmt,
    hash::{self, BuildHasher},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use budget::Budget;
use chrono::{DateTime, Utc};
use foldhash::quality::RandomState;
use parking_lot::Mutex;
use shard::{Removed, Shard};
use state_core::{
    Append, Backend, Claim, CorrelationEntry, CorrelationKey, Error, Event, EventId, Finish, Finished,
    Ledger, Outcome, Page, PutBack, RangeQuery, Refused, Release, Result, Settings, StateManager, Summary,
};
use stored::Stored;

/// Parts of the state that are locked apart from each other. More than a machine has cores; a list
/// reads all of them.
const SHARDS: usize = 16;
/// Correlations that one shard gives to a claim before the next shard has its turn: its lock is held meanwhile.
const CLAIMED_PER_SHARD: usize = 64;

/// Removed correlations above which their memory is given back aside, at about a microsecond each.
const FREED_AT_ONCE: usize = 100;

/// Settings of the memory backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Most bytes that correlations may take, estimated. What would go beyond is refused as
    /// unavailable until something has expired; nothing alive is evicted. Default 1 GiB.
    pub bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { bytes_max: 1 << 30 }
    }
}

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
    /// Random: whoever shares this memory has the same.
    id: u64,
    settings: Settings,
    budget: Budget,
    clock: Box<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    hasher: RandomState,
    /// Which shard gives claims first, next time.
    turn: AtomicUsize,
    shards: [Mutex<Shard>; SHARDS],
    /// What was refused before it came here.
    refused: Mutex<Ledger>,
}

impl InMemoryStateManager {
    /// An empty state that reads the system's clock.
    pub fn new(config: &Config, settings: Settings) -> Self {
        Self::with_clock(config, settings, Utc::now)
    }

    /// An empty state that reads another clock.
    pub fn with_clock(
        config: &Config,
        settings: Settings,
        clock: impl Fn() -> DateTime<Utc> + Send + Sync + 'static,
    ) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        let state = State {
            // The standard library seeds it from the operating system's random numbers.
            id: hash::RandomState::new().hash_one(()),
            settings,
            budget: Budget::new(config.bytes_max),
            clock: Box::new(clock),
            hasher: RandomState::default(),
            turn: AtomicUsize::new(0),
            shards,
            refused: Mutex::default(),
        };
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

    /// Takes bytes from the budget; frees what has expired if they are not there.
    fn reserve(&self, bytes: u64, now: DateTime<Utc>, attempted: impl FnOnce() -> String) -> Result<()> {
        if self.budget.reserve(bytes) || (self.expire(now) > 0 && self.budget.reserve(bytes)) {
            return Ok(());
        }
        self.budget.refused();
        let reason =
            format!("{bytes} more bytes do not fit into memory.bytes_max = {}", self.budget.bytes_max());
        Err(Error::Unavailable { attempted: attempted(), source: reason.into() })
    }

    /// Gives the bytes of removed correlations back.
    fn release(&self, removed: Removed) {
        self.budget.release(removed.bytes());
        if removed.stored.len() > FREED_AT_ONCE {
            // Ends by itself, and nothing waits for it.
            drop(tokio::task::spawn_blocking(|| drop(removed.stored)));
        }
    }

    /// Frees what has expired; answers how many.
    fn expire(&self, now: DateTime<Utc>) -> u64 {
        let mut removed = Removed::default();
        self.shards.iter().for_each(|shard| shard.lock().expire(now, &mut removed));
        let expired = removed.stored.len() as u64;
        self.release(removed);
        expired
    }

    /// Claims from shard after shard. Begins with another one each time, so that a busy one does not keep
    /// others waiting.
    fn claim(
        &self,
        max: usize,
        claim: impl Fn(&mut Shard, usize, DateTime<Utc>) -> Vec<Claim>,
    ) -> Vec<Claim> {
        let (now, mut claims) = (self.now(), Vec::new());
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        for step in 0..SHARDS {
            let shard = &self.shards[(first + step) % SHARDS];
            let max = CLAIMED_PER_SHARD.min(max - claims.len());
            claims.extend(claim(&mut shard.lock(), max, now));
        }
        claims
    }

    fn shard(&self, key: &CorrelationKey) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

#[async_trait]
impl StateManager for InMemoryStateManager {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Outcome>> {
        let attempted = || format!("append {} fragments", batch.len());
        let state = self.open(attempted)?;
        let now = state.now();
        let most = |append: &Append| stored::CORRELATION_BYTES + stored::bytes_of(&append.fragment);
        let reserved = batch.iter().map(most).sum();
        state.reserve(reserved, now, attempted)?;
        let (mut taken, mut freed) = (0, 0);
        let append = |Append { key, fragment }: Append| {
            let appended = state.shard(&key).lock().append(key, fragment, now, &state.settings);
            taken += appended.taken;
            freed += appended.freed;
            appended.outcome
        };
        let outcomes = batch.into_iter().map(append).collect();
        state.budget.release(reserved - taken + freed);
        Ok(outcomes)
    }

    async fn get_correlation(&self, key: &CorrelationKey) -> Result<Option<CorrelationEntry>> {
        let state = self.open(|| format!("get correlation {key}"))?;
        Ok(state.shard(key).lock().get(key, state.now()).map(|stored| stored.entry(&key.id)))
    }

    async fn get_summary(&self, key: &CorrelationKey) -> Result<Option<Summary>> {
        let state = self.open(|| format!("get the summary of correlation {key}"))?;
        let shard = state.shard(key).lock();
        Ok(shard.get(key, state.now()).map(|stored| stored.summary(&key.id)))
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
        let stored = Stored::of(entry, ttl, now, &state.settings);
        state.reserve(stored.bytes, now, || format!("set correlation {key}"))?;
        let freed = state.shard(key).lock().set(key.clone(), stored, now);
        state.budget.release(freed);
        Ok(())
    }

    async fn delete_correlation(&self, key: &CorrelationKey) -> Result<bool> {
        let state = self.open(|| format!("delete correlation {key}"))?;
        let mut removed = Removed::default();
        state.shard(key).lock().remove(key, state.now(), &mut removed);
        let was_there = removed.alive > 0;
        state.release(removed);
        Ok(was_there)
    }

    async fn claim_due(&self, max: usize, lease: Duration) -> Result<Vec<Claim>> {
        let state = self.open(|| "claim correlations".to_owned())?;
        Ok(state.claim(max, |shard, max, now| shard.claim_due(max, lease, now, &state.settings)))
    }

    async fn claim_active(&self, max: usize, lease: Duration) -> Result<Vec<Claim>> {
        let state = self.open(|| "claim correlations".to_owned())?;
        Ok(state.claim(max, |shard, max, now| shard.claim_active(max, lease, now, &state.settings)))
    }

    async fn finish(&self, finishes: Vec<Finish>) -> Result<Vec<Finished>> {
        let state = self.open(|| format!("finish {} correlations", finishes.len()))?;
        let now = state.now();
        let finish = |finish: Finish| {
            let (finished, bytes) =
                state.shard(&finish.ticket.key).lock().finish(finish, now, &state.settings);
            state.budget.exceed(bytes);
            finished
        };
        Ok(finishes.into_iter().map(finish).collect())
    }

    async fn release(&self, releases: Vec<Release>) -> Result<()> {
        let state = self.open(|| format!("release {} correlations", releases.len()))?;
        let now = state.now();
        for release in releases {
            state.shard(&release.ticket.key).lock().release(&release, now, state.settings.grace);
        }
        Ok(())
    }

    async fn claim_events(&self, max: usize, lease: Duration) -> Result<Vec<Event>> {
        let state = self.open(|| "claim events".to_owned())?;
        let now = state.now();
        let (mut events, mut left) = (Vec::new(), max);
        for shard in &state.shards {
            let (claimed, count) = shard.lock().claim_events(left, lease, now);
            events.extend(claimed);
            left -= count;
        }
        Ok(events)
    }

    async fn put_back_events(&self, events: Vec<PutBack>) -> Result<()> {
        let state = self.open(|| format!("put back {} events", events.len()))?;
        let now = state.now();
        for event in &events {
            state.budget.exceed(state.shard(&event.event.key).lock().put_back_event(event, now));
        }
        Ok(())
    }

    async fn remove_events(&self, events: &[EventId]) -> Result<u64> {
        let state = self.open(|| format!("remove {} events", events.len()))?;
        let now = state.now();
        let remove = |event: &EventId| {
            let (was_there, bytes) = state.shard(&event.key).lock().remove_event(event, now);
            state.budget.release(bytes);
            u64::from(was_there)
        };
        Ok(events.iter().map(remove).sum())
    }

    async fn get_correlations_by_time_range(&self, query: &RangeQuery) -> Result<Page> {
        let state = self.open(|| "list correlations".to_owned())?;
        let now = state.now();
        let shards: Vec<_> = state.shards.iter().map(Mutex::lock).collect();
        Ok(list::page(&shards, query, now))
    }

    async fn cleanup_old_correlations(&self, cutoff: DateTime<Utc>) -> Result<u64> {
        let state = self.open(|| format!("clean up before {cutoff}"))?;
        let now = state.now();
        let mut removed = Removed::default();
        state.shards.iter().for_each(|shard| shard.lock().cleanup(cutoff, now, &mut removed));
        let count = removed.alive;
        state.release(removed);
        Ok(count)
    }

    async fn expire(&self) -> Result<u64> {
        let state = self.open(|| "expire correlations".to_owned())?;
        let freed = state.expire(state.now());
        state.budget.publish();
        Ok(freed)
    }

    async fn get_correlation_count(&self) -> Result<u64> {
        let state = self.open(|| "count correlations".to_owned())?;
        state.expire(state.now());
        Ok(state.shards.iter().map(|shard| shard.lock().count()).sum())
    }

    async fn get_ledger(&self) -> Result<Ledger> {
        let state = self.open(|| "read the ledger".to_owned())?;
        state.expire(state.now());
        let mut ledger = state.refused.lock().clone();
        state.shards.iter().for_each(|shard| shard.lock().sums().add_to(&mut ledger));
        Ok(ledger)
    }

    async fn note_refused(&self, refused: Vec<Refused>) -> Result<()> {
        let state = self.open(|| "note what was refused".to_owned())?;
        let mut ledger = state.refused.lock();
        for Refused { signal, reason, items } in refused {
            let account = ledger.of_mut(signal);
            account.received += items;
            *account.refused.entry(reason).or_default() += items;
        }
        Ok(())
    }

    async fn ready(&self) -> Result<()> {
        self.open(|| "serve".to_owned()).map(drop)
    }

    fn backend(&self) -> Backend {
        Backend::Memory
    }

    async fn state_id(&self) -> Result<String> {
        self.open(|| "tell its id".to_owned()).map(|state| format!("{:016x}", state.id))
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}
