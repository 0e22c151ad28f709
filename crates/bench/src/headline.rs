//! The headline figures as one line of JSON: of each row its first figure and those with a mark.

use bench_kit::{
    figure::{Figure, Unit},
    report::Report,
};
use serde_json::{Map, Value, json};

/// One line; `failed` names the rows that miss a mark or could not be measured.
pub(crate) fn line(report: &Report) -> String {
    let mut line = Map::new();
    for row in &report.rows {
        let is_headline = |(index, figure): &(usize, &Figure)| *index == 0 || figure.mark.is_some();
        let figures = row.figures.iter().enumerate().filter(is_headline);
        let figures: Map<String, Value> =
            figures.map(|(_, figure)| (name(figure), json!(rounded(figure.value)))).collect();
        line.insert(row.row.clone(), Value::Object(figures));
    }
    line.insert("quick".into(), report.quick.into());
    line.insert("failed".into(), json!(report.failed));
    Value::Object(line).to_string()
}

/// `p99 at half of it` as `p99_at_half_of_it_us`: words and the unit of a time.
fn name(figure: &Figure) -> String {
    let words =
        figure.name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut name = words.collect::<Vec<_>>().join("_").to_lowercase();
    if figure.unit == Unit::Microseconds {
        name += "_us";
    }
    name
}

/// Four digits say all there is.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let unit = 10_f64.powi(3 - value.abs().log10().floor() as i32);
    (value * unit).round() / unit
}

#[cfg(test)]
mod tests {
    use bench_kit::{
        figure::Mark,
        machine::Machine,
        report::{Failure, Measured},
    };

    use super::*;

    #[test]
    fn the_line_has_first_figures_and_marks_and_what_failed() {
        let figures = vec![
            Figure::new("traces per second", Unit::PerSecond, 19_876.54),
            Figure::new("p50 at half of it", Unit::Microseconds, 1.0),
            Figure::new("p99 at half of it", Unit::Microseconds, 26_000.0).with_mark(Mark::AtMost(25_000.0)),
        ];
        let rows = vec![Measured::new("latency-100", "", figures)];
        let errors = vec![Failure { row: "kill".into(), error: "no python3".into() }];
        let line = line(&Report::new(Machine::ask(), false, rows, errors));
        let line: Value = serde_json::from_str(&line).unwrap();
        let expected = json!({
            "latency-100": { "traces_per_second": 19_880.0, "p99_at_half_of_it_us": 26_000.0 },
            "quick": false, "failed": ["latency-100", "kill"],
        });
        assert_eq!(line, expected);
    }
}
