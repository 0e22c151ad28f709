//! Proves on recorded traffic that traces come out whole, once, whatever fails meanwhile.
//!
//! The library of this crate knows what was sent and compares it with what came out. Here is how it is sent:
//!
//! * `feed` sends copies of the recording, `fault` kills engines and lets the endpoint fail meanwhile;
//! * `cases` are a trace cut in two and a span after the close.

mod cases;
mod fault;
mod feed;
mod report;
mod run;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use correlate_proof::mutation::Mutation;
use loadgen::output::{note, result};

/// Proves on recorded traffic that traces come out whole, once, whatever fails meanwhile.
///
/// Starts a Redis Cluster, three engines, two gateways and the endpoint that they deliver to, on free
/// loopback ports. Sends copies of a recording through all doors, out of order, late and twice, while
/// engines are killed and the endpoint fails, hangs and is away. Then compares what was delivered, item
/// by item, with what was sent, and asks the gateways for it. Ends with one line of JSON, and with 1 if
/// anything is not as it should be.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Directory with traces-*.jsonl.gz and logs-*.jsonl.gz (each line one OTLP/JSON export request),
    /// and expected.json with the number of spans and logs of each trace
    dir: PathBuf,
    /// Copies of the recording, with other ids each
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    copies: u16,
    /// Deaths of engines while the copies are sent
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(..=1_000))]
    kills: u16,
    /// Spans and log records sent in a second; fewer where that would take less than half a minute
    #[arg(long, default_value_t = 7_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Ids, order, doors and deaths
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Does something wrong on purpose, which must be found
    #[arg(long, value_enum)]
    mutate: Option<Mutation>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Boxed: everything the proof does is one future.
    match Box::pin(run::run(&arguments)).await {
        Ok(report) => {
            let failures = report.failures();
            failures.iter().for_each(|failure| note(&format!("failed: {failure}")));
            match serde_json::to_string(&report) {
                Ok(line) => result(&line),
                Err(error) => note(&format!("error: {error}")),
            }
            if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            note(&format!("error: {error:#}"));
            note(&format!("the seed was {}", arguments.seed));
            ExitCode::FAILURE
        }
    }
}
