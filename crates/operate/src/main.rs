//! Tries what operators do, on real processes: deploy, watch, alert, roll out and back, plan the size.
//!
//! * `stage` is what can be tried on its own, and runs one after the other;
//! * `deploy` checks what is deployed without a cluster;
//! * `alerts` makes what every alert is about, and sees it fire and stop;
//! * `capacity` compares what `engine capacity` says of a load with what the load takes;
//! * `rollout` takes every step of the rollout guide under load;
//! * `report` is what all of them have shown.

mod alerts;
mod capacity;
mod deploy;
mod report;
mod rollout;
mod stage;

use std::process::ExitCode;

use clap::Parser;
use loadgen::output::{note, result};

use crate::{report::Report, stage::Stage};

/// Could not be run, which is no finding.
const NOT_RUN: u8 = 2;

/// Tries what operators do, on real processes on free loopback ports.
///
/// Runs stages one after the other. One that fails says at which step, what is different from what it should
/// be and where data and logs are, and the others run all the same. Ends with one line of JSON; with 1 if
/// anything failed, and with 2 if it could not be run.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Runs this stage alone; may be repeated [default: all of them]
    #[arg(long, value_enum, value_name = "STAGE")]
    only: Vec<Stage>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut report = Report::default();
    for stage in Stage::among(&arguments.only) {
        // Boxed: everything that a stage does is one future.
        Box::pin(stage.run(&mut report)).await;
    }
    match serde_json::to_string(&report) {
        Ok(line) => result(&line),
        Err(error) => {
            note(&format!("error: {error}"));
            return ExitCode::from(NOT_RUN);
        }
    }
    if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
