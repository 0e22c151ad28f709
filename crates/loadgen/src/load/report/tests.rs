//! The report as those read it who rely on it.

use super::*;
use crate::load::{
    client::{Code, Outcome, Sent},
    processes::Use,
};

fn report() -> Report {
    let mut tally = Tally::default();
    let sent =
        Sent { outcome: Outcome::Accepted { rejected: 0 }, answers: vec![Code::Ok], message: String::new() };
    let size = Size { spans: 1_000, logs: 0, traces: 100 };
    tally.add(size, &sent, Duration::from_millis(5), true);
    let used = Use { cpu: Duration::from_millis(2), rss_bytes_before: 32 << 20, rss_bytes_max: 64 << 20 };
    let used = Used {
        own_cpu: Duration::from_micros(500),
        processes: BTreeMap::from([("engine".to_owned(), used)]),
        ..Used::default()
    };
    let window = Window { time: Duration::from_secs(2), accepted: tally.accepted, used };
    let asked =
        Asked { protocol: Protocol::Grpc, profile: Profile::Realistic, seed: 7, rate: Rate::Spans(500.0) };
    Report::new(asked, &window, &tally)
}

#[test]
fn the_line_of_json_has_the_fields_that_others_rely_on() {
    let line = serde_json::to_string(&report()).unwrap();
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    let names = [
        "protocol",
        "profile",
        "seed",
        "seconds",
        "offered_spans_per_second",
        "spans",
        "logs",
        "traces",
        "requests",
        "spans_per_second",
        "traces_per_second",
        "accepted_spans",
        "refused_requests",
        "retried_requests",
        "failed_requests",
        "rejected_items",
        "latency_ms",
        "generator_cpu_us_per_span",
        "processes",
        "codes",
    ];
    for name in names {
        assert!(value.get(name).is_some(), "{name} in {line}");
    }
    for name in ["p50", "p90", "p99", "p99_9", "max"] {
        assert_eq!(value["latency_ms"][name], 5.0, "{name}");
    }
    let engine = serde_json::json!({"cpu_us_per_span": 2.0, "cpu_cores": 0.001, "rss_bytes_before": 32 << 20, "rss_bytes_max": 64 << 20});
    assert_eq!(value["processes"]["engine"], engine);
    assert_eq!(value["codes"]["OK"], 1);
    assert_eq!(value["spans_per_second"], 500.0);
    assert_eq!(value["generator_cpu_us_per_span"], 0.5);
    assert_eq!(serde_json::from_str::<Report>(&line).unwrap(), report());
}

#[test]
fn a_maximum_offers_no_rate() {
    let report = Report { offered_spans_per_second: None, ..report() };
    assert!(serde_json::to_string(&report).unwrap().contains(r#""offered_spans_per_second":null"#));
    assert!(report.to_string().contains("as many as go"));
}

#[test]
fn people_are_told_when_the_target_did_not_keep_up() {
    let is_told = |report: &Report| report.to_string().contains("did not keep up");
    assert!(!is_told(&report()));
    assert!(is_told(&Report { offered_spans_per_second: Some(1_000.0), ..report() }));
}
