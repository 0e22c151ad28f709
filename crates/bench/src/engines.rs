//! More engines on one Redis Cluster: what a span costs with 1, 3 and 10 of them, and what they do when Redis
//! is two milliseconds away.

use std::time::Duration;

use bench_kit::{
    cpu,
    deployment::{Deployment, Plan, State},
    figure::{Figure, Mark, Unit},
    run::note,
    statistics::{median, micros},
};
use testbed::{EngineProcess, redis::Network};

use crate::{
    case::ALONE,
    generator::{Load, Pace, Protocol, Report, Shape, named},
    scale::Scale,
};

/// Decides all ids and names; each load has the next one.
const SEED: u64 = 4_800;
pub(crate) const ENGINES: [usize; 3] = [1, 3, 10];
/// Spans per second for all engines together: less than one takes, so that every trace is closed meanwhile, however
/// many engines there are.
const RATE: f64 = 1e5;
/// How much dearer a span may be with more engines.
const MARK: f64 = 1.1;
/// There and not back: answers come at once.
const DISTANCE: Duration = Duration::from_millis(2);
/// How much more than one engine several must take then: more than three take is a matter of cores.
const GROWTH: f64 = 1.5;
/// On their way at once to each engine while Redis is far away.
const IN_FLIGHT_FAR: usize = 16;

pub(crate) const CPU: &str = "CPU of engines and Redis per span";
pub(crate) const COMMANDS: &str = "commands in Redis per 1,000 spans";
pub(crate) const REQUESTS: &str = "requests per second";
const BUSY: &str = "cores busy";

/// What a load on some engines has shown.
struct Found {
    report: Report,
    commands: f64,
    /// CPU of this process, which is the network, in cores.
    network: f64,
}

impl Found {
    fn cpu(&self) -> f64 {
        self.report.cpu_us("engine") + self.report.cpu_us("redis")
    }
}

/// CPU and commands for each span at the same rate.
///
/// The deployments take turns, so that an hour in which the machine is slow is one for all of them; what is compared is
/// what was measured in the same turn.
pub(crate) async fn cost(shape: Shape, scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let mut deployments = Vec::new();
    for engines in ENGINES {
        deployments.push(Deployment::start(&Plan { engines, ..Plan::new(State::Cluster) }).await?);
    }
    let mut found = ENGINES.map(|_| Vec::new());
    for turn in 0..scale.repetitions as u64 {
        for (found, deployment) in found.iter_mut().zip(&deployments) {
            // Warming lets closing get to the pace of what arrives.
            load(deployment, shape, Pace::Rate(RATE), scale.warmup, 2 * turn).send().await?;
            found.push(one(deployment, shape, Pace::Rate(RATE), scale, 2 * turn + 1).await?);
        }
    }
    let mut figures = Vec::new();
    for (engines, several) in ENGINES.into_iter().zip(&found) {
        let of = |figure: fn(&Found) -> f64| median(several.iter().map(figure).collect());
        let name = |figure| told(engines, figure);
        figures.push(Figure::new(name(CPU), Unit::Microseconds, of(Found::cpu)));
        figures.push(Figure::new(name(COMMANDS), Unit::Count, of(|found| found.commands * 1e3)));
        let p99 = of(|found| found.report.latency_ms.p99 * 1e3);
        figures.push(Figure::new(name("p99"), Unit::Microseconds, p99));
        let rss = of(|found| found.report.rss_bytes("engine")) / engines as f64;
        figures.push(Figure::new(name("memory of each"), Unit::Bytes, rss));
        if engines > 1 {
            let times = |figure: fn(&Found) -> f64| {
                median(
                    several.iter().zip(&found[0]).map(|(these, one)| figure(these) / figure(one)).collect(),
                )
            };
            for (figure, times) in [
                ("CPU per span, of that of 1", times(Found::cpu)),
                ("commands, of those of 1", times(|found| found.commands)),
            ] {
                figures.push(Figure::new(name(figure), Unit::Share, times).with_mark(Mark::AtMost(MARK)));
            }
        }
    }
    Ok(figures)
}

/// Rates while every request to Redis arrives two milliseconds later.
pub(crate) async fn distance(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut first = None;
    for engines in ENGINES {
        let plan = Plan { engines, is_proxied: true, ..Plan::new(State::Cluster) };
        let deployment = Deployment::start(&plan).await?;
        for node in deployment.nodes() {
            node.proxy().turn(Network::Slow(DISTANCE));
        }
        let found =
            several(&deployment, ALONE, Pace::Max { in_flight: IN_FLIGHT_FAR * engines }, scale).await?;
        let of = |figure: fn(&Found) -> f64| median(found.iter().map(figure).collect());
        let rate = of(|found| found.report.requests_per_second());
        let busy = of(|found| {
            let Found { report, network, .. } = found;
            let generator = report.generator_cpu_us_per_span * report.spans_per_second / 1e6;
            report.cores("") + generator + network
        });
        let name = |figure| told(engines, figure);
        figures.push(Figure::new(name(REQUESTS), Unit::PerSecond, rate));
        let p50 = of(|found| found.report.latency_ms.p50 * 1e3);
        figures.push(Figure::new(name("p50"), Unit::Microseconds, p50));
        figures.push(Figure::new(name(BUSY), Unit::Number, busy));
        let first = *first.get_or_insert(rate);
        if engines > 1 {
            let growth = Figure::new(name("rate, of that of 1"), Unit::Times, rate / first);
            figures.push(growth.with_mark(Mark::AtLeast(GROWTH)));
        }
    }
    Ok(figures)
}

/// A figure with so many engines.
pub(crate) fn told(engines: usize, figure: &str) -> String {
    let noun = if engines == 1 { "engine" } else { "engines" };
    format!("{engines} {noun}: {figure}")
}

async fn several(
    deployment: &Deployment,
    shape: Shape,
    pace: Pace,
    scale: &Scale,
) -> anyhow::Result<Vec<Found>> {
    load(deployment, shape, pace, scale.warmup, 0).send().await?;
    let mut found = Vec::new();
    for turn in 1..=scale.repetitions as u64 {
        found.push(one(deployment, shape, pace, scale, turn).await?);
    }
    Ok(found)
}

/// Measures one load on all engines of a deployment.
async fn one(
    deployment: &Deployment,
    shape: Shape,
    pace: Pace,
    scale: &Scale,
    turn: u64,
) -> anyhow::Result<Found> {
    let (commands, used) = (deployment.redis_commands().await?, cpu::of_this_process()?);
    let report = load(deployment, shape, pace, scale.time, turn).send().await?;
    let commands = (deployment.redis_commands().await? - commands) / report.spans as f64;
    let network = micros(cpu::of_this_process()? - used) / 1e6 / report.seconds;
    note(&format!(
        "{} engines: {:.0} spans/s, {:.2} µs per span in engines, {:.2} in Redis, {commands:.3} commands",
        deployment.engines().len(),
        report.spans_per_second,
        report.cpu_us("engine"),
        report.cpu_us("redis")
    ));
    Ok(Found { report, commands, network })
}

fn load(deployment: &Deployment, shape: Shape, pace: Pace, time: Duration, turn: u64) -> Load {
    let engines = deployment.engines().iter().map(EngineProcess::process);
    let processes = named(engines.chain(deployment.nodes().iter().map(|node| node.process())));
    Load {
        targets: deployment.engines().iter().map(EngineProcess::url).collect(),
        protocol: Protocol::Grpc,
        shape,
        pace,
        warmup: Duration::ZERO,
        time,
        seed: SEED + turn,
        processes,
    }
}
