//! Appends requests, many at once, as the connections of an engine do.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::ensure;
use bench_kit::traffic::{Shape, Traffic};
use parking_lot::Mutex;
use state_core::{Append, CorrelationEntry, CorrelationKey, Outcome, StateManager, Tenant};
use tokio::{task::JoinSet, time::Instant};

use crate::batch::{Piece, split, split_apart};

/// Requests on their way at once.
pub(crate) const AT_ONCE: usize = 16;

/// Likewise while a state is filled: what that costs is not measured.
const FILLING: usize = 4;
/// Correlations of each tenant in a state that is filled.
const FILLED_PER_TENANT: usize = 100_000;
/// Tenants that there may be then.
pub(crate) const FILLED_TENANTS: u64 = 100;

/// One of so many fragments may have been found again.
const REPEATED_SHARE: usize = 10;

/// Decides all ids and names.
const SEED: u64 = 450;

/// A request as an engine has split it.
pub(crate) type Batch = Vec<Piece>;

/// Requests of a shape, made once.
#[derive(Debug, Default)]
pub(crate) struct Pools(Mutex<HashMap<(Shape, usize), Pool>>);

/// Requests that are appended again and again, for another tenant each time.
pub(crate) type Pool = Arc<Vec<Batch>>;

impl Pools {
    /// At least `count` requests, always the same ones.
    pub(crate) fn get(&self, shape: Shape, count: usize) -> anyhow::Result<Pool> {
        let mut pools = self.0.lock();
        if let Some(pool) = pools.get(&(shape, count)) {
            return Ok(Arc::clone(pool));
        }
        let pool = Arc::new(make(shape, count)?);
        pools.insert((shape, count), Arc::clone(&pool));
        Ok(pool)
    }
}

/// Makes requests; they are encoded and split a few at a time, so that little memory is held twice.
fn make(shape: Shape, count: usize) -> anyhow::Result<Vec<Batch>> {
    let mut traffic = Traffic::new(SEED);
    let mut groups = Vec::new();
    while groups.len() * shape.requests < count {
        let group = traffic.group(shape).iter().map(split).collect::<anyhow::Result<Vec<Batch>>>()?;
        groups.push(group.into_iter());
    }
    // Services send on their own time: the parts of a trace are far from each other.
    let turns =
        (0..shape.requests).flat_map(|_| groups.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>());
    Ok(turns.collect())
}

/// Requests of a shape, each span a fragment of its own.
pub(crate) fn apart(shape: Shape, count: usize) -> anyhow::Result<Vec<Batch>> {
    let mut traffic = Traffic::new(SEED);
    let requests = (0..count).flat_map(|_| traffic.group(shape));
    requests.map(|request| split_apart(&request)).collect()
}

/// Stores so many correlations of one span that arrive now: 100,000 for each tenant, from 0.
pub(crate) async fn fill(manager: &Arc<dyn StateManager>, pools: &Pools, count: usize) -> anyhow::Result<()> {
    let requests = count.div_ceil(Shape::SINGLE.traces);
    let pool = pools.get(Shape::SINGLE, requests.min(FILLED_PER_TENANT / Shape::SINGLE.traces))?;
    let mut left = count;
    for tenant in 0..FILLED_TENANTS {
        let mut batches = of_tenant(&pool[..left.div_ceil(Shape::SINGLE.traces).min(pool.len())], tenant)?;
        for batch in &mut batches {
            batch.truncate(left);
            left -= batch.len();
        }
        append(std::slice::from_ref(manager), batches, FILLING).await?;
        if left == 0 {
            return Ok(());
        }
    }
    anyhow::bail!("{count} correlations are more than a state is ever filled with")
}

/// The requests for another tenant: new to the store, though their bytes are the same.
pub(crate) fn of_tenant(pool: &[Batch], number: u64) -> anyhow::Result<Vec<Batch>> {
    let tenant: Tenant = format!("tenant-{number}").parse()?;
    Ok(pool.iter().map(|batch| batch.iter().map(|piece| piece.of_tenant(&tenant)).collect()).collect())
}

/// Spans in requests.
pub(crate) fn spans(batches: &[Batch]) -> u64 {
    batches.iter().flatten().map(|piece| piece.identities.len() as u64).sum()
}

/// Appends requests until all are confirmed; answers how long each took. Naming, which comes before
/// the call, belongs to it.
///
/// # Errors
/// When one fails, or more than a few find what was there already: a store that repeats an append
/// whose answer did not come in time finds what it added itself, but a state must be new.
pub(crate) async fn append(
    managers: &[Arc<dyn StateManager>],
    batches: Vec<Batch>,
    at_once: usize,
) -> anyhow::Result<Vec<Duration>> {
    let queue = Arc::new(Mutex::new(batches.into_iter()));
    let mut tasks = JoinSet::new();
    for index in 0..at_once {
        let queue = Arc::clone(&queue);
        let manager = Arc::clone(&managers[index % managers.len()]);
        tasks.spawn(async move {
            let mut appended = Appended::default();
            loop {
                let Some(batch) = queue.lock().next() else { return anyhow::Ok(appended) };
                appended.extend(append_one(&*manager, batch).await?);
            }
        });
    }
    let mut appended = Appended::default();
    while let Some(result) = tasks.join_next().await {
        appended.extend(result??);
    }
    let Appended { latencies, fragments, duplicates } = appended;
    ensure!(duplicates <= fragments / REPEATED_SHARE, "{duplicates} of {fragments} fragments were not new");
    Ok(latencies)
}

/// What became of requests.
#[derive(Debug, Default)]
struct Appended {
    latencies: Vec<Duration>,
    fragments: usize,
    duplicates: usize,
}

impl Appended {
    fn extend(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.fragments += other.fragments;
        self.duplicates += other.duplicates;
    }
}

async fn append_one(manager: &dyn StateManager, batch: Batch) -> anyhow::Result<Appended> {
    let begin = Instant::now();
    let batch: Vec<Append> = batch.into_iter().map(Piece::append).collect();
    let outcomes = manager.append(batch).await?;
    let time = begin.elapsed();
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    let (added, duplicates) = (count(Outcome::Added), count(Outcome::Duplicate));
    ensure!(added + duplicates == outcomes.len(), "a fragment was refused");
    Ok(Appended { latencies: vec![time], fragments: outcomes.len(), duplicates })
}

/// Sets correlations, many at once.
pub(crate) async fn set_all(
    manager: &Arc<dyn StateManager>,
    entries: impl IntoIterator<Item = (CorrelationKey, CorrelationEntry)>,
) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for (key, entry) in entries {
        if tasks.len() >= AT_ONCE
            && let Some(result) = tasks.join_next().await
        {
            result??;
        }
        let manager = Arc::clone(manager);
        tasks.spawn(async move { manager.set_correlation(&key, entry, None).await });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    Ok(())
}
