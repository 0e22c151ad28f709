//! What was measured, as markdown tables and as one line of JSON.

use std::fmt::Write as _;

use bench_kit::{
    machine::Machine,
    text::{duration, rate},
};
use serde::Serialize;

use crate::{
    deployment::Deployment,
    figures::Figures,
    row::{Basis, Row},
    scale::Scale,
    series::Series,
};

/// All that a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// Whether sizes were reduced: the marks are for the full ones.
    pub(crate) quick: bool,
    pub(crate) rows: Vec<Measured>,
    pub(crate) sweeps: Vec<Series>,
    /// What could not be measured, and why.
    pub(crate) errors: Vec<Failure>,
    /// What misses its mark or could not be measured: deployment and row, or sweep and point.
    pub(crate) failed: Vec<String>,
}

/// A row or a sweep without figures.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) name: String,
    pub(crate) error: String,
}

/// A row on a deployment.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) row: &'static str,
    pub(crate) backend: Deployment,
    /// What CPU, commands and rate are counted by.
    pub(crate) unit: &'static str,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    /// Which figure the mark is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mark_for: Option<Basis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mark_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) met: Option<bool>,
    #[serde(skip)]
    pub(crate) text: String,
}

impl Measured {
    pub(crate) fn new(row: Row, backend: Deployment, figures: Figures, scale: &Scale) -> Self {
        let mark = row.mark(backend);
        Self {
            row: row.name(),
            backend,
            unit: row.unit(),
            figures,
            mark_for: mark.map(|mark| mark.basis),
            mark_us: mark.map(|mark| mark.us),
            met: mark.map(|mark| mark.is_met(&figures)),
            text: row.describe(scale),
        }
    }

    /// One row of a table.
    pub(crate) fn line(&self) -> String {
        let Self { row, unit, figures, mark_for, mark_us, met, text, .. } = self;
        let mark = match (mark_for, mark_us) {
            (Some(Basis::P50), Some(us)) => format!("p50 {}", duration(*us)),
            (Some(Basis::Cpu), Some(us)) => format!("CPU {}", duration(*us)),
            _ => "–".into(),
        };
        let verdict = match met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "–",
        };
        let Figures { p50_us, p99_us, client_us, primaries_us, replicas_us, cpu_us, per_second, commands } =
            figures;
        let p99 = p99_us.map_or_else(|| "–".into(), duration);
        format!(
            "| `{row}`: {text} | {} | {p99} | {} | {} | {} | **{}** per {unit} | {} | {commands:.3} | {mark} | {verdict} |",
            duration(*p50_us),
            duration(*client_us),
            duration(*primaries_us),
            duration(*replicas_us),
            duration(*cpu_us),
            rate(*per_second),
        )
    }
}

impl Report {
    pub(crate) fn new(quick: bool, rows: Vec<Measured>, sweeps: Vec<Series>, errors: Vec<Failure>) -> Self {
        let failed = rows.iter().filter(|measured| measured.met == Some(false));
        let failed = failed.map(|measured| format!("{}/{}", measured.backend.name(), measured.row));
        let failed = failed.chain(sweeps.iter().flat_map(Series::failed));
        let failed = failed.chain(errors.iter().map(|failure| failure.name.clone())).collect();
        Self { machine: Machine::ask().with_redis(), quick, rows, sweeps, errors, failed }
    }

    /// A table for each deployment and each sweep.
    pub(crate) fn markdown(&self) -> String {
        let mut text = self.machine.describe() + "\n\n";
        for deployment in Deployment::ALL {
            let rows: Vec<_> = self.rows.iter().filter(|row| row.backend == deployment).collect();
            if rows.is_empty() {
                continue;
            }
            let _ = writeln!(text, "### {}\n", deployment.title());
            text.push_str(
                "| row | p50 | p99 | CPU client | primaries | replicas | CPU in all | per second | commands | mark | |\n\
                 |---|--:|--:|--:|--:|--:|--:|--:|--:|---|---|\n",
            );
            for row in rows {
                let _ = writeln!(text, "{}", row.line());
            }
            text.push('\n');
        }
        self.sweeps.iter().for_each(|series| text.push_str(&series.markdown()));
        for Failure { name, error } in &self.errors {
            let _ = writeln!(text, "`{name}` could not be measured: {error}.\n");
        }
        text
    }
}
