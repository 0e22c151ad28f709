//! One fault, once: load, fault, recovery, comparison.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use state_core::StateManager as _;
use testbed::redis::{Course, Fault, Lasting, Reach};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    check::{self, Totals},
    deployment::Deployment,
    load::{self, Load, Sample},
};

/// A request that takes so long was disturbed.
const DISTURBED: Duration = Duration::from_millis(250);
/// Load before the fault and after the recovery.
const CALM: Duration = Duration::from_millis(700);
/// How long a fault lasts that does not heal by itself, unless it says otherwise.
const LASTS: Duration = Duration::from_secs(3);
/// By when every shard acknowledges again after a fault is healed.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(60);
/// By when the last generation is closed: some graces and a lease.
const CLOSED_DEADLINE: Duration = Duration::from_secs(20);
/// Correlations of probes, over all shards.
const PROBED: usize = 150;

/// What one trial has shown.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) totals: Totals,
    /// For requests of one trace, and of a hundred.
    pub(crate) recovery: [Recovery; 2],
    /// Longest request that touched healthy shards only, while the fault and the recovery lasted.
    pub(crate) healthy: Option<Duration>,
    pub(crate) failures: Vec<String>,
}

/// Until the last disturbed request was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recovery {
    pub(crate) from_fault: Duration,
    /// For faults that are healed from outside.
    pub(crate) from_healing: Option<Duration>,
}

/// Tries a fault on a healthy cluster and leaves it healthy.
pub(crate) async fn run(
    fault: Fault,
    deployment: &Deployment,
    prefix: &str,
    all_away: Duration,
) -> anyhow::Result<Finding> {
    let cluster = deployment.cluster();
    fault.prepare(cluster, &deployment.shards().await?[0]).await.context("failed to prepare")?;
    let url = deployment.url();
    let load = Load::new(load::open(&url, prefix)?);
    let shards = deployment.shards().await?;
    let probes = probes(deployment, &load, prefix).await?;
    ensure!(probes.iter().all(|ids| ids.len() > 10), "a shard has too few probes");
    let mut senders = load.start(&probes);
    let mut closers = load.start_closing(vec![load::open(&url, prefix)?, load::open(&url, prefix)?]);
    sleep(CALM).await;

    let course = fault
        .happen(cluster, &shards, Lasting { fault: LASTS, all_away })
        .await
        .context("failed to do or heal it")?;
    let over = Instant::now();
    let mut failures = Vec::new();
    if !recovered(&load, probes.len(), over).await {
        failures.push("not every shard acknowledged again".to_owned());
    }
    sleep(CALM).await;
    load.stop();
    ended(&mut senders).await?;
    cluster.mend().await.context("failed to make the cluster whole again")?;

    let reader = load::open(&url, prefix)?;
    let mut totals = check::state(&reader, &load.ledger).await?;
    let patience = if fault.turns_the_clock_back() { Duration::ZERO } else { CLOSED_DEADLINE };
    let told = check::outbox(&reader, &load.ledger, patience).await?;
    load.stop_closing();
    ended(&mut closers).await?;
    totals.events_doubled = told.doubled;
    // What arrived before the clock went back is due minutes later, which nobody waits for here.
    totals.untold = if fault.turns_the_clock_back() { 0 } else { told.lacks(&load.ledger.acknowledged()) };
    totals.nonretryable = load.ledger.not_retryable().0;

    failures.extend(load.ledger.not_retryable().1);
    if load.given_up() > 0 {
        failures.push(format!("{} requests were given up", load.given_up()));
    }
    if fault == Fault::Eviction && load.refused_ready() == 0 {
        failures.push("the store was ready although keys may be evicted".to_owned());
    }
    if let Err(error) = reader.ready().await {
        failures.push(format!("not ready after healing: {error:?}"));
    }
    if totals.wrong() > 0 {
        failures.push(format!("{totals:?}"));
    }
    deployment.empty().await?;
    fault.tidy(cluster).await?;
    cluster.mend().await?;
    let samples = load.samples();
    Ok(Finding {
        totals,
        recovery: [true, false].map(|is_small| recovery(&samples, course, is_small)),
        healthy: healthy(&samples, course, over, fault.reach()),
        failures,
    })
}

/// Correlations of each shard, found by where a first fragment of them went.
async fn probes(deployment: &Deployment, load: &Load, prefix: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let request = load.ledger.request((0..PROBED).map(|number| format!("p={number}")));
    load.deliver(request).await;
    let mut probes = Vec::new();
    for shard in deployment.shards().await? {
        let pattern = format!("{prefix}c:*p=*");
        let keys = deployment.node(shard.primary).command(&["KEYS", &pattern]).await?;
        let ids = keys.lines().filter_map(|key| Some(key.rsplit_once('/')?.1.to_owned()));
        probes.push(ids.collect());
    }
    Ok(probes)
}

/// Waits until each probe had a request acknowledged that it began after a time.
async fn recovered(load: &Load, shards: usize, after: Instant) -> bool {
    let deadline = Instant::now() + RECOVERY_DEADLINE;
    while Instant::now() < deadline {
        let samples = load.samples();
        let has = |shard| samples.iter().any(|sample| sample.shard == shard && sample.began > after);
        if has(None) && (0..shards).all(|shard| has(Some(shard))) {
            return true;
        }
        sleep(Duration::from_millis(20)).await;
    }
    false
}

async fn ended(tasks: &mut JoinSet<()>) -> anyhow::Result<()> {
    let all = async {
        while let Some(task) = tasks.join_next().await {
            task?;
        }
        anyhow::Ok(())
    };
    timeout(Duration::from_secs(120), all).await.context("a client did not end")?
}

fn last_disturbed(
    samples: &[Sample],
    course: Course,
    is_wanted: impl Fn(&Sample) -> bool,
) -> Option<Instant> {
    let is_disturbed = |sample: &&Sample| {
        sample.ended > course.began
            && is_wanted(sample)
            && (sample.errors > 0 || sample.ended - sample.began >= DISTURBED)
    };
    samples.iter().filter(is_disturbed).map(|sample| sample.ended).max()
}

fn recovery(samples: &[Sample], course: Course, is_small: bool) -> Recovery {
    let last = last_disturbed(samples, course, |sample| sample.shard.is_some() == is_small);
    let last = last.unwrap_or(course.began);
    Recovery {
        from_fault: last - course.began,
        from_healing: course.healed.map(|healed| last.saturating_duration_since(healed)),
    }
}

fn healthy(samples: &[Sample], course: Course, over: Instant, reach: Reach) -> Option<Duration> {
    let is_healthy = |shard: usize| match reach {
        Reach::One => shard > 0,
        Reach::Two => shard > 1,
        Reach::All => false,
    };
    let over = last_disturbed(samples, course, |_| true).map_or(over, |last| last.max(over));
    let of_healthy = samples.iter().filter(|sample| {
        sample.shard.is_some_and(is_healthy) && sample.ended > course.began && sample.began < over
    });
    of_healthy.map(|sample| sample.ended - sample.began).max()
}
