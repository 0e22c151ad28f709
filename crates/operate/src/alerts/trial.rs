//! One fault from before it is made until nothing tells of it any more.

use std::{collections::BTreeSet, time::Duration};

use loadgen::output::note;
use testbed::Prometheus;
use tokio::time::{Instant, sleep};

use super::{
    fault::{Fault, Lasting},
    scene::Scene,
};

/// The longest needs the TTL of 90 s, and what engines do every 15 s.
const FIRES_WITHIN: Duration = Duration::from_secs(180);
/// What has expired is told of for half a minute, and an endpoint has to catch up.
const STOPS_WITHIN: Duration = Duration::from_secs(120);
/// Time between two looks: as often as rules are evaluated.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What a fault has shown.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Of the alerts that must tell of it, those that have fired, and those of them that have stopped.
    pub(super) fired: BTreeSet<&'static str>,
    pub(super) stopped: BTreeSet<&'static str>,
    /// What is different from what it should be.
    pub(super) differences: Vec<String>,
}

/// Makes a fault, waits until all its alerts have fired, heals it, and waits until they have stopped.
pub(super) async fn run(fault: Fault, scene: &Scene) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(error) = attempt(fault, scene, &mut outcome).await {
        outcome.differences.push(format!("{error:#}"));
    }
    outcome
}

async fn attempt(fault: Fault, scene: &Scene, outcome: &mut Outcome) -> anyhow::Result<()> {
    let all: BTreeSet<&'static str> = fault.alerts().iter().copied().flatten().copied().collect();
    // Otherwise nobody could say of what an alert tells.
    let still = wait_until_quiet(&scene.prometheus, &all, STOPS_WITHIN).await?;
    anyhow::ensure!(still.is_empty(), "before it was made, these fired already: {still:?}");
    let (begin, mut lasting) = (Instant::now(), Lasting::default());
    note(&format!("{} …", fault.name()));
    let mut others = BTreeSet::new();
    for (step, alerts) in fault.alerts().iter().enumerate() {
        fault.make(step, scene, &mut lasting).await?;
        let missing = wait_until_fired(&scene.prometheus, alerts, &mut others).await?;
        if !missing.is_empty() {
            outcome.differences.push(format!("not within {FIRES_WITHIN:?}: {missing:?}"));
        }
        outcome.fired.extend(alerts.iter().filter(|alert| !missing.contains(*alert)));
    }
    let fired_after = begin.elapsed();
    fault.heal(scene, lasting).await?;
    let healed = Instant::now();
    let still = wait_until_quiet(&scene.prometheus, &all, STOPS_WITHIN).await?;
    if !still.is_empty() {
        outcome.differences.push(format!("{STOPS_WITHIN:?} after the end, these fire still: {still:?}"));
    }
    outcome.stopped = outcome.fired.difference(&still).copied().collect();
    note(&format!(
        "{}: fired after {:.0} s, stopped {:.0} s after its end; fired: {}; besides: {}",
        fault.name(),
        fired_after.as_secs_f64(),
        healed.elapsed().as_secs_f64(),
        in_words(outcome.fired.iter()),
        in_words(others.iter().filter(|other| !all.contains(other.as_str()))),
    ));
    Ok(())
}

/// Looks until each of the alerts has been seen to fire; answers those that have not, and adds to `others` all
/// that were seen.
async fn wait_until_fired(
    prometheus: &Prometheus,
    alerts: &[&'static str],
    others: &mut BTreeSet<String>,
) -> anyhow::Result<BTreeSet<&'static str>> {
    let (mut missing, end): (BTreeSet<_>, _) =
        (alerts.iter().copied().collect(), Instant::now() + FIRES_WITHIN);
    loop {
        let firing = prometheus.firing().await?;
        missing.retain(|alert| !firing.contains(*alert));
        others.extend(firing);
        if missing.is_empty() || Instant::now() >= end {
            return Ok(missing);
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Looks until none of the alerts fires; answers those that still do.
async fn wait_until_quiet(
    prometheus: &Prometheus,
    alerts: &BTreeSet<&'static str>,
    within: Duration,
) -> anyhow::Result<BTreeSet<&'static str>> {
    let end = Instant::now() + within;
    loop {
        let firing = prometheus.firing().await?;
        let still: BTreeSet<_> = alerts.iter().copied().filter(|alert| firing.contains(*alert)).collect();
        if still.is_empty() || Instant::now() >= end {
            return Ok(still);
        }
        sleep(LOOK_INTERVAL).await;
    }
}

fn in_words<T: AsRef<str>>(names: impl Iterator<Item = T>) -> String {
    let names: Vec<String> = names.map(|name| name.as_ref().to_owned()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
