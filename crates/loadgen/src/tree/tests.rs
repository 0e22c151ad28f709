//! Trees of small correlations, as a person sees them.

use otlp_proto::opentelemetry::proto::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData, span::SpanKind, status::StatusCode},
};
use prost::Message as _;

use super::*;

/// 2026-01-01T00:00:00Z.
const START: u64 = 1_767_225_600_000_000_000;
const MS: u64 = 1_000_000;

fn string(value: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) })
}

fn resource(service: &str) -> Option<Resource> {
    let name = KeyValue { key: "service.name".to_owned(), value: string(service), ..KeyValue::default() };
    Some(Resource { attributes: vec![name], ..Resource::default() })
}

fn span(id: u8, parent: u8, name: &str, kind: SpanKind, start_ms: u64, end_ms: u64) -> Span {
    Span {
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        name: name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: START + start_ms * MS,
        end_time_unix_nano: START + end_ms * MS,
        ..Span::default()
    }
}

fn traces(groups: Vec<(&str, Vec<Span>)>) -> TracesData {
    let group = |(service, spans): (&str, Vec<Span>)| ResourceSpans {
        resource: resource(service),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    };
    TracesData { resource_spans: groups.into_iter().map(group).collect() }
}

fn logs(service: &str, records: &[(u8, u64, &str)]) -> LogsData {
    let record = |(span, at_ms, body): &(u8, u64, &str)| LogRecord {
        span_id: vec![*span; 8],
        time_unix_nano: START + at_ms * MS,
        severity_text: "INFO".to_owned(),
        body: string(body),
        ..LogRecord::default()
    };
    let log_records = records.iter().map(record).collect();
    LogsData {
        resource_logs: vec![ResourceLogs {
            resource: resource(service),
            scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
            ..ResourceLogs::default()
        }],
    }
}

fn draw(summary: &CorrelationSummary, traces: &TracesData, logs: &LogsData) -> String {
    let (traces, logs) = (traces.encode_to_vec(), logs.encode_to_vec());
    super::draw(summary, &Forest::read(&traces, &logs).unwrap())
}

fn body_of(drawing: &str) -> String {
    let (_, body) = drawing.split_once("\n\n").unwrap();
    body.to_owned()
}

#[test]
fn spans_stand_under_their_parents_and_logs_under_their_spans() {
    let declined = Status { code: StatusCode::Error.into(), message: "declined".to_owned() };
    let failed = Span { status: Some(declined), ..span(4, 3, "Charge", SpanKind::Server, 31, 39) };
    let traces = traces(vec![
        ("payment", vec![failed]),
        (
            "shop",
            vec![
                span(3, 1, "POST payment", SpanKind::Client, 30, 40),
                span(2, 1, "load cart", SpanKind::Internal, 10, 20),
                span(1, 0, "POST /checkout", SpanKind::Server, 0, 50),
            ],
        ),
    ]);
    let logs = logs("shop", &[(1, 45, "done"), (2, 12, "two items"), (1, 1, "start"), (9, 3, "lost")]);
    let summary = CorrelationSummary {
        correlation_id: "ab".to_owned(),
        spans: 4,
        logs: 4,
        errors: 1,
        services: vec!["payment".to_owned(), "shop".to_owned()],
        ..CorrelationSummary::default()
    };
    let expected = "\
correlation ab
4 spans, 4 logs, 1 errors in 2 services; 50.0 ms from 2026-01-01T00:00:00.000Z

shop: POST /checkout [server] +0.0 ms 50.0 ms
│   » +1.0 ms INFO shop: start
│   » +45.0 ms INFO shop: done
├─ shop: load cart +10.0 ms 10.0 ms
│      » +12.0 ms INFO shop: two items
└─ shop: POST payment [client] +30.0 ms 10.0 ms
   └─ payment: Charge [server] +31.0 ms 8.0 ms ERROR declined

logs of no span above
  » +3.0 ms INFO shop: lost
";
    assert_eq!(draw(&summary, &traces, &logs), expected);
}

#[test]
fn a_span_whose_parent_is_not_here_is_a_root_that_says_so() {
    let traces = traces(vec![("a", vec![span(2, 1, "child", SpanKind::Internal, 0, 1)])]);
    let drawing = draw(&CorrelationSummary::default(), &traces, &LogsData::default());
    assert_eq!(body_of(&drawing), "a: child +0.0 ms 1.0 ms (its parent 0101010101010101 is not here)\n");
}

#[test]
fn spans_that_are_each_others_parents_are_drawn_once() {
    let circle = vec![
        span(1, 2, "one", SpanKind::Internal, 0, 1),
        span(2, 1, "two", SpanKind::Internal, 0, 1),
        span(3, 3, "self", SpanKind::Internal, 0, 1),
    ];
    let drawing = draw(&CorrelationSummary::default(), &traces(vec![("a", circle)]), &LogsData::default());
    for name in ["one", "two", "self"] {
        assert_eq!(drawing.matches(name).count(), 1, "{drawing}");
    }
}

#[test]
fn the_two_sides_of_a_call_that_share_an_id_stand_one_under_the_other() {
    let traces = traces(vec![
        (
            "b",
            vec![span(2, 1, "serve", SpanKind::Server, 2, 3), span(3, 2, "work", SpanKind::Internal, 2, 3)],
        ),
        ("a", vec![span(1, 0, "root", SpanKind::Server, 0, 9), span(2, 1, "call", SpanKind::Client, 1, 4)]),
    ]);
    let drawing = draw(&CorrelationSummary::default(), &traces, &LogsData::default());
    let expected = "\
a: root [server] +0.0 ms 9.0 ms
└─ a: call [client] +1.0 ms 3.0 ms
   └─ b: serve [server] +2.0 ms 1.0 ms
      └─ b: work +2.0 ms 1.0 ms
";
    assert_eq!(body_of(&drawing), expected);
}

#[test]
fn a_long_log_is_cut_at_its_first_line() {
    let logs = logs("a", &[(1, 0, "first\nsecond")]);
    let drawing = draw(&CorrelationSummary::default(), &TracesData::default(), &logs);
    assert!(drawing.contains("INFO a: first…\n"), "{drawing}");
}

#[test]
fn an_end_before_the_start_is_no_time_at_all() {
    let traces = traces(vec![("a", vec![span(1, 0, "odd", SpanKind::Internal, 5, 1)])]);
    let drawing = draw(&CorrelationSummary::default(), &traces, &LogsData::default());
    assert_eq!(body_of(&drawing), "a: odd +0.0 ms 0.0 ms\n");
}

#[test]
fn a_deep_chain_is_indented_up_to_a_limit_and_drawn_to_its_end() {
    let id = |number: u64| if number == 0 { Vec::new() } else { number.to_be_bytes().to_vec() };
    let link = |number| Span {
        span_id: id(number),
        parent_span_id: id(number - 1),
        ..span(1, 0, "link", SpanKind::Internal, 0, 1)
    };
    let chain = traces(vec![("a", (1..=10_000).map(link).collect())]);
    let drawing = draw(&CorrelationSummary::default(), &chain, &LogsData::default());
    assert_eq!(drawing.matches("link").count(), 10_000);
    let longest = drawing.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(longest < 3 * INDENTED_LEVELS_MAX + 40, "{longest}");
}
