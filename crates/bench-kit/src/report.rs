//! What was measured, as a markdown table and as one line of JSON.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::{
    figure::{Figure, Mark},
    machine::Machine,
};

/// All that a run found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub machine: Machine,
    /// Whether sizes were reduced: the marks are for the full ones.
    pub quick: bool,
    pub rows: Vec<Measured>,
    /// What could not be measured, and why.
    pub errors: Vec<Failure>,
    /// Rows that miss a mark or could not be measured.
    pub failed: Vec<String>,
}

/// A row without figures.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    pub row: String,
    pub error: String,
}

/// A row with its figures.
#[derive(Debug, Serialize, Deserialize)]
pub struct Measured {
    pub row: String,
    pub text: String,
    pub figures: Vec<Figure>,
    /// Whether all marks are.
    pub met: bool,
}

impl Measured {
    /// `text` says what the row does, for people.
    pub fn new(row: &str, text: &str, figures: Vec<Figure>) -> Self {
        let met = figures.iter().all(|figure| figure.is_met() != Some(false));
        Self { row: row.to_owned(), text: text.to_owned(), figures, met }
    }

    /// Rows of a table, one for each figure; the first one names the row.
    pub fn lines(&self) -> String {
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
    pub fn new(machine: Machine, quick: bool, rows: Vec<Measured>, errors: Vec<Failure>) -> Self {
        let missed = rows.iter().filter(|measured| !measured.met).map(|measured| &measured.row);
        let failed = missed.chain(errors.iter().map(|failure| &failure.row)).cloned().collect();
        Self { machine, quick, rows, errors, failed }
    }

    pub fn markdown(&self) -> String {
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
            Measured::new(row, "a probe", vec![figure])
        };
        let errors = vec![Failure { row: "absent".into(), error: "no engine".into() }];
        let rows = vec![row("slow", 1.0), row("fast", 2.0)];
        let report = Report::new(Machine::ask(), false, rows, errors);
        assert_eq!(report.failed, ["slow", "absent"]);
        assert!(report.markdown().contains("**missed**"), "{}", report.markdown());
    }
}
