//! Answers about small correlations, and about some that are too large for one.

use otlp_proto::opentelemetry::proto::{
    common::v1::{AnyValue, KeyValue, any_value::Value as Any},
    logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData, span::Link},
};
use prost::Message as _;
use serde_json::{Value, json};

use super::{spans::LEVELS_MAX, *};

/// 2026-01-01T00:00:00Z.
const START: u64 = 1_767_225_600_000_000_000;
const MS: u64 = 1_000_000;

fn any(value: Any) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn resource(service: &str) -> Option<Resource> {
    let value = any(Any::StringValue(service.to_owned()));
    let name = KeyValue { key: "service.name".to_owned(), value, ..KeyValue::default() };
    Some(Resource { attributes: vec![name], ..Resource::default() })
}

fn bytes(id: u32) -> Vec<u8> {
    if id == 0 { Vec::new() } else { u64::from(id).to_be_bytes().to_vec() }
}

fn span(id: u32, parent: u32, name: &str, kind: i32, start_ms: u64, end_ms: u64) -> Span {
    Span {
        span_id: bytes(id),
        parent_span_id: bytes(parent),
        name: name.to_owned(),
        kind,
        start_time_unix_nano: START + start_ms * MS,
        end_time_unix_nano: START + end_ms * MS,
        ..Span::default()
    }
}

fn read(traces: Vec<(&str, Vec<Span>)>, logs: Vec<(&str, Vec<LogRecord>)>) -> Value {
    let spans = |(service, spans): (&str, Vec<Span>)| ResourceSpans {
        resource: resource(service),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    };
    let records = |(service, log_records): (&str, Vec<LogRecord>)| ResourceLogs {
        resource: resource(service),
        scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    };
    let traces = TracesData { resource_spans: traces.into_iter().map(spans).collect() };
    let logs = LogsData { resource_logs: logs.into_iter().map(records).collect() };
    let tree = Tree::read(GetCorrelationResponse {
        summary: None,
        traces_data: traces.encode_to_vec().into(),
        logs_data: logs.encode_to_vec().into(),
    });
    // Reading it back shows that a reader of JSON with the usual limits can.
    serde_json::from_slice(&serde_json::to_vec(&tree.unwrap()).unwrap()).unwrap()
}

fn record(span: u32, time_ms: u64, severity_number: i32, body: &str) -> LogRecord {
    LogRecord {
        span_id: bytes(span),
        time_unix_nano: START + time_ms * MS,
        severity_number,
        body: any(Any::StringValue(body.to_owned())),
        ..LogRecord::default()
    }
}

fn nothing_truncated() -> Value {
    json!({ "spans": 0, "logs": 0, "levels": 0, "missing_parents": 0, "services": 0 })
}

#[test]
fn the_answer_is_a_tree_with_counts_and_logs_in_time_order() {
    let declined = Status { code: 2, message: "declined".to_owned() };
    let answer = read(
        vec![
            ("pay", vec![Span { status: Some(declined), ..span(3, 2, "Charge", 2, 31, 39) }]),
            ("shop", vec![span(2, 1, "POST pay", 3, 30, 40), span(1, 0, "POST /checkout", 2, 0, 50)]),
        ],
        vec![("shop", vec![record(1, 45, 9, "done"), record(0, 1, 17, "start")])],
    );
    let charge = json!({
        "span_id": "0000000000000003", "parent_span_id": "0000000000000002", "name": "Charge", "kind": "server",
        "service": "pay", "start": "2026-01-01T00:00:00.031000000Z", "duration_ms": 8.0,
        "status": "error", "status_message": "declined", "error": true, "children": [],
    });
    let call = json!({
        "span_id": "0000000000000002", "parent_span_id": "0000000000000001", "name": "POST pay", "kind": "client",
        "service": "shop", "start": "2026-01-01T00:00:00.030000000Z", "duration_ms": 10.0,
        "status": "unset", "error": false, "children": [charge],
    });
    let root = json!({
        "span_id": "0000000000000001", "parent_span_id": "", "name": "POST /checkout", "kind": "server",
        "service": "shop", "start": "2026-01-01T00:00:00.000000000Z", "duration_ms": 50.0,
        "status": "unset", "error": false, "children": [call],
    });
    assert_eq!(answer["tree"], json!([root]));
    assert_eq!(answer["missing_parents"], json!([]));
    let counts = json!([
        { "service": "pay", "spans": 1, "logs": 0, "errors": 1 },
        { "service": "shop", "spans": 2, "logs": 2, "errors": 1 },
    ]);
    assert_eq!(answer["service_counts"], counts);
    let logs = json!([
        { "time": "2026-01-01T00:00:00.001000000Z", "severity": "ERROR", "service": "shop", "span_id": "", "body": "start" },
        { "time": "2026-01-01T00:00:00.045000000Z", "severity": "INFO", "service": "shop",
          "span_id": "0000000000000001", "body": "done" },
    ]);
    assert_eq!(answer["log_records"], logs);
    assert_eq!(answer["truncated"], nothing_truncated());
}

#[test]
fn missing_parents_are_counted_and_their_children_say_so() {
    let spans = vec![span(1, 8, "a", 1, 0, 1), span(2, 8, "b", 1, 1, 2), span(3, 9, "c", 1, 2, 3)];
    let answer = read(vec![("a", spans)], vec![]);
    let missing = json!([
        { "span_id": "0000000000000008", "children": 2 },
        { "span_id": "0000000000000009", "children": 1 },
    ]);
    assert_eq!(answer["missing_parents"], missing);
    assert_eq!(answer["tree"].as_array().unwrap().len(), 3);
    assert_eq!(answer["tree"][0]["parent_missing"], true);
}

#[test]
fn what_the_engine_made_is_seen_with_its_links() {
    let attribute =
        |key: &str, value| KeyValue { key: key.to_owned(), value: any(value), ..KeyValue::default() };
    let synthetic = || attribute("correlation.synthetic", Any::BoolValue(true));
    let confidence = attribute("correlation.confidence", Any::DoubleValue(0.8));
    let link =
        Link { trace_id: vec![7; 16], span_id: vec![8; 8], attributes: vec![confidence], ..Link::default() };
    let bridge = Span {
        attributes: vec![synthetic()],
        links: vec![link; 20],
        ..span(1, 0, "correlation.link", 1, 0, 0)
    };
    let event =
        LogRecord { attributes: vec![synthetic()], event_name: "deploy".to_owned(), ..record(0, 0, 0, "") };
    let answer = read(vec![("a", vec![bridge])], vec![("a", vec![event])]);
    let shown = &answer["tree"][0];
    assert_eq!(shown["synthetic"], true);
    let link = json!({ "trace_id": "07".repeat(16), "span_id": "08".repeat(8), "confidence": 0.8 });
    assert_eq!((&shown["links"][0], &shown["links_left_out"]), (&link, &json!(4)));
    assert_eq!(
        (&answer["log_records"][0]["synthetic"], &answer["log_records"][0]["event_name"]),
        (&json!(true), &json!("deploy"))
    );
}

#[test]
fn a_chain_of_a_hundred_thousand_spans_is_answered_as_far_as_it_fits() {
    let chain = (1..=100_000).map(|id| span(id, id - 1, "link", 1, 0, 1));
    let answer = read(vec![("a", chain.collect())], vec![]);
    let mut node = &answer["tree"][0];
    for _ in 1..LEVELS_MAX - 1 {
        assert_eq!(node["children"].as_array().unwrap().len(), 1);
        node = &node["children"][0];
    }
    let deepest = node["children"].as_array().unwrap();
    assert_eq!(deepest.len(), SPANS_MAX - LEVELS_MAX + 1, "what is deeper stands beside the last");
    assert_eq!(answer["truncated"]["levels"], SPANS_MAX - LEVELS_MAX);
    assert_eq!(answer["truncated"]["spans"], 100_000 - SPANS_MAX);
}

#[test]
fn a_circle_of_parents_is_answered_once() {
    let circle = vec![span(1, 2, "a", 1, 0, 1), span(2, 1, "b", 1, 1, 2)];
    let answer = read(vec![("a", circle)], vec![]);
    assert_eq!(
        (&answer["tree"][0]["name"], &answer["tree"][0]["children"][0]["name"]),
        (&json!("a"), &json!("b"))
    );
    assert_eq!((&answer["missing_parents"], &answer["truncated"]), (&json!([]), &nothing_truncated()));
}

#[test]
fn what_does_not_fit_is_left_out_and_counted() {
    let long = "x".repeat(4_000);
    let records = (0..5_000).map(|time| record(0, time, 9, &long)).collect();
    let strangers = (0..1_500).map(|id| span(id + 1, id + 10_000, "s", 1, 0, 1)).collect();
    let answer = read(vec![("a", strangers)], vec![("a", records)]);
    let listed = answer["log_records"].as_array().unwrap().len();
    assert!(listed * 4_000 < BYTES_MAX && listed > 1_000, "{listed}");
    assert_eq!(answer["truncated"]["logs"], 5_000 - listed);
    assert_eq!(
        (&answer["truncated"]["spans"], &answer["truncated"]["missing_parents"]),
        (&json!(0), &json!(500))
    );
}
