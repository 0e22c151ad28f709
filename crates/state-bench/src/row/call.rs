//! Single calls, one after the other: get, set, clean up.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use bench_kit::traffic::Shape;
use chrono::{DateTime, Utc};
use state_core::{CorrelationEntry, CorrelationKey};
use tokio::time::Instant;

use super::Bench;
use crate::{
    cost::Meter,
    figures::Sample,
    load::{self, AT_ONCE, Pools},
};

/// What is removed by a clean-up, and what stays.
const REMOVED: usize = 1_000;
const STAYING: usize = 10_000;

/// Ten-span correlations, arrived at a time.
fn entries(
    pools: &Pools,
    count: usize,
    round: u64,
    time: DateTime<Utc>,
) -> anyhow::Result<Vec<(CorrelationKey, CorrelationEntry)>> {
    let batches = load::of_tenant(&pools.get(Shape::ALONE, count)?, round)?;
    Ok(batches.into_iter().flatten().map(|piece| piece.entry(time)).collect())
}

pub(super) async fn get(bench: &Bench) -> anyhow::Result<Vec<Sample>> {
    let Bench { deployed, scale, pools } = bench;
    let manager = deployed.open().await?;
    let batches = load::of_tenant(&pools.get(Shape::ALONE, scale.calls)?, 0)?;
    let keys: Vec<_> = batches.iter().flatten().map(|piece| piece.key.clone()).collect();
    load::append(&[Arc::clone(&manager)], batches, AT_ONCE).await?;
    let mut samples = Vec::new();
    for _ in 0..scale.repetitions {
        let mut latencies = Vec::with_capacity(keys.len());
        let meter = Meter::start(deployed).await?;
        for key in &keys {
            let begin = Instant::now();
            let entry = manager.get_correlation(key).await?;
            latencies.push(begin.elapsed());
            let spans = entry.map_or(0, |entry| entry.spans.iter().map(|fragment| fragment.spans()).sum());
            ensure!(spans == 10, "correlation {key} has {spans} spans");
        }
        let cost = meter.stop().await?;
        samples.push(Sample { latencies, cost, units: keys.len() as u64 });
    }
    manager.close().await?;
    Ok(samples)
}

pub(super) async fn set(bench: &Bench) -> anyhow::Result<Vec<Sample>> {
    let Bench { deployed, scale, pools } = bench;
    let manager = deployed.open().await?;
    let mut samples = Vec::new();
    for round in 0..scale.repetitions {
        let entries = entries(pools, scale.calls, round as u64, Utc::now())?;
        let mut latencies = Vec::with_capacity(entries.len());
        let meter = Meter::start(deployed).await?;
        for (key, entry) in entries {
            let begin = Instant::now();
            manager.set_correlation(&key, entry, None).await?;
            latencies.push(begin.elapsed());
        }
        let cost = meter.stop().await?;
        samples.push(Sample { latencies, cost, units: scale.calls as u64 });
    }
    manager.close().await?;
    Ok(samples)
}

pub(super) async fn cleanup(bench: &Bench) -> anyhow::Result<Vec<Sample>> {
    let Bench { deployed, scale, pools } = bench;
    let manager = deployed.open().await?;
    let now = Utc::now();
    let (old, cutoff) = (now - Duration::from_secs(120), now - Duration::from_secs(60));
    load::set_all(&manager, entries(pools, STAYING, u64::MAX, now)?).await?;
    let mut samples = Vec::new();
    for _ in 0..scale.repetitions {
        let mut sample = Sample::default();
        for _ in 0..scale.cleanups {
            load::set_all(&manager, entries(pools, REMOVED, 0, old)?).await?;
            let meter = Meter::start(deployed).await?;
            let begin = Instant::now();
            let removed = manager.cleanup_old_correlations(cutoff).await?;
            let time = begin.elapsed();
            sample.extend(vec![time], meter.stop().await?, 1);
            ensure!(removed == REMOVED as u64, "{removed} correlations were removed instead of {REMOVED}");
        }
        samples.push(sample);
    }
    manager.close().await?;
    Ok(samples)
}
