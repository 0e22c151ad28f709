//! Measures what every operation of the state costs, and compares it with its mark.

mod batch;
mod cost;
mod deployment;
mod figures;
mod load;
mod report;
mod row;
mod scale;
mod traffic;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use clap::Parser;

use crate::{
    deployment::{Deployed, Deployment},
    load::Pools,
    report::{Measured, Report},
    row::{Bench, Row},
    scale::Scale,
};

// The engine's: what is measured here is what it costs there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures what every operation of the state costs, in memory and on Redis.
///
/// Starts Redis servers of its own on free loopback ports; they end with it. Prints markdown tables,
/// or one line of JSON in which `failed` names the rows that miss their mark.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Measures on this backend only; may be given several times.
    #[arg(long, value_enum)]
    backend: Vec<Deployment>,
    /// Measures the rows with this in their name only; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// One repetition of smaller sizes.
    #[arg(long)]
    quick: bool,
    /// Prints one line of JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Keeps an append-only file (everysec) on every server, not only on replicated ones.
    #[arg(long)]
    append_only: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let scale = if arguments.quick { Scale::QUICK } else { Scale::FULL };
    let report = Report::new(arguments.quick, measure(&arguments, scale).await?);
    let text = if arguments.json { serde_json::to_string(&report)? + "\n" } else { report.markdown() };
    io::stdout().write_all(text.as_bytes()).context("failed to print the figures")
}

async fn measure(arguments: &Arguments, scale: Scale) -> anyhow::Result<Vec<Measured>> {
    let rows = arguments.rows()?;
    let pools = Arc::new(Pools::default());
    let mut measured = Vec::new();
    for deployment in arguments.deployments() {
        let deployed = Arc::new(Deployed::start(deployment, arguments.append_only).await?);
        let bench = Bench { deployed, scale, pools: Arc::clone(&pools) };
        for row in rows.iter().copied() {
            // In a task like an engine's requests: the main thread is none of the runtime's workers.
            let bench = bench.clone();
            let figures = tokio::spawn(async move { row.measure(&bench).await }).await?;
            let figures = figures
                .with_context(|| format!("failed to measure {} on {}", row.name(), deployment.name()))?;
            let row = Measured::new(row, deployment, figures, &scale);
            note(&format!("{} {}", deployment.name(), row.line()));
            measured.push(row);
        }
    }
    Ok(measured)
}

impl Arguments {
    fn rows(&self) -> anyhow::Result<Vec<Row>> {
        let is_wanted =
            |row: &Row| self.only.is_empty() || self.only.iter().any(|part| row.name().contains(part));
        let rows: Vec<Row> = Row::ALL.into_iter().filter(is_wanted).collect();
        ensure!(!rows.is_empty(), "no row has a name with {}", self.only.join(" or "));
        Ok(rows)
    }

    fn deployments(&self) -> Vec<Deployment> {
        if self.backend.is_empty() { Deployment::ALL.to_vec() } else { self.backend.clone() }
    }
}

/// Tells what happens.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
