//! How the cost of appending changes with settings, with engines and with what is stored.

use std::{sync::Arc, time::Duration};

use bench_kit::{statistics::median, text::thousands, traffic::Shape};
use state_core::{Settings, StateManager};
use state_redis::Config;

use crate::{
    cost::Meter,
    deployment::Deployed,
    figures::{Figures, Sample},
    load::{self, AT_ONCE, Batch},
    row::{Bench, append::repetition},
    series::{Point, Series},
};

/// Appends of one trace, one after the other.
const ALONE: usize = 300;
/// On their way at once, whatever the number of engines: 1, 3 and 10 share it evenly.
const AT_ONCE_OVER_ENGINES: usize = 30;
/// Requests in a round of the sweep over what is stored: few beside what is there.
const REQUESTS_BESIDE: usize = 32;
const ROUNDS_BESIDE: usize = 10;

pub(super) async fn buckets(bench: &Bench) -> anyhow::Result<Series> {
    let default = bench.deployed.config();
    let mut points = Vec::new();
    for buckets in [12, 16, 24, 64, 256] {
        points.push(with_config(bench, buckets.to_string(), Config { buckets, ..default.clone() }).await?);
    }
    Ok(Series { name: "buckets", title: "Buckets, 1,000 spans in a request, 16 at once".into(), points })
}

pub(super) async fn gather(bench: &Bench) -> anyhow::Result<Series> {
    let default = bench.deployed.config();
    let mut points = Vec::new();
    for micros in [0, 500, 1_000, 2_000, 5_000] {
        let gather = Duration::from_micros(micros);
        points.push(with_config(bench, format!("{gather:?}"), Config { gather, ..default.clone() }).await?);
    }
    Ok(Series {
        name: "gather",
        title: "Time to gather, 1,000 spans in a request, 16 at once".into(),
        points,
    })
}

async fn with_config(bench: &Bench, label: String, config: Config) -> anyhow::Result<Point> {
    let Bench { deployed, scale, pools } = bench;
    let pool = pools.get(Shape::TOGETHER, scale.requests)?;
    let alone = pools.get(Shape::ALONE, ALONE)?;
    let (mut samples, mut alones) = (Vec::new(), Vec::new());
    for _ in 0..scale.repetitions {
        let managers = [deployed.open_with(&config, Settings::default()).await?];
        samples.push(repetition(deployed, &managers, &pool, scale, AT_ONCE).await?);
        let latencies = load::append(&managers, load::of_tenant(&alone, 0)?, 1).await?;
        alones.push(latencies);
        managers[0].close().await?;
    }
    let alones = alones.into_iter().map(|latencies| Figures::of_calls(latencies).p50_us).collect();
    let Figures { cpu_us, client_us, primaries_us, per_second, p50_us, p99_us, commands, .. } =
        Figures::of(samples);
    Ok(Point::new(
        label,
        [
            ("cpu_us_per_span", cpu_us),
            ("client_us_per_span", client_us),
            ("redis_us_per_span", primaries_us),
            ("spans_per_second", per_second),
            ("p50_us", p50_us),
            ("p99_us", p99_us.unwrap_or_default()),
            ("alone_p50_us", median(alones)),
            ("commands_per_span", commands),
        ],
    ))
}

/// Cost alone, for the sweeps without latencies.
pub(super) fn point(label: String, samples: Vec<Sample>) -> Point {
    let Figures { cpu_us, client_us, primaries_us, per_second, commands, .. } = Figures::of(samples);
    Point::new(
        label,
        [
            ("cpu_us_per_span", cpu_us),
            ("client_us_per_span", client_us),
            ("redis_us_per_span", primaries_us),
            ("spans_per_second", per_second),
            ("commands_per_span", commands),
        ],
    )
}

pub(super) async fn packing(bench: &Bench) -> anyhow::Result<Series> {
    let Bench { deployed, scale, pools } = bench;
    let together = pools.get(Shape::TOGETHER, scale.requests)?;
    let apart = load::apart(Shape::TOGETHER, scale.requests)?;
    let mut points = Vec::new();
    for (label, pool) in [("a fragment for each trace", &*together), ("a fragment for each span", &apart)] {
        let mut samples = Vec::new();
        for _ in 0..scale.repetitions {
            let managers = [deployed.open().await?];
            samples.push(repetition(deployed, &managers, pool, scale, AT_ONCE).await?);
            managers[0].close().await?;
        }
        points.push(point(label.into(), samples));
    }
    Ok(Series { name: "packing", title: "The same spans packed and one by one".into(), points })
}

pub(super) async fn engines(bench: &Bench) -> anyhow::Result<Series> {
    let Bench { deployed, scale, pools } = bench;
    let pool = pools.get(Shape::TOGETHER, scale.requests)?;
    let mut points = Vec::new();
    for count in [1, 3, 10] {
        let mut samples = Vec::new();
        for _ in 0..scale.repetitions {
            let mut managers = vec![deployed.open().await?];
            for _ in 1..count {
                managers.push(deployed.client(&deployed.config(), Settings::default())?);
            }
            samples.push(repetition(deployed, &managers, &pool, scale, AT_ONCE_OVER_ENGINES).await?);
            for manager in managers {
                manager.close().await?;
            }
        }
        points.push(point(count.to_string(), samples));
    }
    let title =
        format!("Engines that share the load, {AT_ONCE_OVER_ENGINES} requests of 1,000 spans at once");
    Ok(Series { name: "engines", title, points }.flat())
}

pub(super) async fn stored(bench: &Bench) -> anyhow::Result<Series> {
    let Bench { deployed, scale, pools } = bench;
    let pool = pools.get(Shape::TOGETHER, REQUESTS_BESIDE)?;
    let mut points = Vec::new();
    for count in [1_000, 10_000, 100_000, 1_000_000].into_iter().filter(|count| *count <= scale.counted) {
        let mut samples = Vec::new();
        for _ in 0..scale.repetitions {
            let mut sample = Sample::default();
            if count >= scale.listed {
                let manager = filled(bench, count).await?;
                for round in 0..ROUNDS_BESIDE {
                    beside(deployed, &manager, &pool, round as u64, &mut sample).await?;
                }
                manager.close().await?;
            } else {
                // So few would be many more after one round.
                for _ in 0..ROUNDS_BESIDE {
                    let manager = filled(bench, count).await?;
                    beside(deployed, &manager, &pool, 0, &mut sample).await?;
                    manager.close().await?;
                }
            }
            samples.push(sample);
        }
        points.push(point(thousands(count), samples));
    }
    Ok(Series { name: "stored", title: "Correlations that are stored already".into(), points }.flat())
}

async fn filled(bench: &Bench, count: usize) -> anyhow::Result<Arc<dyn StateManager>> {
    let manager = bench.deployed.open().await?;
    load::fill(&manager, &bench.pools, count).await?;
    Ok(manager)
}

async fn beside(
    deployed: &Deployed,
    manager: &Arc<dyn StateManager>,
    pool: &[Batch],
    round: u64,
    sample: &mut Sample,
) -> anyhow::Result<()> {
    let batches = load::of_tenant(pool, load::FILLED_TENANTS + round)?;
    let spans = load::spans(&batches);
    let meter = Meter::start(deployed).await?;
    let latencies = load::append(&[Arc::clone(manager)], batches, AT_ONCE).await?;
    sample.extend(latencies, meter.stop().await?, spans);
    Ok(())
}
