//! `loadgen send`: seeded traffic through all doors of a running cluster.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::{
    output::{Progress, note},
    plan,
    sender::Sender,
    targets::{TargetArguments, Targets},
    traffic::{Batch, TRACES_PER_BATCH, Traffic},
};

/// Sends seeded traffic of a small shop: traces over several services, with logs
#[derive(Debug, Args)]
pub struct Arguments {
    /// Number of traces, rounded up to a multiple of 10
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    traces: u32,
    /// Traces per second; as fast as the cluster takes them when absent
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Requests in flight
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    targets: TargetArguments,
}

/// What traffic is made from; the same values make the same traffic.
#[derive(Debug, Clone, Copy, Args)]
pub struct SourceArguments {
    /// Decides ids, shapes and durations [default: the time, so that each run has its own traces]
    #[arg(long)]
    seed: Option<u64>,
    /// Event time of the first trace in milliseconds since 1970 [default: now]
    #[arg(long)]
    start_ms: Option<u64>,
}

/// How much was sent.
#[derive(Debug, Default)]
struct Sent {
    requests: u64,
    rejected: i64,
}

/// Runs the command.
///
/// # Errors
/// When a request could not be sent.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let targets = arguments.targets.resolve()?;
    let traffic = arguments.source.traffic()?;
    let load = Load {
        batches: u64::from(arguments.traces).div_ceil(TRACES_PER_BATCH as u64),
        traces_per_second: arguments.rate,
        concurrency: arguments.concurrency.into(),
    };
    load.send(&traffic, &targets).await?;
    let start_ms = traffic.start_unix_nano / 1_000_000;
    note(&format!("the same again: --seed {} --start-ms {start_ms}", traffic.seed));
    Ok(())
}

impl SourceArguments {
    /// The traffic that these values make.
    ///
    /// # Errors
    /// When the clock stands before 1970.
    pub fn traffic(&self) -> anyhow::Result<Traffic> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("the clock of this machine stands before 1970")?;
        let now_ms = u64::try_from(now.as_millis())?;
        let start_ms = self.start_ms.unwrap_or(now_ms);
        Ok(Traffic {
            seed: self.seed.unwrap_or(now_ms),
            start_unix_nano: start_ms.checked_mul(1_000_000).context("--start-ms is too large")?,
        })
    }
}

/// How traffic is sent.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Batches of [`TRACES_PER_BATCH`] traces.
    pub batches: u64,
    /// As fast as the cluster takes them when `None`.
    pub traces_per_second: Option<u32>,
    /// Requests in flight.
    pub concurrency: usize,
}

impl Load {
    /// Sends traffic with a line of progress, each request once, through all doors.
    ///
    /// # Errors
    /// When a request is refused for good, or not accepted within a minute.
    pub async fn send(&self, traffic: &Traffic, targets: &Targets) -> anyhow::Result<()> {
        let sender = Sender::new(targets)?;
        let started = Instant::now();
        let mut progress = Progress::default();
        let mut sent = Sent::default();
        let line = |sent: &Sent, batches: u64| {
            let traces = batches * TRACES_PER_BATCH as u64;
            let per_second = traces as f64 / started.elapsed().as_secs_f64().max(0.001);
            format!(
                "{traces} of {} traces sent in {} requests, {per_second:.0} traces/s, {} repeated, {} refused",
                self.batches * TRACES_PER_BATCH as u64,
                sent.requests,
                sender.retries(),
                sent.rejected
            )
        };
        let made = std::cell::Cell::new(0);
        let requests = self.batches(traffic).flat_map(|(number, batch)| {
            made.set(number);
            let plan = plan::once(batch.requests.len(), targets.doors(), traffic.seed ^ number);
            stream::iter(
                plan.into_iter().map(move |sending| (batch.requests[sending.request].clone(), sending)),
            )
        });
        let answers = requests
            .map(async |(request, sending)| sender.send(&request, sending).await)
            .buffer_unordered(self.concurrency);
        let mut answers = std::pin::pin!(answers);
        while let Some(answer) = answers.try_next().await? {
            sent.requests += 1;
            sent.rejected += answer.rejected;
            progress.show(|| line(&sent, made.get()));
        }
        progress.finish(&line(&sent, self.batches));
        Ok(())
    }

    /// The batches at their time.
    fn batches(&self, traffic: &Traffic) -> impl futures::Stream<Item = (u64, Batch)> {
        let interval = self.traces_per_second.map(|rate| {
            let mut interval =
                time::interval(Duration::from_secs_f64(TRACES_PER_BATCH as f64 / f64::from(rate)));
            // A cluster that is too slow gets its traffic later, not all at once.
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        let traffic = *traffic;
        stream::unfold((0, interval), move |(number, mut interval)| async move {
            if let Some(interval) = &mut interval {
                interval.tick().await;
            }
            Some(((number, traffic.batch(number)), (number + 1, interval)))
        })
        .take(usize::try_from(self.batches).unwrap_or(usize::MAX))
    }
}
