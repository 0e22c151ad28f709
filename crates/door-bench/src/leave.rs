//! One engine of three fails: how soon a gateway leaves it, what clients see of that, and how soon
//! it is taken back.

mod fault;
mod steady;

use std::time::Duration;

use anyhow::Context as _;
use bench_kit::{
    figure::{Figure, Mark, Unit},
    run::note,
    samples::{self, Metric, Samples},
    statistics::{median, micros},
};
use testbed::{EngineOptions, EngineProcess, GatewayOptions, GatewayProcess};
use tokio::time::Instant;

use crate::scale::Scale;
use fault::Victim;
use steady::{PER_SECOND, SteadyLoad};

pub(crate) use fault::Fault;

const ENGINES: usize = 3;
/// How long a fault lasts: longer than an engine may take to be left.
const FAULT_TIME: Duration = Duration::from_millis(1_500);
/// How long an engine may take to get its share of requests.
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests that an engine gets in [`samples::WINDOW`] when all get the same.
const SHARE: f64 = PER_SECOND * samples::WINDOW.as_millis() as f64 / 1_000.0 / ENGINES as f64;

/// What one repetition has found.
struct Found {
    left_us: f64,
    taken_back_us: f64,
    /// Longest that a client has waited since the fault began.
    longest_us: f64,
    sent: usize,
    failed: usize,
}

/// Lets an engine fail in one way, again and again.
pub(crate) async fn measure(scale: &Scale, fault: Fault) -> anyhow::Result<Vec<Figure>> {
    let mut found = Vec::new();
    for _ in 0..scale.repetitions {
        found.push(repetition(fault).await?);
    }
    let of = |figure: fn(&Found) -> f64| median(found.iter().map(figure).collect());
    let longest = |figure: fn(&Found) -> f64| found.iter().map(figure).fold(0.0, f64::max);
    let all = |figure: fn(&Found) -> usize| found.iter().map(figure).sum::<usize>() as f64;
    Ok(vec![
        Figure::new("left after", Unit::Microseconds, of(|it| it.left_us)).with_mark(Mark::AtMost(1e6)),
        Figure::new("left after, at the latest", Unit::Microseconds, longest(|it| it.left_us)),
        Figure::new("taken back after", Unit::Microseconds, of(|it| it.taken_back_us)),
        Figure::new("longest wait of a client, of all", Unit::Microseconds, longest(|it| it.longest_us)),
        Figure::new("requests, in all", Unit::Count, all(|it| it.sent)),
        Figure::new("requests that failed, in all", Unit::Count, all(|it| it.failed))
            .with_mark(Mark::AtMost(0.0)),
    ])
}

async fn repetition(fault: Fault) -> anyhow::Result<Found> {
    let mut urls = Vec::new();
    let mut others = Vec::new();
    for number in 2..=ENGINES {
        let name = format!("engine-{number}");
        let engine = EngineProcess::start(EngineOptions { name, ..EngineOptions::default() }).await?;
        urls.push(engine.url());
        others.push(engine);
    }
    let mut victim = Victim::start(fault).await?;
    urls.push(victim.url());
    // As if they shared a state: with states of their own, each would keep its traces although it is slow.
    let settings = vec![("engines.routing".to_owned(), "balanced".to_owned())];
    let options = GatewayOptions { engines: urls, settings, ..GatewayOptions::default() };
    let gateway = GatewayProcess::start(options).await?;
    let ready = Metric::new(gateway.admin(), &["gateway_engines_ready "])?;
    let arrivals = Metric::new(
        victim.engine().admin(),
        &["state_manager_operations_total{type=\"memory\",operation=\"append\"}", "door_overloads_total{"],
    )?;

    let load = SteadyLoad::begin(&gateway)?;
    let mut arrived = arrivals.until_it_grows_by(SHARE / 2.0, PATIENCE).await?;
    let began = Instant::now();
    victim.fail().await?;
    let left = if fault.is_told_by_health() {
        let mut seen = Samples::default();
        seen.follow(&ready, FAULT_TIME).await?;
        seen.less_for_good_than(ENGINES as f64)
    } else {
        arrived.follow(&arrivals, FAULT_TIME).await?;
        arrived.last_growth(SHARE / 3.0)
    };
    let left = left.context("the engine was not left")?;
    victim.recover().await?;
    let recovered = Instant::now();
    arrivals.until_it_grows_by(SHARE / 2.0, PATIENCE).await?;
    let taken_back = recovered.elapsed();
    let sent = load.end().await?;

    let mut longest = Duration::ZERO;
    let mut failed = 0;
    for request in &sent {
        if request.at >= began {
            longest = longest.max(request.took);
        }
        if let Some(error) = &request.error {
            if failed == 0 {
                note(&format!("the first that failed: {error:#}"));
            }
            failed += 1;
        }
    }
    Ok(Found {
        left_us: micros(left.saturating_duration_since(began)),
        taken_back_us: micros(taken_back),
        longest_us: micros(longest),
        sent: sent.len(),
        failed,
    })
}
