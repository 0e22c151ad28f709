//! Lets everything fail under load, by a seeded plan, and compares what is left with what was acknowledged.
//!
//! * `plan` says which `fault` happens when, `inject` lets it happen;
//! * `traffic` is what is sent meanwhile, `clients` send it and keep of each request its `standing` and of each
//!   attempt what came of it (`attempts`);
//! * `reader` asks for traces, `footprint` looks at the processes;
//! * `check` compares, with the library of `correlate-proof`; `phase` is all of that on one cluster, `run` all
//!   phases, and `report` what they have shown;
//! * `mutation` switches weaknesses on on purpose.

mod attempts;
mod check;
mod clients;
mod fault;
mod footprint;
mod inject;
mod mutation;
mod phase;
mod plan;
mod reader;
mod report;
mod run;
mod standing;
mod traffic;

use std::process::ExitCode;

use clap::Parser;
use loadgen::output::{note, result};
use testbed::redis::Layout;

use crate::{mutation::Mutation, report::Report};

/// Could not be run, which is no finding.
const NOT_RUN: u8 = 2;

/// Lets everything fail under load, by a seeded plan, and compares what is left with what was acknowledged.
///
/// Starts a Redis Cluster behind proxies, three engines, two gateways and the endpoint that they deliver to,
/// on free loopback ports; all of it ends with the run. Clients send through all doors, and again as a Collector
/// does; readers ask. Meanwhile processes are killed, hang and restart, links are cut, memory is full, clocks are
/// moved. When everything is healed and quiet, every span and log record is compared with what was acknowledged.
/// Ends with one line of JSON; with 1 if anything does not hold, and with 2 if it could not be run.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Decides faults, traffic and doors
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how long faults happen; with the quiet and the comparison it takes about a minute more for each cluster
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(20..=86_400))]
    seconds: u64,
    /// Shape of the Redis Cluster [default: both, each for half of the time; below 240 s one, by the seed]
    #[arg(long, value_enum)]
    redis: Option<Layout>,
    /// Traces per second, of some twelve spans and log records each
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Switches a weakness on, which must be found
    #[arg(long, value_enum)]
    mutate: Option<Mutation>,
    /// Runs once with every weakness, and fails unless each is found
    #[arg(long, conflicts_with = "mutate")]
    mutations: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Boxed: everything a run does is one future.
    let is_well = match arguments.mutations {
        true => Box::pin(run::mutations(&arguments)).await,
        false => Box::pin(run::run(&arguments, arguments.mutate)).await.and_then(|report| tell(&report)),
    };
    match is_well {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            note(&format!("error: {error:#}"));
            note(&format!("the seed was {}", arguments.seed));
            ExitCode::from(NOT_RUN)
        }
    }
}

/// Prints what a run has shown; answers whether everything holds.
fn tell(report: &Report) -> anyhow::Result<bool> {
    let failures = report.failures();
    failures.iter().for_each(|failure| note(&format!("failed: {failure}")));
    result(&serde_json::to_string(report)?);
    Ok(failures.is_empty())
}
