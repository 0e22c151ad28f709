//! Measures what every operation of the state costs, and compares it with its mark.

mod batch;
mod cost;
mod deployment;
mod figures;
mod load;
mod recorded;
mod report;
mod row;
mod scale;
mod series;
mod sweep;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use bench_kit::run::{exit_code, note};
use clap::Parser;

use crate::{
    deployment::{Deployed, Deployment},
    load::Pools,
    report::{Failure, Measured, Report},
    row::{Bench, Row},
    scale::Scale,
    series::Series,
    sweep::Sweep,
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
    /// Varies a setting on the cluster of three primaries instead; may be given several times.
    #[arg(long, value_enum)]
    sweep: Vec<Sweep>,
    /// A directory of recorded telemetry (`traces-*.jsonl.gz`, `logs-*.jsonl.gz`), for the sweeps
    /// `compression` and `bytes`.
    #[arg(long)]
    data: Option<PathBuf>,
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
    exit_code(run(Arguments::parse()).await)
}

/// Answers whether everything could be measured; what misses its mark was measured too.
async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let scale = if arguments.quick { Scale::QUICK } else { Scale::FULL };
    ensure!(
        !arguments.rows().is_empty() || !arguments.sweeps().is_empty(),
        "nothing to measure: no row has a name with {}",
        arguments.only.join(" or ")
    );
    let pools = Arc::new(Pools::default());
    let mut errors = Vec::new();
    let rows = measure(&arguments, scale, &pools, &mut errors).await?;
    let sweeps = sweep(&arguments, scale, &pools, &mut errors).await?;
    let report = Report::new(arguments.quick, rows, sweeps, errors);
    let text = if arguments.json { serde_json::to_string(&report)? + "\n" } else { report.markdown() };
    io::stdout().write_all(text.as_bytes()).context("failed to print the figures")?;
    Ok(report.errors.is_empty())
}

async fn measure(
    arguments: &Arguments,
    scale: Scale,
    pools: &Arc<Pools>,
    errors: &mut Vec<Failure>,
) -> anyhow::Result<Vec<Measured>> {
    let rows = arguments.rows();
    let mut measured = Vec::new();
    if rows.is_empty() {
        return Ok(measured);
    }
    for deployment in arguments.deployments() {
        let deployed = Arc::new(Deployed::start(deployment, arguments.append_only).await?);
        let bench = Bench { deployed, scale, pools: Arc::clone(pools) };
        for row in rows.iter().copied() {
            // In a task like an engine's requests: the main thread is none of the runtime's workers.
            let bench = bench.clone();
            let figures = tokio::spawn(async move { row.measure(&bench).await }).await?;
            let name = format!("{}/{}", deployment.name(), row.name());
            if let Some(figures) = figures_or_error(name, figures, errors) {
                let row = Measured::new(row, deployment, figures, &scale);
                note(&format!("{} {}", deployment.name(), row.line()));
                measured.push(row);
            }
        }
    }
    Ok(measured)
}

async fn sweep(
    arguments: &Arguments,
    scale: Scale,
    pools: &Arc<Pools>,
    errors: &mut Vec<Failure>,
) -> anyhow::Result<Vec<Series>> {
    let sweeps = arguments.sweeps();
    let mut found = Vec::new();
    if sweeps.is_empty() {
        return Ok(found);
    }
    let deployed = Arc::new(Deployed::start(Deployment::Cluster, arguments.append_only).await?);
    let bench = Bench { deployed, scale: scale.for_sweeps(), pools: Arc::clone(pools) };
    for sweep in sweeps {
        let (bench, data) = (bench.clone(), arguments.data.clone());
        let series = tokio::spawn(async move { sweep.run(&bench, data.as_deref()).await }).await?;
        if let Some(series) = figures_or_error(format!("{sweep:?}").to_lowercase(), series, errors) {
            note(&series.markdown());
            found.push(series);
        }
    }
    Ok(found)
}

/// One row that cannot be measured must not take the others along.
fn figures_or_error<T>(name: String, figures: anyhow::Result<T>, errors: &mut Vec<Failure>) -> Option<T> {
    figures
        .map_err(|error| {
            note(&format!("{name} could not be measured: {error:#}"));
            errors.push(Failure { name, error: format!("{error:#}") });
        })
        .ok()
}

impl Arguments {
    /// Rows that are wanted: all, unless something else was asked for.
    fn rows(&self) -> Vec<Row> {
        let is_wanted = |row: &Row| match &self.only[..] {
            [] => self.sweep.is_empty(),
            parts => parts.iter().any(|part| row.name().contains(part)),
        };
        Row::ALL.into_iter().filter(is_wanted).collect()
    }

    /// Sweeps that are wanted. The one with a mark belongs to every whole run.
    fn sweeps(&self) -> Vec<Sweep> {
        let is_whole = self.only.is_empty() && self.sweep.is_empty() && self.backend.is_empty();
        if is_whole { vec![Sweep::Bytes] } else { self.sweep.iter().flat_map(|sweep| sweep.each()).collect() }
    }

    fn deployments(&self) -> Vec<Deployment> {
        if self.backend.is_empty() { Deployment::ALL.to_vec() } else { self.backend.clone() }
    }
}
