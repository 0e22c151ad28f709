//! `engine capacity`: reads what is asked for and a report, and prints what the crate `capacity` says.

use std::{ffi::OsString, fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use capacity::{Costs, Demand, Measured, Plan, Prices};
use clap::Parser;
use service_lifecycle::Command;

/// Prints what a load needs.
pub(crate) const CAPACITY: Command = Command {
    name: "capacity",
    about: "Prints how many engines, gateways and Redis servers a load needs, and what they cost",
    run,
};

/// Prints how many engines, gateways and Redis servers a load needs, and what they cost
///
/// State is in a Redis Cluster. What a span takes is computed from the figures of docs/benchmarks.md, which are
/// named, for traces and requests of the given size; or from a report of your own machines and traffic, which
/// `loadgen load --report FILE` writes.
#[derive(Debug, Parser)]
#[command(name = "capacity", bin_name = "engine capacity", after_long_help = EXAMPLES)]
struct Arguments {
    #[command(flatten)]
    demand: Demand,
    #[command(flatten)]
    prices: Prices,
    /// Report of loadgen load whose figures count in place of those of docs/benchmarks.md
    #[arg(long, value_name = "FILE")]
    measured: Option<PathBuf>,
    /// Prints one line of JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  What 10,000 traces a second of 10 spans need that are kept for an hour:
    engine capacity --traces-per-second 10000 --spans-per-trace 10 --retention 1h \\
      --price-core-month 25 --price-gib-month 3

  The same by what a span takes on your machines. Let engines deliver, and the load last a minute at least:
    loadgen load --target http://ENGINE:4317 --rate 20000 --seconds 60 --spans-per-request 100 \\
      --spans-per-trace 10 --process engine=PID --process redis=PID --process redis=PID --report load.json
    engine capacity --traces-per-second 10000 --spans-per-trace 10 --measured load.json

Of processes of a name, or of names like engine-1 and engine-2, CPU is added up. Replicas of the measured Redis
must be as many as are asked for. Redis' memory is taken by how much its processes grew, so nothing may expire
meanwhile.";

fn run(command_line: Vec<OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(command_line) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    match arguments.answer() {
        Ok(answer) => {
            say(&answer);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn answer(self) -> anyhow::Result<String> {
        let Self { demand, prices, measured, json } = self;
        let mut differences = Vec::new();
        let costs = match &measured {
            None => Costs::built_in(&demand),
            Some(file) => {
                let name = file.display();
                let text = fs::read_to_string(file).with_context(|| format!("failed to read {name}"))?;
                let measured = Measured::read(&text).with_context(|| format!("{name} cannot be used"))?;
                differences = measured.differences(&demand);
                Costs::measured(&demand, &measured, &name.to_string())
            }
        };
        let mut plan = Plan::new(demand, costs, &prices).map_err(anyhow::Error::msg)?;
        plan.notes.extend(differences);
        Ok(if json { serde_json::to_string(&plan)? + "\n" } else { plan.to_string() })
    }
}

#[expect(clippy::print_stdout, reason = "this is what was asked for")]
fn say(answer: &str) {
    print!("{answer}");
}

#[expect(clippy::print_stderr, reason = "this is what the command ends with")]
fn complain(error: &anyhow::Error) {
    eprintln!("engine capacity: {error:#}");
}
