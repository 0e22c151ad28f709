//! The figures are those of docs/benchmarks.md.

use capacity::figures::{self, Figure};

const PAGE: &str = include_str!("../../../docs/benchmarks.md");
/// How far a figure may be from the page: about as far as two runs are from each other.
const TOLERANCE: f64 = 0.15;

/// A cell of the page, by its row and its column or the name of one of several figures in the row.
fn on_the_page(row: &str, of: &str) -> Option<f64> {
    let (heading, row) = row.split_once('/').filter(|_| row.contains("primaries")).unwrap_or(("", row));
    let (mut is_below, mut columns, mut current) = (heading.is_empty(), Vec::new(), String::new());
    for line in PAGE.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            is_below =
                heading.is_empty() || title == heading || title.starts_with(&format!("{heading} that "));
        }
        let Some(line) = line.strip_prefix('|') else {
            columns.clear();
            continue;
        };
        let cells: Vec<_> = line.trim_end_matches('|').split('|').map(str::trim).collect();
        if columns.is_empty() {
            columns = cells;
            continue;
        }
        if !cells[0].is_empty() {
            current = cells[0]
                .strip_prefix('`')
                .and_then(|name| name.split('`').next())
                .unwrap_or(cells[0])
                .to_owned();
        }
        if !is_below || current != row {
            continue;
        }
        let column = columns.iter().position(|name| *name == of);
        let of_several = || (cells.get(1) == Some(&of)).then_some(2);
        if let Some(cell) = column.or_else(of_several).and_then(|index| cells.get(index)) {
            return quantity(cell);
        }
    }
    None
}

/// In microseconds, bytes, or as it is.
fn quantity(cell: &str) -> Option<f64> {
    let cell = cell.trim_matches('*').replace(',', "");
    let (number, unit) = cell.split_once(' ').unwrap_or((&cell, ""));
    let size = match unit {
        "" | "µs" | "B" => 1.0,
        "ns" => 1e-3,
        "ms" => 1e3,
        "MiB" => 1_048_576.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * size)
}

#[test]
fn every_figure_is_on_the_page() {
    let mut wrong = String::new();
    for Figure { value, row, of, command } in figures::all() {
        let found = on_the_page(row, of);
        let is_near = found.is_some_and(|found| (value - found).abs() <= TOLERANCE * found.abs());
        if !is_near {
            let found = found.map_or("no such figure".to_owned(), |found| found.to_string());
            wrong += &format!("{row:?}, {of:?}: {value} here, on the page {found} ({command})\n");
        }
    }
    assert!(
        wrong.is_empty(),
        "crates/capacity/src/figures.rs is more than {:.0} % from docs/benchmarks.md; put the page's figures there:\n{wrong}",
        TOLERANCE * 100.0
    );
}

#[test]
fn a_figure_that_is_elsewhere_on_the_page_is_not_taken_for_it() {
    assert_eq!(on_the_page("cluster-1000", "gateway"), None, "this row has none");
    assert_eq!(on_the_page("redis-cluster", "most memory"), None, "this is of another row");
    let client = |heading: &str| on_the_page(&format!("{heading}/append"), "CPU client");
    assert_ne!(client("Redis Cluster of 3 primaries"), client("Redis Cluster of 3 primaries and 3 replicas"));
}
