//! The page lists what runs, and nothing else.

use otlp_conformance::{Case, clients, rows};

const PAGE: &str = include_str!("../../../docs/conformance.md");

/// The cells of every line of a table, headings left out.
fn lines() -> Vec<Vec<&'static str>> {
    let lines = PAGE.lines().filter(|line| line.starts_with("| ") && line.ends_with("| passed |"));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn every_row_is_on_the_page_with_its_rule() {
    let named = |case: &Case| (case.id().to_owned(), case.title());
    let expected: Vec<_> = rows().iter().map(named).collect();
    let lines = lines();
    let listed = lines.iter().filter(|cells| cells.len() == 5);
    let listed: Vec<_> = listed.map(|cells| (cells[0].to_lowercase(), cells[1].to_owned())).collect();
    assert_eq!(listed, expected);
}

#[test]
fn every_client_is_on_the_page() {
    let expected: Vec<_> = clients().iter().map(|case| case.name).collect();
    let listed: Vec<_> = lines().iter().filter(|cells| cells.len() == 3).map(|cells| cells[0]).collect();
    assert_eq!(listed, expected);
}

#[test]
fn every_row_of_the_sections_is_there() {
    let ids = |letter: &str, count: usize| {
        (1..=count).map(|number| format!("{letter}{number}")).collect::<Vec<_>>()
    };
    let mut expected = [ids("g", 16), ids("h", 20), ids("j", 18), ids("d", 12)].concat();
    expected.extend(["g5a".to_owned(), "h3a".to_owned()]);
    let mut listed: Vec<_> = rows().iter().map(|case| case.id().to_owned()).collect();
    expected.sort();
    listed.sort();
    assert_eq!(listed, expected);
}
