//! docs/metrics.md lists the metrics of every process as the tables in the crates have them.

use service_lifecycle::{Kind, Metric};

const PAGE: &str = include_str!("../../../docs/metrics.md");

/// The headings of the page, and the tables under them.
const SECTIONS: [(&str, &[&[Metric]]); 3] = [
    ("Every process", &[service_lifecycle::METRICS, access::METRICS]),
    ("Engine", &[&[build_info("engine_build_info")], engine::METRICS, delivery::METRICS]),
    ("Gateway", &[&[build_info("ingest_gateway_build_info")], ingest_gateway::METRICS]),
];

/// The one metric that is in no table: its name comes from that of the process.
const fn build_info(name: &'static str) -> Metric {
    let help = "Always 1; the labels tell version and revision.";
    Metric { name, kind: Kind::Gauge, unit: None, help }
}

fn row(metric: &Metric) -> String {
    let Metric { name, kind, unit, help } = metric;
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let unit = unit.as_ref().map_or("–", |unit| unit.as_str());
    format!("| `{name}` | {kind} | {unit} | {help} |")
}

/// The rows of the table under a heading of the page.
fn listed(heading: &str) -> Vec<&'static str> {
    let below = PAGE.lines().skip_while(|line| *line != format!("## {heading}")).skip(1);
    below.take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `")).collect()
}

#[test]
fn the_page_lists_every_metric_of_every_process_and_no_other() {
    for (heading, tables) in SECTIONS {
        let rows: Vec<_> = tables.iter().copied().flatten().map(row).collect();
        let rows_to_paste = rows.join("\n");
        assert!(
            listed(heading) == rows,
            "the table under \"{heading}\" of docs/metrics.md is not what the crates have; paste:\n{rows_to_paste}"
        );
    }
}
