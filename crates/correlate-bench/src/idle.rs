//! What ten engines cost a Redis Cluster when nothing arrives and nothing is due.

use std::time::Duration;

use anyhow::bail;
use bench_kit::{
    deployment::{Compression, Deployment, Endpoint, Plan, State},
    figure::{Figure, Mark, Unit},
    load::{self, Pace},
    sink::Sink,
    traffic::Shape,
};
use tokio::time::{Instant, sleep};

use crate::scale::Scale;

/// Decides all ids and names.
const SEED: u64 = 455;
const ENGINES: usize = 10;
/// A thousand traces in a request, a span of each. Their roots never come, so they stay active.
const SHAPE: Shape = Shape { traces: 1_000, spans: 1, requests: 1 };
const REQUESTS_PER_SECOND: f64 = 20.0;
/// Correlations stay active for longer than this takes.
const SETTINGS: [(&str, &str); 3] = [
    ("correlation.window_seconds", "1800"),
    ("correlation.age_max_seconds", "2400"),
    ("correlation.ttl_seconds", "3600"),
];
/// Each correlation is looked at once, after the grace. When no engine has given one back for this long,
/// that is over.
const CALM: Duration = Duration::from_secs(4);
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at it.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Of a core, for all primaries together.
const MARK: f64 = 0.01;

/// CPU of Redis and of engines that have nothing to do.
pub(crate) async fn measure(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let sink = Sink::start()?;
    let endpoint = Endpoint { url: sink.url(), compression: Compression::Default };
    let plan = Plan { endpoint: Some(endpoint), ..Plan::new(State::Cluster) }.with(&SETTINGS);
    let mut deployment = Deployment::start(&plan).await?;
    let requests = load::rootless(SEED, SHAPE, scale.active);
    load::send(&deployment.engine().url(), &requests, Pace::PerSecond(REQUESTS_PER_SECOND)).await?;
    calm(&deployment).await?;
    deployment.engine().wait_metric(&format!("active_correlations_total {}", scale.active)).await?;
    while deployment.engines().len() < ENGINES {
        deployment.add_engine().await?;
    }
    // What engines do once, they have done.
    sleep(CALM).await;
    let (commands, redis, engines) =
        (deployment.redis_commands().await?, deployment.redis_cpu()?, deployment.engines_cpu()?);
    let began = Instant::now();
    sleep(scale.idle_time).await;
    let time = began.elapsed().as_secs_f64();
    let redis = (deployment.redis_cpu()? - redis).as_secs_f64() / time;
    let engines = (deployment.engines_cpu()? - engines).as_secs_f64() / time;
    let commands = (deployment.redis_commands().await? - commands) / time;
    Ok(vec![
        Figure::new("all primaries, of a core", Unit::Share, redis).with_mark(Mark::AtMost(MARK)),
        Figure::new("all engines, of a core", Unit::Share, engines),
        Figure::new("commands in Redis, a second", Unit::PerSecond, commands),
    ])
}

/// Waits until the engine has given back what it looked at.
async fn calm(deployment: &Deployment) -> anyhow::Result<()> {
    const LINE: &str = "state_manager_operations_total{type=\"redis-cluster\",operation=\"release\"} ";
    let (begin, mut seen, mut since) = (Instant::now(), String::new(), Instant::now());
    while begin.elapsed() < PATIENCE {
        sleep(LOOK_INTERVAL).await;
        let (_, text) = deployment.engine().admin_get("/metrics").await?;
        let now = text.lines().find(|line| line.starts_with(LINE)).unwrap_or_default();
        if now != seen {
            (seen, since) = (now.to_owned(), Instant::now());
        } else if !seen.is_empty() && since.elapsed() >= CALM {
            return Ok(());
        }
    }
    bail!("correlations are still given back after {PATIENCE:?}")
}
