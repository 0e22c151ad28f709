//! Measures what it costs to receive, correlate, close and deliver whole traces, how late they are
//! delivered, and what an idle cluster costs Redis; compares it with its mark.

mod cost;
mod delay;
mod deployment;
mod idle;
mod load;
mod rotel;
mod row;
mod scale;
mod sink;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, ensure};
use bench_kit::{
    machine::Machine,
    report::{Failure, Measured, Report},
};
use clap::Parser;

use crate::{row::Row, scale::Scale};

/// Measures what whole traces cost on their way through engines to an OTLP endpoint, beside a stateless
/// forwarder (Rotel, installed from PyPI when its row is measured for the first time), how late they are,
/// and what ten idle engines cost a Redis Cluster.
///
/// Prints a markdown table, or one line of JSON in which `failed` names the rows that miss a mark.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Measures the rows with this in their name only; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// One repetition of smaller sizes.
    #[arg(long)]
    quick: bool,
    /// Prints one line of JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Answers whether everything could be measured; what misses its mark was measured too.
async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let scale = if arguments.quick { Scale::QUICK } else { Scale::FULL };
    let is_wanted =
        |row: &Row| arguments.only.is_empty() || arguments.only.iter().any(|part| row.name().contains(part));
    let rows: Vec<Row> = Row::ALL.into_iter().filter(is_wanted).collect();
    ensure!(!rows.is_empty(), "no row has a name with {}", arguments.only.join(" or "));
    let (mut measured, mut errors) = (Vec::new(), Vec::new());
    for row in rows {
        match row.measure(&scale).await {
            Ok(figures) => {
                let row = Measured::new(row.name(), row.describe(), figures);
                note(&row.lines());
                measured.push(row);
            }
            // One row that cannot be measured must not take the others along.
            Err(error) => {
                note(&format!("{} could not be measured: {error:#}", row.name()));
                errors.push(Failure { row: row.name(), error: format!("{error:#}") });
            }
        }
    }
    let report = Report::new(Machine::ask().with_redis(), arguments.quick, measured, errors);
    let text = if arguments.json { serde_json::to_string(&report)? + "\n" } else { report.markdown() };
    io::stdout().write_all(text.as_bytes()).context("failed to print the figures")?;
    Ok(report.errors.is_empty())
}

/// Tells what happens.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
