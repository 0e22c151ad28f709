//! All phases of a run, one after the other.

use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum as _;
use loadgen::output::{note, result};
use tempfile::TempDir;
use testbed::redis;
use tokio::time::Instant;

use crate::{
    Arguments,
    mutation::Mutation,
    phase::{self, Setting},
    plan::Plan,
    report::Report,
};

/// Runs the plan of a seed; what does not hold is in the report.
///
/// # Errors
/// When it could not be run to its end. Data and logs are kept then, as when something does not hold.
pub(crate) async fn run(arguments: &Arguments, mutate: Option<Mutation>) -> anyhow::Result<Report> {
    let Arguments { seed, seconds, rate, .. } = *arguments;
    let began = Instant::now();
    let mut plan = Plan::of(seed, Duration::from_secs(seconds), arguments.redis);
    if mutate == Some(Mutation::AcknowledgePrimary) {
        plan = plan.only(redis::Fault::KillPrimaryLagging);
    }
    let mut report = Report { seed, seconds, quiet: true, ledger_balanced: true, ..Report::default() };
    let mut recoveries = Vec::new();
    for (phase, number) in plan.phases.iter().zip(1..) {
        let home = tempfile::Builder::new().prefix("chaos-").tempdir();
        let home = home.context("failed to create a directory for data and logs")?;
        note(&format!(
            "phase {number} of {}: {} s on Redis {}, {} faults of Redis and {} of processes, seed {seed}",
            plan.phases.len(),
            phase.time.as_secs(),
            phase.layout.name(),
            phase.redis.len(),
            phase.processes.len()
        ));
        let setting = Setting { phase, seed: seed ^ number, rate, mutate, home: home.path() };
        let ran = Box::pin(phase::run(&setting, &mut report)).await;
        let is_well = ran.is_ok() && report.failures().is_empty();
        if !is_well {
            keep(home, seed);
        }
        recoveries.extend(ran?);
        // The next one would be on a cluster of its own, but what was found is found.
        if !is_well {
            break;
        }
    }
    report.recovered(recoveries);
    report.took_s = began.elapsed().as_secs();
    Ok(report)
}

/// Runs the plan once with every weakness; answers whether each was found.
///
/// # Errors
/// When one could not be run to its end.
pub(crate) async fn mutations(arguments: &Arguments) -> anyhow::Result<bool> {
    let mut survived = 0;
    for mutation in Mutation::value_variants() {
        let report = Box::pin(run(arguments, Some(*mutation))).await?;
        let is_found = mutation.is_found_in(&report);
        survived += usize::from(!is_found);
        let name = mutation.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        result(&format!("{}: {name}", if is_found { "found" } else { "NOT FOUND" }));
    }
    result(&format!("{} weaknesses, {survived} not found", Mutation::value_variants().len()));
    Ok(survived == 0)
}

fn keep(home: TempDir, seed: u64) {
    note(&format!("seed {seed}: data and logs are kept in {}", home.keep().display()));
}
