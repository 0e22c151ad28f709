//! A report as markdown: the rows end to end side by side, the others figure by figure.

use std::fmt::Write as _;

use bench_kit::{
    figure::{Figure, Mark},
    report::{Measured, Report},
};

use crate::end_to_end::{
    CLOSED, CLOSED_AT_HALF, DELIVERED, ENGINE, GATEWAY, GENERATOR, P50, P99, P99_9, REDIS, SPANS, TRACES,
};

/// Columns of the table of rows end to end: the head, and the figure below it.
const COLUMNS: [(&str, &str); 12] = [
    ("traces/s", TRACES),
    ("spans/s", SPANS),
    ("engine", ENGINE),
    ("gateway", GATEWAY),
    ("Redis", REDIS),
    ("generator", GENERATOR),
    ("closed", CLOSED),
    ("delivered/s", DELIVERED),
    ("closed at half", CLOSED_AT_HALF),
    ("p50", P50),
    ("p99", P99),
    ("p99.9", P99_9),
];

/// What the tables are between in a page that has other text too.
const BEGIN: &str = "<!-- bench: begin -->\n";
const END: &str = "<!-- bench: end -->\n";

/// A page with these tables in the place of those that it has; the tables alone, if it has no place for them.
pub(crate) fn inserted(page: &str, tables: &str) -> String {
    match page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1))) {
        Some((before, after)) => format!("{before}{BEGIN}\n{tables}\n{END}{after}"),
        None => tables.to_owned(),
    }
}

/// All tables.
pub(crate) fn markdown(report: &Report) -> String {
    let mut text = report.machine.describe() + "\n";
    if report.quick {
        text += "One short repetition of each: the marks are for full ones.\n";
    }
    let (end_to_end, further): (Vec<_>, Vec<_>) = report.rows.iter().partition(|row| is_end_to_end(row));
    let beside: Vec<Measured> = end_to_end.iter().filter_map(|row| without_columns(row)).collect();
    if !end_to_end.is_empty() {
        let heads = COLUMNS.map(|(head, _)| head).join(" | ");
        let _ = write!(
            text,
            "\n| row | {heads} | mark | |\n|---{}|---|---|\n",
            "|--:".repeat(1 + COLUMNS.len()).replacen("|--:", "", 1)
        );
        for row in end_to_end {
            let _ = writeln!(text, "{}", line(row));
        }
    }
    let further: Vec<&Measured> = beside.iter().chain(further).collect();
    if !further.is_empty() {
        text += "\n| row | figure | median | mark | |\n|---|---|--:|---|---|\n";
        for row in further {
            let _ = writeln!(text, "{}", row.lines());
        }
    }
    for failure in &report.errors {
        let _ = writeln!(text, "\n`{}` could not be measured: {}.", failure.row, failure.error);
    }
    text
}

fn is_end_to_end(row: &Measured) -> bool {
    row.figures.first().is_some_and(|figure| figure.name == TRACES)
}

/// What a row end to end has measured that has no column and no mark.
fn without_columns(row: &Measured) -> Option<Measured> {
    let has_column = |figure: &Figure| COLUMNS.iter().any(|(_, name)| *name == figure.name);
    let figures: Vec<Figure> =
        row.figures.iter().filter(|figure| figure.mark.is_none() && !has_column(figure)).cloned().collect();
    (!figures.is_empty()).then(|| Measured::new(&row.row, &row.text, figures))
}

fn line(row: &Measured) -> String {
    let cells = COLUMNS.map(|(_, name)| {
        let figure = row.figures.iter().find(|figure| figure.name == name);
        figure.map_or_else(|| "–".to_owned(), |figure| figure.unit.describe(figure.value))
    });
    let (mut marks, mut verdict) = (Vec::new(), "–");
    for figure in &row.figures {
        let Some(is_met) = figure.is_met() else { continue };
        let limit = match figure.mark {
            Some(Mark::AtLeast(least)) => {
                format!("{} at least {}", short(&figure.name), figure.unit.describe(least))
            }
            Some(Mark::AtMost(most)) if most > 0.0 => {
                format!("{} at most {}", short(&figure.name), figure.unit.describe(most))
            }
            // That nothing is refused goes without saying, unless something was.
            _ if is_met => continue,
            _ => format!("{}: {}", figure.name, figure.unit.describe(figure.value)),
        };
        marks.push(limit);
        verdict = if is_met && verdict != "**missed**" { "met" } else { "**missed**" };
    }
    let marks = if marks.is_empty() { "–".to_owned() } else { marks.join(", ") };
    format!("| `{}`: {} | {} | {marks} | {verdict} |", row.row, row.text, cells.join(" | "))
}

/// The head of the column that a figure is in.
fn short(name: &str) -> &str {
    COLUMNS.iter().find(|(_, figure)| *figure == name).map_or(name, |(head, _)| head)
}

#[cfg(test)]
mod tests {
    use bench_kit::figure::Unit;

    use super::*;

    fn row(traces: f64, refused: f64) -> Measured {
        let figures = vec![
            Figure::new(TRACES, Unit::PerSecond, traces).with_mark(Mark::AtLeast(20_000.0)),
            Figure::new(ENGINE, Unit::Microseconds, 1.25),
            Figure::new("requests refused, in all", Unit::Count, refused).with_mark(Mark::AtMost(0.0)),
        ];
        Measured::new("cluster-1000", "a cluster", figures)
    }

    #[test]
    fn a_row_end_to_end_is_one_line_with_its_marks() {
        let met = "| `cluster-1000`: a cluster | 21.0 k | – | 1.25 µs | – | – | – | – | – | – | – | – | – | traces/s at least 20.0 k | met |";
        assert_eq!(line(&row(21_000.0, 0.0)), met);
    }

    #[test]
    fn what_has_no_column_is_told_below() {
        let mut row = row(21_000.0, 0.0);
        assert!(without_columns(&row).is_none());
        row.figures.push(Figure::new("p99 at a quarter of it", Unit::Microseconds, 4_000.0));
        let figures = without_columns(&row).unwrap().figures;
        assert_eq!(
            figures.into_iter().map(|figure| figure.name).collect::<Vec<_>>(),
            ["p99 at a quarter of it"]
        );
    }

    #[test]
    fn tables_take_the_place_of_those_in_a_page() {
        let page = format!("before\n{BEGIN}old\n{END}after\n");
        let inserted = inserted(&page, "new\n");
        assert_eq!(inserted, format!("before\n{BEGIN}\nnew\n\n{END}after\n"));
        assert_eq!(super::inserted(&inserted, "new\n"), inserted);
        assert_eq!(super::inserted("another page", "new\n"), "new\n");
    }

    #[test]
    fn a_refusal_or_a_missed_mark_is_said() {
        assert!(line(&row(19_000.0, 0.0)).ends_with("| traces/s at least 20.0 k | **missed** |"));
        let refused = line(&row(21_000.0, 3.0));
        assert!(refused.ends_with("20.0 k, requests refused, in all: 3 | **missed** |"), "{refused}");
    }
}
