//! What was measured, as a markdown table and as one line of JSON.

use std::fmt::Write as _;

use bench_kit::machine::Machine;
use serde::Serialize;

use crate::{
    figure::{Figure, Mark},
    row::Row,
};

/// All that a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// Whether sizes were reduced: the marks are for the full ones.
    pub(crate) quick: bool,
    pub(crate) rows: Vec<Measured>,
    /// What could not be measured, and why.
    pub(crate) errors: Vec<Failure>,
    /// Rows that miss a mark or could not be measured.
    pub(crate) failed: Vec<&'static str>,
}

/// A row without figures.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) row: &'static str,
    pub(crate) error: String,
}

/// A row with its figures.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) row: &'static str,
    pub(crate) text: &'static str,
    pub(crate) figures: Vec<Figure>,
    /// Whether all marks are.
    pub(crate) met: bool,
}

impl Measured {
    pub(crate) fn new(row: Row, figures: Vec<Figure>) -> Self {
        let met = figures.iter().all(|figure| figure.is_met() != Some(false));
        Self { row: row.name(), text: row.describe(), figures, met }
    }

    /// Rows of a table, one for each figure; the first one names the row.
    pub(crate) fn lines(&self) -> String {
        let mut lines = Vec::new();
        for (index, figure) in self.figures.iter().enumerate() {
            let Figure { name, unit, value, mark } = figure;
            let row = if index == 0 { format!("`{}`: {}", self.row, self.text) } else { String::new() };
            let mark = match mark {
                Some(Mark::AtMost(most)) => format!("at most {}", unit.describe(*most)),
                Some(Mark::AtLeast(least)) => format!("at least {}", unit.describe(*least)),
                None => "–".into(),
            };
            let verdict = match figure.is_met() {
                Some(true) => "met",
                Some(false) => "**missed**",
                None => "–",
            };
            lines.push(format!("| {row} | {name} | {} | {mark} | {verdict} |", unit.describe(*value)));
        }
        lines.join("\n")
    }
}

impl Report {
    pub(crate) fn new(machine: Machine, quick: bool, rows: Vec<Measured>, errors: Vec<Failure>) -> Self {
        let missed = rows.iter().filter(|measured| !measured.met).map(|measured| measured.row);
        let failed = missed.chain(errors.iter().map(|failure| failure.row)).collect();
        Self { machine, quick, rows, errors, failed }
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text =
            self.machine.describe() + "\n\n| row | figure | median | mark | |\n|---|---|--:|---|---|\n";
        for row in &self.rows {
            let _ = writeln!(text, "{}", row.lines());
        }
        for Failure { row, error } in &self.errors {
            let _ = writeln!(text, "\n`{row}` could not be measured: {error}.");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Unit;

    #[test]
    fn a_row_that_misses_a_mark_or_has_no_figures_is_named() {
        let row = |row, value| {
            let figure = Figure::new("probe", Unit::Times, value).with_mark(Mark::AtLeast(2.0));
            Measured::new(row, vec![figure])
        };
        let errors = vec![Failure { row: Row::Engine20.name(), error: "no engine".into() }];
        let rows = vec![row(Row::Split, 1.0), row(Row::JsonDecode, 2.0)];
        let report = Report::new(Machine::ask(), false, rows, errors);
        assert_eq!(report.failed, ["split", "engine-20"]);
        assert!(report.markdown().contains("**missed**"), "{}", report.markdown());
    }
}
