//! One case end to end: the most that comes in without refusals and what that costs, then how long answers
//! take at half of it.

use std::time::Duration;

use bench_kit::{
    cpu,
    deployment::{Compression, Deployment, Endpoint, Plan, State},
    figure::{Figure, Mark, Unit},
    run::note,
    sink::Sink,
    statistics::{median, micros},
};
use testbed::GatewayProcess;

use crate::{
    case::{Case, Door},
    generator::{Load, Pace, Protocol, Report, named},
    scale::Scale,
};

pub(crate) const TRACES: &str = "traces per second";
pub(crate) const SPANS: &str = "spans per second";
pub(crate) const ENGINE: &str = "CPU of the engine per span";
pub(crate) const GATEWAY: &str = "CPU of the gateway per span";
pub(crate) const REDIS: &str = "CPU of Redis per span";
pub(crate) const GENERATOR: &str = "CPU of the generator per span";
pub(crate) const P50: &str = "p50 at half of it";
pub(crate) const P99: &str = "p99 at half of it";
pub(crate) const P99_9: &str = "p99.9 at half of it";
const P50_AT_QUARTER: &str = "p50 at a quarter of it";
const P99_AT_QUARTER: &str = "p99 at a quarter of it";
const REFUSED: &str = "requests refused, in all";
pub(crate) const CLOSED: &str = "traces closed meanwhile, of those due";
pub(crate) const CLOSED_AT_HALF: &str = "traces closed at half of it, of those due";
pub(crate) const DELIVERED: &str = "spans delivered per second meanwhile";
const ENDPOINT: &str = "CPU of benchmark and endpoint per span";

/// Decides all ids and names; each load has the next one.
const SEED: u64 = 4_600;
/// The default: before it, a trace is not due to be closed.
const GRACE: Duration = Duration::from_secs(2);
/// Everything is kept for a minute, and more memory is allowed than comes in meanwhile.
const SETTINGS: [(&str, &str); 2] = [("correlation.ttl_seconds", "60"), ("memory.bytes_max", "17179869184")];

/// One deployment with what is before and behind it.
struct Running {
    deployment: Deployment,
    gateway: Option<GatewayProcess>,
    sink: Option<Sink>,
}

/// What one load has shown.
struct Found {
    report: Report,
    /// Correlations closed, of those that could be; unknown when hardly any could.
    closed: Option<f64>,
    delivered: f64,
    endpoint_us: f64,
}

/// Measures a case.
pub(crate) async fn measure(case: &Case, scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let mut seeds = SEED..;
    let mut load = |pace, warmup, time| Load {
        targets: Vec::new(),
        protocol: case.protocol(),
        shape: case.shape,
        pace,
        warmup,
        time,
        seed: seeds.next().unwrap_or(SEED),
        processes: Vec::new(),
    };
    let max = Pace::Max { in_flight: case.shape.in_flight() };
    let mut running = Running::start(case).await?;
    let mut at_max = Vec::new();
    for repetition in 0..scale.repetitions {
        // In memory everything stays where it is, so each repetition has a memory of its own.
        let is_fresh = repetition == 0 || case.state == State::Memory;
        if is_fresh && repetition > 0 {
            running = Running::start(case).await?;
        }
        let warmup = if is_fresh { scale.warmup } else { scale.rewarmup };
        let found = running.load(load(max, warmup, scale.time), is_fresh).await?;
        note(&format!("{}: {}", case.name, found.describe()));
        at_max.push(found);
    }
    let spans = median(at_max.iter().map(|found| found.report.spans_per_second).collect());
    let mut parts = [Vec::new(), Vec::new()];
    for (found, share) in parts.iter_mut().zip(case.shares()) {
        // What another rate has left to be closed is not of this one.
        running = Running::start(case).await?;
        for repetition in 0..scale.repetitions {
            let is_fresh = repetition == 0;
            let warmup = if is_fresh { scale.warmup } else { scale.rewarmup };
            found.push(running.load(load(Pace::Rate(spans * share), warmup, scale.time), is_fresh).await?);
        }
    }
    let [at_half, at_quarter] = parts;
    Ok(case.figures(&at_max, &at_half, &at_quarter))
}

impl Case {
    fn protocol(&self) -> Protocol {
        match self.door {
            Door::Engine => Protocol::Grpc,
            Door::Gateway(protocol) => protocol,
        }
    }

    /// The parts of the maximum at which latency is measured: half of it, and a quarter where there is a mark.
    fn shares(&self) -> impl Iterator<Item = f64> {
        let quarter = self.p99_mark_ms.map(|_| 0.25);
        [0.5].into_iter().chain(quarter)
    }

    fn figures(&self, at_max: &[Found], at_half: &[Found], at_quarter: &[Found]) -> Vec<Figure> {
        let of = |figure: fn(&Found) -> f64| median(at_max.iter().map(figure).collect());
        let rate = |name, value| Figure::new(name, Unit::PerSecond, value);
        let cost = |name, value| Figure::new(name, Unit::Microseconds, value);
        let latency = |name, found: &[Found], figure: fn(&Report) -> f64| {
            cost(name, median(found.iter().map(|found| figure(&found.report) * 1e3).collect()))
        };
        let mut traces = rate(TRACES, of(|found| found.report.traces_per_second));
        traces.mark = self.traces_mark.map(Mark::AtLeast);
        let mut p99 = latency(P99, at_half, |report| report.latency_ms.p99);
        p99.mark = self.p99_mark_ms.map(|ms| Mark::AtMost(ms * 1e3));
        let mut figures = vec![traces, rate(SPANS, of(|found| found.report.spans_per_second))];
        figures.push(cost(ENGINE, of(|found| found.report.cpu_us("engine"))));
        if self.door != Door::Engine {
            figures.push(cost(GATEWAY, of(|found| found.report.cpu_us("gateway"))));
        }
        if self.state != State::Memory {
            figures.push(cost(REDIS, of(|found| found.report.cpu_us("redis"))));
        }
        figures.push(cost(GENERATOR, of(|found| found.report.generator_cpu_us_per_span)));
        if self.is_delivered {
            figures.push(rate(DELIVERED, of(|found| found.delivered)));
            figures.push(cost(ENDPOINT, of(|found| found.endpoint_us)));
        }
        for (name, loads) in [(CLOSED, at_max), (CLOSED_AT_HALF, at_half)] {
            let closed: Vec<f64> = loads.iter().filter_map(|found| found.closed).collect();
            if !closed.is_empty() {
                figures.push(Figure::new(name, Unit::Share, median(closed)));
            }
        }
        let refused =
            at_max.iter().chain(at_half).chain(at_quarter).map(|found| found.report.disturbed()).sum::<u64>();
        figures.push(Figure::new(REFUSED, Unit::Count, refused as f64).with_mark(Mark::AtMost(0.0)));
        figures.extend([
            latency(P50, at_half, |report| report.latency_ms.p50),
            p99,
            latency(P99_9, at_half, |report| report.latency_ms.p99_9),
        ]);
        if !at_quarter.is_empty() {
            figures.extend([
                latency(P50_AT_QUARTER, at_quarter, |report| report.latency_ms.p50),
                latency(P99_AT_QUARTER, at_quarter, |report| report.latency_ms.p99),
            ]);
        }
        figures
    }
}

impl Running {
    async fn start(case: &Case) -> anyhow::Result<Self> {
        let sink = if case.is_delivered { Some(Sink::start()?) } else { None };
        let endpoint =
            sink.as_ref().map(|sink| Endpoint { url: sink.url(), compression: Compression::Default });
        let plan = Plan { endpoint, ..Plan::new(case.state) }.with(&SETTINGS);
        let deployment = Deployment::start(&plan).await?;
        let gateway = match case.door {
            Door::Engine => None,
            Door::Gateway(_) => Some(deployment.gateway().await?),
        };
        Ok(Self { deployment, gateway, sink })
    }

    async fn load(&self, load: Load, is_fresh: bool) -> anyhow::Result<Found> {
        let (closed, delivered, used) = (self.closed().await?, self.delivered(), cpu::of_this_process()?);
        // Warming counts here too: what is closed and delivered meanwhile has come then.
        let time = load.warmup + load.time;
        let report = self.send(load).await?;
        let due = if is_fresh { time.saturating_sub(GRACE) } else { time };
        let closed = (self.closed().await? - closed) / (report.traces_per_second * due.as_secs_f64());
        let seconds = time.as_secs_f64();
        Ok(Found {
            closed: (due > time / 4).then_some(closed),
            delivered: (self.delivered() - delivered) / seconds,
            endpoint_us: micros(cpu::of_this_process()? - used) / (report.spans_per_second * seconds),
            report,
        })
    }

    async fn send(&self, load: Load) -> anyhow::Result<Report> {
        let target = match &self.gateway {
            Some(gateway) => gateway.url(),
            None => self.deployment.engine().url(),
        };
        let engines = self.deployment.engines().iter().map(|engine| engine.process());
        let redis = self.deployment.nodes().iter().map(|node| node.process());
        let gateway = self.gateway.iter().map(|gateway| gateway.process());
        let processes = named(engines.chain(redis).chain(gateway));
        Load { targets: vec![target], processes, ..load }.send().await
    }

    /// Generations that the engine has closed.
    async fn closed(&self) -> anyhow::Result<f64> {
        let (_, text) = self.deployment.engine().admin_get("/metrics").await?;
        let counts = text.lines().filter(|line| line.starts_with("engine_closed_correlations_total"));
        Ok(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    fn delivered(&self) -> f64 {
        self.sink.as_ref().map_or(0.0, |sink| sink.spans() as f64)
    }
}

impl Found {
    fn describe(&self) -> String {
        let report = &self.report;
        format!(
            "{:.0} traces/s, {:.0} spans/s; µs per span: engine {:.2}, gateway {:.2}, Redis {:.2}, generator {:.2}",
            report.traces_per_second,
            report.spans_per_second,
            report.cpu_us("engine"),
            report.cpu_us("gateway"),
            report.cpu_us("redis"),
            report.generator_cpu_us_per_span
        )
    }
}
