//! Measures everything together on one machine, processes and all: what comes in and what that costs, what more
//! engines change, and how others do with the same requests.

mod case;
mod chart;
mod end_to_end;
mod engines;
mod fleet;
mod forwarders;
mod generator;
mod headline;
mod pending;
mod plots;
mod readback;
mod replaced;
mod row;
mod scale;
mod stand_in;
mod svg;
mod tables;

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use bench_kit::{
    machine::Machine,
    report::Report,
    run::{RowArguments, exit_code, measure, note},
};
use clap::Parser;

use crate::{row::Row, scale::Scale};

/// Measures everything together on this machine: Redis, engines, gateways and the load are processes of their
/// own. Requests per second without refusals, CPU of everything per span, latencies at half of the maximum;
/// what more engines change; and Rotel and a stand-in for what the engine replaces (both installed from PyPI
/// when their rows are measured for the first time) with the same requests.
///
/// Everything takes about 25 minutes on a quiet machine. Prints markdown tables, or with --json one line with
/// the headline figures, in which `failed` names the rows that miss a mark or could not be measured.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    #[command(flatten)]
    rows: RowArguments,
    /// Writes all figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Measures nothing and takes the figures from a file that --report has written.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["only", "quick", "report"])]
    from: Option<PathBuf>,
    /// Writes the tables to this file; of a page with `<!-- bench: begin -->` and `<!-- bench: end -->`, what is
    /// between them is replaced.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Draws plots (SVG) into this directory.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  bench --quick                                  a few rows, one short repetition, two minutes
  bench --only cluster-1000 --only replaced      rows with this in their name
  bench --json --report bench.json               everything, kept in a file
  bench --from bench.json --markdown docs/benchmarks.md --plots docs/images";

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(run(Arguments::parse()).await)
}

/// Answers whether everything could be measured; what misses its mark was measured too.
async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let Arguments { rows, report: file, from, markdown, plots } = arguments;
    let report: Report = match from {
        Some(file) => {
            let text = fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is no report", file.display()))?
        }
        None => measured(&rows).await?,
    };
    if let Some(file) = file {
        write(&file, &(serde_json::to_string_pretty(&report)? + "\n"))?;
    }
    let mut tables = tables::markdown(&report);
    if let Some(directory) = &plots {
        fs::create_dir_all(directory).with_context(|| format!("failed to create {}", directory.display()))?;
        for plot in plots::of(&report) {
            let file = directory.join(plot.file);
            write(&file, &plot.svg)?;
            let _ =
                write!(tables, "\n![{}]({})\n", plot.title, from_page(&file, markdown.as_deref()).display());
        }
    }
    if let Some(page) = &markdown {
        let text = fs::read_to_string(page).unwrap_or_default();
        write(page, &tables::inserted(&text, &tables))?;
    }
    let text = match (rows.json, markdown) {
        (true, _) => headline::line(&report) + "\n",
        (false, None) => tables,
        (false, Some(_)) => String::new(),
    };
    io::stdout().write_all(text.as_bytes()).context("failed to print the figures")?;
    Ok(report.errors.is_empty())
}

async fn measured(rows: &RowArguments) -> anyhow::Result<Report> {
    let machine = Machine::ask().with_redis();
    let RowArguments { only, quick, .. } = rows;
    match (quick, only.is_empty()) {
        (true, true) => measure(only, Row::quick(), &Scale::QUICK, machine, true).await,
        (true, false) => measure(only, Row::all(), &Scale::QUICK, machine, true).await,
        (false, _) => measure(only, Row::all(), &Scale::FULL, machine, false).await,
    }
}

/// How a page names a file: from its own directory, where it is below that.
fn from_page<'a>(file: &'a Path, page: Option<&Path>) -> &'a Path {
    page.and_then(Path::parent).and_then(|directory| file.strip_prefix(directory).ok()).unwrap_or(file)
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))?;
    note(&format!("wrote {}", file.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn a_page_names_plots_from_where_it_is() {
        let name = |page: Option<&str>| from_page(Path::new("docs/images/cpu.svg"), page.map(Path::new));
        assert_eq!(name(Some("docs/benchmarks.md")), Path::new("images/cpu.svg"));
        assert_eq!(name(Some("/elsewhere/page.md")), Path::new("docs/images/cpu.svg"));
        assert_eq!(name(None), Path::new("docs/images/cpu.svg"));
    }

    #[test]
    fn the_arguments_fit_together() {
        Arguments::command().debug_assert();
    }
}
