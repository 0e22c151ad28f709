//! Compares what the store holds and tells with what was sent and acknowledged.

use std::{collections::HashSet, time::Duration};

use anyhow::Context as _;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use state_core::{CorrelationKey, Error, Event, FragmentId, StateManager};
use state_redis::RedisStateManager;
use tokio::time::{Instant, sleep};

use crate::ledger::{Fragments, Ledger, count};

/// Correlations that are read at once.
const READS: usize = 32;
/// Events that are taken out of the outbox at once.
const EVENTS_PER_CALL: usize = 500;
/// How long an answer that was lost keeps its events from the next call.
const EVENTS_LEASE: Duration = Duration::from_secs(1);
/// The store serves when this begins; one more failover may be on its way.
const READ_DEADLINE: Duration = Duration::from_secs(30);

/// What is wrong, and out of how many; all but the first two must be 0.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Totals {
    /// Fragments that were sent.
    pub(crate) tried: u64,
    /// Fragments that were acknowledged.
    pub(crate) acked: u64,
    /// Acknowledged and not there.
    pub(crate) lost: u64,
    /// There more than once, or counted more than once.
    pub(crate) duplicated: u64,
    /// There and never sent.
    pub(crate) invented: u64,
    /// Answers that no caller may get.
    pub(crate) nonretryable: u64,
    /// Events of one generation beyond the first, and fragments in more than one event.
    pub(crate) events_doubled: u64,
    /// Fragments in no event.
    pub(crate) untold: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Self) {
        self.tried += other.tried;
        self.acked += other.acked;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.invented += other.invented;
        self.nonretryable += other.nonretryable;
        self.events_doubled += other.events_doubled;
        self.untold += other.untold;
    }

    pub(crate) fn wrong(&self) -> u64 {
        self.lost + self.duplicated + self.invented + self.nonretryable + self.events_doubled + self.untold
    }
}

/// Reads every correlation, with a store that has seen nothing of the load.
pub(crate) async fn state(store: &RedisStateManager, ledger: &Ledger) -> anyhow::Result<Totals> {
    let (sent, acknowledged) = (ledger.sent(), ledger.acknowledged());
    let mut totals = Totals {
        tried: count(&sent),
        acked: count(&acknowledged),
        nonretryable: ledger.not_retryable().0,
        ..Totals::default()
    };
    let reads = stream::iter(sent.keys().cloned()).map(async |key| {
        let entry = repeated(async || store.get_correlation(&key).await).await?;
        anyhow::Ok((key, entry))
    });
    let entries: Vec<_> = reads.buffer_unordered(READS).try_collect().await?;
    let none = HashSet::new();
    let mut correlations = 0;
    for (key, entry) in entries {
        let names: Vec<FragmentId> =
            entry.iter().flat_map(|entry| entry.fragments().map(state_core::Fragment::id)).collect();
        let kept: HashSet<FragmentId> = names.iter().copied().collect();
        correlations += u64::from(entry.is_some());
        totals.duplicated += (names.len() - kept.len()) as u64;
        if let Some(entry) = &entry {
            totals.duplicated += entry.summary().counts.spans.abs_diff(kept.len() as u64);
        }
        totals.lost += acknowledged.get(&key).unwrap_or(&none).difference(&kept).count() as u64;
        totals.invented += kept.difference(sent.get(&key).unwrap_or(&none)).count() as u64;
    }
    let counted = repeated(async || store.get_correlation_count().await).await?;
    totals.invented += counted.saturating_sub(correlations);
    totals.lost += correlations.saturating_sub(counted);
    Ok(totals)
}

/// Empties the outbox, as a consumer does, until it has told of everything that was acknowledged, or the
/// time is up.
pub(crate) async fn outbox(
    store: &RedisStateManager,
    ledger: &Ledger,
    patience: Duration,
) -> anyhow::Result<Told> {
    let acknowledged = ledger.acknowledged();
    let deadline = Instant::now() + patience;
    let mut told = Told::default();
    loop {
        let events = repeated(async || store.claim_events(EVENTS_PER_CALL, EVENTS_LEASE).await).await?;
        if events.is_empty() && (told.lacks(&acknowledged) == 0 || Instant::now() >= deadline) {
            return Ok(told);
        }
        if events.is_empty() {
            sleep(Duration::from_millis(100)).await;
            continue;
        }
        events.iter().for_each(|event| told.hear(event));
        let names: Vec<_> = events.into_iter().map(|event| event.id).collect();
        repeated(async || store.remove_events(&names).await).await?;
    }
}

/// What the outbox has told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    generations: HashSet<(CorrelationKey, u64)>,
    fragments: Fragments,
    /// Events of one generation beyond the first, and fragments in more than one event.
    pub(crate) doubled: u64,
}

impl Told {
    fn hear(&mut self, event: &Event) {
        let key = &event.id.key;
        self.doubled += u64::from(!self.generations.insert((key.clone(), event.id.generation)));
        let names = self.fragments.entry(key.clone()).or_default();
        self.doubled += event.news.iter().filter(|fragment| !names.insert(fragment.id())).count() as u64;
    }

    /// How many of the fragments it has not told of.
    pub(crate) fn lacks(&self, of: &Fragments) -> u64 {
        let none = HashSet::new();
        let lacking = of
            .iter()
            .map(|(key, names)| names.difference(self.fragments.get(key).unwrap_or(&none)).count() as u64);
        lacking.sum()
    }
}

/// Repeats a call while it may succeed later.
async fn repeated<T>(call: impl AsyncFn() -> Result<T, Error>) -> anyhow::Result<T> {
    let deadline = Instant::now() + READ_DEADLINE;
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) if error.is_retryable() && Instant::now() < deadline => {}
            Err(error) => return Err(error).context("failed to read what is stored"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}
