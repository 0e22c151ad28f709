//! The life of a benchmark of rows with figures: from its arguments to its exit code.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::{
    figure::Figure,
    machine::Machine,
    report::{Failure, Measured, Report},
};

/// What such a benchmark is told.
#[derive(Debug, Args)]
pub struct RowArguments {
    /// Measures the rows with this in their name only; may be given several times.
    #[arg(long)]
    pub only: Vec<String>,
    /// One repetition of smaller sizes.
    #[arg(long)]
    pub quick: bool,
    /// Prints one line of JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// A row of a benchmark.
pub trait Row: Copy {
    /// How much is measured.
    type Scale;

    /// What it is called.
    fn name(self) -> &'static str;

    /// What it does, for people.
    fn describe(self) -> &'static str;

    /// Measures it.
    ///
    /// # Errors
    /// It cannot be measured.
    fn measure(self, scale: &Self::Scale) -> impl Future<Output = anyhow::Result<Vec<Figure>>>;
}

/// Measures the rows that are wanted, in full sizes or quick ones, and prints what it found. It fails if
/// something could not be measured; what misses its mark was measured too.
pub async fn run<R: Row>(
    arguments: RowArguments,
    rows: impl IntoIterator<Item = R>,
    [full, quick]: [R::Scale; 2],
    machine: Machine,
) -> ExitCode {
    let scale = if arguments.quick { quick } else { full };
    exit_code(print(arguments, rows, &scale, machine).await)
}

/// How a benchmark ends that answers whether everything could be measured; tells the error if there is one.
pub fn exit_code(is_measured: anyhow::Result<bool>) -> ExitCode {
    match is_measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Answers whether everything could be measured.
async fn print<R: Row>(
    RowArguments { only, quick, json }: RowArguments,
    rows: impl IntoIterator<Item = R>,
    scale: &R::Scale,
    machine: Machine,
) -> anyhow::Result<bool> {
    let report = measure(&only, rows, scale, machine, quick).await?;
    let text = if json { serde_json::to_string(&report)? + "\n" } else { report.markdown() };
    io::stdout().write_all(text.as_bytes()).context("failed to print the figures")?;
    Ok(report.errors.is_empty())
}

/// Measures the rows that are wanted, and tells each as soon as it is there.
///
/// # Errors
/// When there is no row with such a name.
pub async fn measure<R: Row>(
    only: &[String],
    rows: impl IntoIterator<Item = R>,
    scale: &R::Scale,
    machine: Machine,
    quick: bool,
) -> anyhow::Result<Report> {
    let is_wanted = |row: &R| only.is_empty() || only.iter().any(|part| row.name().contains(part));
    let rows: Vec<R> = rows.into_iter().filter(is_wanted).collect();
    ensure!(!rows.is_empty(), "no row has a name with {}", only.join(" or "));
    let (mut measured, mut errors) = (Vec::new(), Vec::new());
    for row in rows {
        match row.measure(scale).await {
            Ok(figures) => {
                let row = Measured::new(row.name(), row.describe(), figures);
                note(&row.lines());
                measured.push(row);
            }
            // One row that cannot be measured must not take the others along.
            Err(error) => {
                note(&format!("{} could not be measured: {error:#}", row.name()));
                errors.push(Failure { row: row.name().to_owned(), error: format!("{error:#}") });
            }
        }
    }
    Ok(Report::new(machine, quick, measured, errors))
}

/// Tells what happens.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
