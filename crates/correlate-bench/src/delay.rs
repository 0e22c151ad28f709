//! How late traces are delivered: whole ones against the grace, others against the window.

use std::time::Duration;

use bench_kit::{
    deployment::{Compression, Deployment, Endpoint, Plan, State},
    figure::{Figure, Mark, Unit},
    load::{self, Pace, Request},
    sink::Sink,
    statistics::{micros, quantile},
    traffic::Shape,
};
use tokio::time::Instant;

use crate::scale::Scale;

/// Decide ids and names.
const SEEDS: [u64; 2] = [453, 454];
/// Ten traces in a request.
const WHOLE: Shape = Shape { traces: 10, spans: 10, requests: 1 };
/// Likewise, without their roots.
const ROOTLESS: Shape = Shape { traces: 10, spans: 5, requests: 1 };
/// A load that leaves most of the machine to whoever else is on it: 15,000 spans in a second.
const REQUESTS_PER_SECOND: f64 = 100.0;
/// The default.
const GRACE: Duration = Duration::from_millis(2_000);
/// Shorter than the default, so that it can be waited for.
const WINDOW: Duration = Duration::from_secs(5);
/// How much later than it may be a trace is delivered at the latest.
const MARK: Duration = Duration::from_millis(500);

/// Names of the figures of one state: p50 and p99 of whole traces, then of others.
type Names = [&'static str; 4];

const IN_MEMORY: Names = [
    "memory: p50 above the grace",
    "memory: p99 above the grace",
    "memory: p50 above the window",
    "memory: p99 above the window",
];
const IN_REDIS: Names = [
    "Redis Cluster: p50 above the grace",
    "Redis Cluster: p99 above the grace",
    "Redis Cluster: p50 above the window",
    "Redis Cluster: p99 above the window",
];

/// Delays of traces under a moderate load, in memory and in a Redis Cluster.
pub(crate) async fn measure(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (state, names) in [(State::Memory, IN_MEMORY), (State::Cluster, IN_REDIS)] {
        figures.extend(of(scale, state, names).await?);
    }
    Ok(figures)
}

async fn of(scale: &Scale, state: State, names: Names) -> anyhow::Result<Vec<Figure>> {
    let sink = Sink::start()?;
    let (grace, window) = (GRACE.as_millis().to_string(), WINDOW.as_secs().to_string());
    let settings =
        [("correlation.grace_ms", grace.as_str()), ("correlation.window_seconds", window.as_str())];
    let endpoint = Endpoint { url: sink.url(), compression: Compression::Default };
    let plan = Plan { endpoint: Some(endpoint), ..Plan::new(state) }.with(&settings);
    let deployment = Deployment::start(&plan).await?;
    let url = deployment.engine().url();
    let requests = (REQUESTS_PER_SECOND * scale.delay_time.as_secs_f64()) as usize;
    let whole = load::whole(SEEDS[0], WHOLE, requests * WHOLE.traces * WHOLE.spans);
    let rootless = load::rootless(SEEDS[1], ROOTLESS, requests * ROOTLESS.traces * ROOTLESS.spans);
    let (sent_whole, sent_rootless) = tokio::try_join!(
        load::send(&url, &whole, Pace::PerSecond(REQUESTS_PER_SECOND)),
        load::send(&url, &rootless, Pace::PerSecond(REQUESTS_PER_SECOND))
    )?;
    let above = async |requests: &[Request], sent: &[Instant], time: Duration| {
        sink.wait_for(requests).await?;
        let mut delays = sink.delays(requests, sent);
        delays.sort_unstable();
        anyhow::Ok([0.5, 0.99].map(|share| quantile(&delays, share) - micros(time)))
    };
    let grace = above(&whole, &sent_whole, GRACE).await?;
    let window = above(&rootless, &sent_rootless, WINDOW).await?;
    let figures = names.into_iter().zip(grace.into_iter().chain(window));
    let figure = |(name, us)| Figure::new(name, Unit::Microseconds, us);
    Ok(figures.map(figure).map(|figure| figure.with_mark(Mark::AtMost(micros(MARK)))).collect())
}
