//! Appends until acknowledged, 16 requests at once.

use super::Bench;
use crate::{
    cost::Meter,
    figures::Sample,
    load::{self, AT_ONCE},
    traffic::Shape,
};

pub(super) async fn append(bench: &Bench, shape: Shape) -> anyhow::Result<Vec<Sample>> {
    let Bench { deployed, scale, pools } = bench;
    let pool = pools.get(shape, scale.requests)?;
    let mut samples = Vec::new();
    for _ in 0..scale.repetitions {
        let managers = [deployed.open().await?];
        // Connections are made and scripts are loaded with the first ones.
        load::append(&managers, load::of_tenant(&pool[..AT_ONCE], 0)?, AT_ONCE).await?;
        let mut sample = Sample::default();
        for round in 1.. {
            let batches = load::of_tenant(&pool, round)?;
            let spans = load::spans(&batches);
            let meter = Meter::start(deployed).await?;
            let latencies = load::append(&managers, batches, AT_ONCE).await?;
            sample.extend(latencies, meter.stop().await?, spans);
            if sample.cost.wall >= scale.append_time || sample.units >= scale.append_spans_max {
                break;
            }
        }
        managers[0].close().await?;
        samples.push(sample);
    }
    Ok(samples)
}
