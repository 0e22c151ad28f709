//! Calls over everything that is stored: the newest, and how many.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use bench_kit::traffic::Shape;
use chrono::Utc;
use state_core::{RangeQuery, StateManager};
use tokio::time::Instant;

use super::Bench;
use crate::{cost::Meter, figures::Sample, load};

/// Correlations on a page.
const PAGE: usize = 100;
/// Over which correlations have arrived.
const SPREAD: Duration = Duration::from_secs(3_600);
/// Whose correlations they are.
const TENANT: &str = "tenant-0";
/// Pages that may be needed for one full one.
const PAGES_MAX: usize = 1_000;
/// A repetition ends after so many calls,
const CALLS_MAX: usize = 20_000;
/// or after this time.
const TIME_MAX: Duration = Duration::from_millis(500);

/// A state with so many correlations that arrived just now.
async fn filled(bench: &Bench, count: usize) -> anyhow::Result<Arc<dyn StateManager>> {
    let manager = bench.deployed.open().await?;
    load::fill(&manager, &bench.pools, count).await?;
    Ok(manager)
}

/// Calls one after the other, within bounds.
async fn calls<F: Future<Output = anyhow::Result<()>>>(
    bench: &Bench,
    call: impl Fn() -> F,
) -> anyhow::Result<Vec<Sample>> {
    // Connections are made with the first one.
    call().await?;
    let mut samples = Vec::new();
    for _ in 0..bench.scale.repetitions {
        let mut latencies = Vec::new();
        let meter = Meter::start(&bench.deployed).await?;
        let end = Instant::now() + TIME_MAX;
        while latencies.len() < CALLS_MAX && Instant::now() < end {
            let begin = Instant::now();
            call().await?;
            latencies.push(begin.elapsed());
        }
        let (cost, units) = (meter.stop().await?, latencies.len() as u64);
        samples.push(Sample { latencies, cost, units });
    }
    Ok(samples)
}

/// Of correlations that arrived evenly over the last hour.
pub(super) async fn newest(bench: &Bench) -> anyhow::Result<Vec<Sample>> {
    let manager = bench.deployed.open().await?;
    let count = bench.scale.listed;
    let pool = bench.pools.get(Shape::SINGLE, count.div_ceil(Shape::SINGLE.traces))?;
    let pieces = load::of_tenant(&pool, 0)?.into_iter().flatten().take(count).enumerate();
    let now = Utc::now();
    let entries = pieces.map(|(place, piece)| piece.entry(now - SPREAD * place as u32 / count as u32));
    load::set_all(&manager, entries).await?;
    let samples = calls(bench, || list(&*manager)).await?;
    manager.close().await?;
    Ok(samples)
}

/// Of correlations that have all arrived just now.
pub(super) async fn burst(bench: &Bench) -> anyhow::Result<Vec<Sample>> {
    let manager = filled(bench, bench.scale.burst).await?;
    let samples = calls(bench, || list(&*manager)).await?;
    manager.close().await?;
    Ok(samples)
}

async fn list(manager: &dyn StateManager) -> anyhow::Result<()> {
    let mut query = RangeQuery { tenant: TENANT.parse()?, limit: PAGE, ..RangeQuery::default() };
    let mut found = 0;
    for _ in 0..PAGES_MAX {
        let page = manager.get_correlations_by_time_range(&query).await?;
        found += page.correlations.len();
        query.limit = PAGE - found;
        query.after = page.next;
        if query.limit == 0 || query.after.is_none() {
            break;
        }
    }
    ensure!(found == PAGE, "{found} correlations were listed instead of {PAGE}");
    Ok(())
}

pub(super) async fn count(bench: &Bench) -> anyhow::Result<Vec<Sample>> {
    let manager = filled(bench, bench.scale.counted).await?;
    let samples = calls(bench, || count_all(&*manager, bench.scale.counted)).await?;
    manager.close().await?;
    Ok(samples)
}

async fn count_all(manager: &dyn StateManager, stored: usize) -> anyhow::Result<()> {
    let count = manager.get_correlation_count().await?;
    ensure!(count == stored as u64, "{count} correlations were counted instead of {stored}");
    Ok(())
}
