//! Makes on a real cluster what every alert is about, and sees by a real Prometheus that it fires and stops.
//!
//! * `scene` is what runs, with the `user` of it and the `endpoint` that it delivers to, and `pace` makes its rules quick enough for a test;
//! * `fault` is what goes wrong, `trial` how it is told of;
//! * `question` asks what dashboards ask.

mod endpoint;
mod fault;
mod pace;
mod question;
mod scene;
mod trial;
mod user;

use std::{collections::BTreeSet, path::Path, time::Duration};

use futures::future::join_all;
use loadgen::output::note;
use testbed::eventually;
use tokio::time::{Instant, sleep};

use crate::stage::{ROOT, Run};
use fault::Fault;
use scene::Scene;
use trial::Outcome;

/// Until clients send, engines deliver, and Prometheus knows of it.
const TRAFFIC_WITHIN: Duration = Duration::from_secs(60);
/// Longer than any alert waits but one, which waits 60 s for an endpoint.
const QUIET: Duration = Duration::from_secs(40);
/// Is right on a machine that does something else for ten seconds, which are five minutes here; then the time
/// without any begins again, within this.
const BUSY_MACHINE: &str = "HighRedisLatency";
const QUIET_WITHIN: Duration = Duration::from_secs(180);
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) async fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    let deploy = Path::new(ROOT).join("deploy");
    let scene = Scene::start(run.home, &deploy.join("prometheus/rules")).await?;
    let alerts = scene.prometheus.alerts().await?;
    run.report.alerts = alerts.len() as u64;

    stay_quiet(run, &scene).await?;
    let mut outcomes = Vec::new();
    for fault in Fault::ALONE {
        outcomes.push((fault, Box::pin(trial::run(fault, &scene)).await));
    }
    let together = Fault::TOGETHER.map(async |fault| (fault, trial::run(fault, &scene).await));
    outcomes.extend(Box::pin(join_all(together)).await);
    enter(run, &alerts, &outcomes);

    let (asked, differences) = question::ask(&scene.prometheus, &deploy.join("grafana/dashboards")).await?;
    note(&format!("{asked} queries of dashboards and of ADR 5 were asked"));
    differences.iter().for_each(|difference| run.fail("queries", difference));
    Ok(())
}

/// Nothing fires while nothing is wrong.
async fn stay_quiet(run: &mut Run<'_>, scene: &Scene) -> anyhow::Result<()> {
    let delivered = "sum(rate(delivery_events_total{result=\"delivered\"}[10s])) > 0";
    let is_busy = async || scene.prometheus.query(delivered).await.is_ok_and(|answer| !answer.is_empty());
    eventually("traffic that is delivered", TRAFFIC_WITHIN, is_busy).await?;
    note(&format!("nothing is wrong, and nothing may fire for {} s", QUIET.as_secs()));
    let begin = Instant::now();
    let mut quiet_since = begin;
    while quiet_since.elapsed() < QUIET && begin.elapsed() < QUIET_WITHIN {
        let mut firing = scene.prometheus.firing().await?;
        if firing.remove(BUSY_MACHINE) {
            quiet_since = Instant::now();
        }
        if !firing.is_empty() {
            run.fail("quiet", &format!("these fire although nothing is wrong: {firing:?}"));
            return Ok(());
        }
        sleep(LOOK_INTERVAL).await;
    }
    if quiet_since.elapsed() < QUIET {
        run.fail("quiet", &format!("{BUSY_MACHINE} fires again and again: Redis takes more than 10 ms"));
    }
    Ok(())
}

fn enter(run: &mut Run<'_>, alerts: &BTreeSet<String>, outcomes: &[(Fault, Outcome)]) {
    for (fault, outcome) in outcomes {
        run.report.alerts_fired += outcome.fired.len() as u64;
        run.report.alerts_cleared += outcome.stopped.len() as u64;
        for difference in &outcome.differences {
            run.fail(fault.name(), difference);
        }
    }
    let told = outcomes.iter().flat_map(|(fault, _)| fault.alerts().iter().copied().flatten());
    let told: BTreeSet<String> = told.map(|alert| (*alert).to_owned()).collect();
    if told != *alerts {
        let different: Vec<_> = told.symmetric_difference(alerts).collect();
        run.fail(
            "completeness",
            &format!("no fault is made for these, or there is no such alert: {different:?}"),
        );
    }
}
