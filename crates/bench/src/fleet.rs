//! Engines behind a gateway that come and go under load: how soon a new one carries its share, and whether
//! clients notice when all are restarted one after the other.

use std::{pin::pin, time::Duration};

use anyhow::bail;
use bench_kit::{
    deployment::{Deployment, Plan, State},
    figure::{Figure, Mark, Unit},
    samples::{self, Metric},
    statistics::{median, micros},
};
use testbed::{EngineProcess, GatewayProcess};
use tokio::time::Instant;

use crate::{
    generator::{Load, Pace, Protocol, Report, Shape},
    scale::Scale,
};

/// Decides all ids and names; each load has the next one.
const SEED: u64 = 4_900;
const ENGINES: usize = 3;
/// The small requests of SDKs, and a load that leaves most of the machine to whoever starts.
const SHAPE: Shape = Shape { request_spans: 20, trace_spans: 10 };
const REQUESTS_PER_SECOND: f64 = 500.0;
/// Of what it would get if all got the same.
const SHARE: f64 = 0.8;
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of a restart of one engine.
const RESTART_TIME: Duration = Duration::from_secs(2);
const APPENDS: &[&str] = &["state_manager_operations_total{type=\"redis-cluster\",operation=\"append\"}"];

/// Engines and the gateway before them.
struct Fleet {
    deployment: Deployment,
    gateway: GatewayProcess,
}

/// From the start of the process of one engine until it carries its share.
pub(crate) async fn join(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let fleet = Fleet::start().await?;
    let (mut ready, mut shared) = (Vec::new(), Vec::new());
    let newest = &fleet.deployment.engines()[ENGINES - 1];
    let much = REQUESTS_PER_SECOND / ENGINES as f64 * samples::WINDOW.as_secs_f64() * SHARE;
    let appends = Metric::new(newest.admin(), APPENDS)?;
    for repetition in 0..scale.repetitions as u64 {
        newest.process().terminate(PATIENCE).await?;
        fleet.gateway.wait_metric(&format!("gateway_engines_ready {}", ENGINES - 1)).await?;
        let join = async {
            let began = Instant::now();
            newest.restart().await?;
            ready.push(micros(began.elapsed()));
            appends.until_it_grows_by(much, PATIENCE).await?;
            shared.push(micros(began.elapsed()));
            anyhow::Ok(())
        };
        let load = fleet.load(SEED + repetition, PATIENCE);
        tokio::select! {
            // It is under load from its first moment.
            biased;
            report = load.send() => bail!("the load ended: {report:?}"),
            joined = join => joined?,
        }
    }
    Ok(vec![
        Figure::new("ready after", Unit::Microseconds, median(ready)),
        Figure::new("carries its share after", Unit::Microseconds, median(shared)),
    ])
}

/// Every engine is restarted in turn, again and again, while requests come.
pub(crate) async fn rolling(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let fleet = Fleet::start().await?;
    let time = RESTART_TIME * (ENGINES * scale.restarts) as u32;
    let load = fleet.load(SEED + 100, time);
    let mut sending = pin!(load.send());
    let mut restarts = 0;
    let report: Report = loop {
        tokio::select! {
            report = &mut sending => break report?,
            restarted = fleet.restart(restarts % ENGINES) => restarted?,
        }
        restarts += 1;
    };
    let none = Mark::AtMost(0.0);
    Ok(vec![
        Figure::new("requests that failed, in all", Unit::Count, report.failed_requests as f64)
            .with_mark(none),
        Figure::new("requests refused at first, in all", Unit::Count, report.refused_requests as f64)
            .with_mark(none),
        Figure::new("requests, in all", Unit::Count, report.requests as f64),
        Figure::new("engines restarted, in all", Unit::Count, f64::from(restarts as u32))
            .with_mark(Mark::AtLeast(ENGINES as f64)),
        Figure::new("p99", Unit::Microseconds, report.latency_ms.p99 * 1e3),
        Figure::new("longest wait of a client", Unit::Microseconds, report.latency_ms.max * 1e3),
    ])
}

impl Fleet {
    async fn start() -> anyhow::Result<Self> {
        let deployment = Deployment::start(&Plan { engines: ENGINES, ..Plan::new(State::Cluster) }).await?;
        Ok(Self { gateway: deployment.gateway().await?, deployment })
    }

    fn load(&self, seed: u64, time: Duration) -> Load {
        Load {
            targets: vec![self.gateway.url()],
            protocol: Protocol::HttpProtobuf,
            shape: SHAPE,
            pace: Pace::Rate(REQUESTS_PER_SECOND * SHAPE.request_spans as f64),
            warmup: Duration::ZERO,
            time,
            seed,
            processes: Vec::new(),
        }
    }

    /// Lets an engine end as an orchestrator does, starts it again, and waits until the gateway has it back.
    async fn restart(&self, index: usize) -> anyhow::Result<()> {
        let engine: &EngineProcess = &self.deployment.engines()[index];
        engine.process().terminate(PATIENCE).await?;
        engine.restart().await?;
        self.gateway.wait_metric(&format!("gateway_engines_ready {ENGINES}")).await
    }
}
