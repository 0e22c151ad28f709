//! The end of a generation: claim and finish, and the events that follow.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use bench_kit::traffic::Shape;
use state_core::{EventId, Finished, Settings, StateManager};
use tokio::time::{Instant, sleep};

use super::Bench;
use crate::{
    cost::Meter,
    deployment::Deployed,
    figures::Sample,
    load::{self, AT_ONCE},
};

/// Correlations that are claimed, or events that are read, with one call.
const PER_CALL: usize = 1_000;
/// Shorter than the default, because it is waited for each time.
const GRACE: Duration = Duration::from_millis(500);
/// A claim whose answer did not come in time is free again after this.
const LEASE: Duration = Duration::from_secs(10);
/// Calls that may find nothing, and the pause after each: three leases.
const EMPTY_MAX: usize = 300;
const PAUSE: Duration = Duration::from_millis(100);
/// Notes are opaque; this is as long as what an engine would say.
const NOTE: &str = r#"{"completeness":"quiet","spans":10}"#;

/// Claims with content and finishes, a thousand at a time.
pub(super) async fn close(bench: &Bench) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for _ in 0..bench.scale.repetitions {
        let (manager, due) = due(bench).await?;
        samples.push(close_all(&bench.deployed, &*manager, due).await?);
        manager.close().await?;
    }
    Ok(samples)
}

/// Reads events with content and removes them, a thousand at a time.
pub(super) async fn events(bench: &Bench) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for _ in 0..bench.scale.repetitions {
        let (manager, due) = due(bench).await?;
        close_all(&bench.deployed, &*manager, due).await?;
        samples.push(deliver_all(&bench.deployed, &*manager, due).await?);
        manager.close().await?;
    }
    Ok(samples)
}

/// Correlations of ten spans that have been quiet for long enough, and how many.
async fn due(bench: &Bench) -> anyhow::Result<(Arc<dyn StateManager>, usize)> {
    let settings = Settings { grace: GRACE, ..Settings::default() };
    let manager = bench.deployed.open_with(&bench.deployed.config(), settings).await?;
    let batches = load::of_tenant(&bench.pools.get(Shape::TOGETHER, bench.scale.requests)?, 0)?;
    let count = batches.iter().map(Vec::len).sum();
    load::append(&[Arc::clone(&manager)], batches, AT_ONCE).await?;
    sleep(GRACE).await;
    Ok((manager, count))
}

async fn close_all(deployed: &Deployed, manager: &dyn StateManager, count: usize) -> anyhow::Result<Sample> {
    let (mut latencies, mut closed, mut empty) = (Vec::new(), 0, 0);
    let meter = Meter::start(deployed).await?;
    while closed < count {
        let begin = Instant::now();
        let claims = manager.claim_due(PER_CALL, LEASE).await?;
        if claims.is_empty() {
            empty += 1;
            ensure!(empty < EMPTY_MAX, "{closed} of {count} correlations were claimed, then none any more");
            sleep(PAUSE).await;
            continue;
        }
        let spans: u64 = claims.iter().flat_map(|claim| &claim.news).map(|fragment| fragment.spans()).sum();
        ensure!(spans == 10 * claims.len() as u64, "{} claims have {spans} spans", claims.len());
        let finishes = claims.iter().map(|claim| claim.finish(NOTE)).collect();
        let finished = manager.finish(finishes).await?;
        ensure!(
            finished.iter().all(|finished| *finished == Finished::Finished),
            "a claim could not be finished"
        );
        latencies.push(begin.elapsed());
        closed += claims.len();
    }
    Ok(Sample { latencies, cost: meter.stop().await?, units: count as u64 })
}

async fn deliver_all(
    deployed: &Deployed,
    manager: &dyn StateManager,
    count: usize,
) -> anyhow::Result<Sample> {
    let (mut latencies, mut delivered) = (Vec::new(), 0);
    let meter = Meter::start(deployed).await?;
    while delivered < count {
        let begin = Instant::now();
        let events = manager.claim_events(PER_CALL, LEASE).await?;
        ensure!(!events.is_empty(), "{delivered} of {count} events were read, then none any more");
        let spans: u64 = events.iter().flat_map(|event| &event.news).map(|fragment| fragment.spans()).sum();
        ensure!(spans == 10 * events.len() as u64, "{} events have {spans} spans", events.len());
        let ids: Vec<EventId> = events.into_iter().map(|event| event.id).collect();
        let removed = manager.remove_events(&ids).await?;
        ensure!(removed == ids.len() as u64, "{removed} of {} events were removed", ids.len());
        latencies.push(begin.elapsed());
        delivered += ids.len();
    }
    Ok(Sample { latencies, cost: meter.stop().await?, units: count as u64 })
}
