//! Appends until acknowledged, 16 requests at once.

use std::sync::Arc;

use bench_kit::traffic::Shape;
use state_core::StateManager;

use super::Bench;
use crate::{
    cost::Meter,
    deployment::Deployed,
    figures::Sample,
    load::{self, AT_ONCE, Batch},
    scale::Scale,
};

pub(super) async fn append(bench: &Bench, shape: Shape) -> anyhow::Result<Vec<Sample>> {
    let Bench { deployed, scale, pools } = bench;
    let pool = pools.get(shape, scale.requests)?;
    let mut samples = Vec::new();
    for _ in 0..=scale.repetitions {
        let managers = [deployed.open().await?];
        samples.push(repetition(deployed, &managers, &pool, scale, AT_ONCE).await?);
        managers[0].close().await?;
    }
    // The first one found memory that nobody had touched yet, here and in the servers: that costs
    // as much as the rest, but only once in the life of a process.
    samples.remove(0);
    Ok(samples)
}

/// Appends to a state for as long as a repetition takes. Engines share the load evenly if `at_once`
/// is a multiple of their number.
pub(crate) async fn repetition(
    deployed: &Deployed,
    managers: &[Arc<dyn StateManager>],
    pool: &[Batch],
    scale: &Scale,
    at_once: usize,
) -> anyhow::Result<Sample> {
    // Connections are made and scripts are loaded with the first ones.
    load::append(managers, load::of_tenant(&pool[..at_once], 0)?, at_once).await?;
    let mut sample = Sample::default();
    for round in 1.. {
        let batches = load::of_tenant(pool, round)?;
        let spans = load::spans(&batches);
        let meter = Meter::start(deployed).await?;
        let latencies = load::append(managers, batches, at_once).await?;
        sample.extend(latencies, meter.stop().await?, spans);
        if sample.cost.wall >= scale.append_time || sample.units >= scale.append_spans_max {
            break;
        }
    }
    Ok(sample)
}
