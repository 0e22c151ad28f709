//! Doctored data: each kind of damage must be found.

use otlp_proto::opentelemetry::proto::{
    common::v1::{AnyValue, any_value::Value},
    logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData},
};

use super::*;

const TRACE_ID: [u8; 16] = [0xab; 16];
const TRACE: &str = "abababababababababababababababab";

fn span(id: u8) -> Span {
    Span {
        trace_id: TRACE_ID.to_vec(),
        span_id: vec![id; 8],
        kind: 2,
        name: format!("operation {id}"),
        ..Span::default()
    }
}

fn log(body: &str) -> LogRecord {
    LogRecord {
        trace_id: TRACE_ID.to_vec(),
        time_unix_nano: 5,
        body: Some(AnyValue { value: Some(Value::StringValue(body.to_owned())) }),
        ..LogRecord::default()
    }
}

fn traces(spans: &[Span]) -> TracesData {
    let scope_spans = vec![ScopeSpans { spans: spans.to_vec(), ..ScopeSpans::default() }];
    TracesData { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
}

fn logs(records: &[LogRecord]) -> LogsData {
    let scope_logs = vec![ScopeLogs { log_records: records.to_vec(), ..ScopeLogs::default() }];
    LogsData { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

/// Two spans, and three records of which two are equal.
fn sent() -> (TracesData, LogsData) {
    (traces(&[span(1), span(2)]), logs(&[log("a"), log("b"), log("b")]))
}

fn expected() -> ExpectedTrace {
    let (traces, logs) = sent();
    let mut expectation = Expectation::default();
    expectation.add_traces(&traces);
    expectation.add_logs(&logs);
    // Sent twice, it must still come out once.
    expectation.add_traces(&traces);
    expectation.add_logs(&logs);
    expectation.traces()[TRACE].clone()
}

/// Missing, extra and duplicated.
fn compare(traces: &TracesData, logs: &LogsData) -> (u64, u64, u64) {
    let found = expected().compare(TRACE, traces, logs);
    assert_eq!(found.is_none(), found.examples.is_empty());
    (found.missing, found.extra, found.duplicated)
}

#[test]
fn what_was_sent_is_as_expected_in_any_order() {
    let (traces_sent, logs_sent) = sent();
    assert_eq!(compare(&traces_sent, &logs_sent), (0, 0, 0));
    let reordered = (traces(&[span(2), span(1)]), logs(&[log("b"), log("a"), log("b")]));
    assert_eq!(compare(&reordered.0, &reordered.1), (0, 0, 0));
    assert_eq!((expected().span_count(), expected().log_count()), (2, 3));
}

#[test]
fn a_missing_span_is_found() {
    assert_eq!(compare(&traces(&[span(1)]), &sent().1), (1, 0, 0));
}

#[test]
fn a_span_that_was_never_sent_is_found() {
    assert_eq!(compare(&traces(&[span(1), span(2), span(3)]), &sent().1), (0, 1, 0));
}

#[test]
fn a_span_that_is_there_twice_is_found() {
    assert_eq!(compare(&traces(&[span(1), span(2), span(2)]), &sent().1), (0, 0, 1));
}

#[test]
fn an_altered_span_is_found() {
    let altered = Span { name: "another operation".to_owned(), ..span(2) };
    assert_eq!(compare(&traces(&[span(1), altered]), &sent().1), (1, 1, 0));
}

#[test]
fn a_span_of_another_trace_is_found() {
    let foreign = Span { trace_id: vec![0xcd; 16], ..span(2) };
    assert_eq!(compare(&traces(&[span(1), foreign]), &sent().1), (1, 1, 0));
}

#[test]
fn a_span_under_another_resource_is_found() {
    let (mut traces_sent, logs_sent) = sent();
    traces_sent.resource_spans[0].resource =
        Some(Resource { dropped_attributes_count: 1, ..Resource::default() });
    assert_eq!(compare(&traces_sent, &logs_sent), (2, 2, 0));
}

#[test]
fn spans_that_differ_in_kind_are_two_spans() {
    let client = Span { kind: 3, ..span(1) };
    assert_eq!(compare(&traces(&[span(1), span(2), client]), &sent().1), (0, 1, 0));
}

#[test]
fn a_missing_log_is_found() {
    assert_eq!(compare(&sent().0, &logs(&[log("b"), log("b")])), (1, 0, 0));
}

#[test]
fn a_missing_repetition_of_a_log_is_found() {
    assert_eq!(compare(&sent().0, &logs(&[log("a"), log("b")])), (1, 0, 0));
}

#[test]
fn a_log_that_was_never_sent_is_found() {
    assert_eq!(compare(&sent().0, &logs(&[log("a"), log("b"), log("b"), log("c")])), (0, 1, 0));
}

#[test]
fn a_log_that_is_there_too_often_is_found() {
    assert_eq!(compare(&sent().0, &logs(&[log("a"), log("a"), log("b"), log("b")])), (0, 0, 1));
}

#[test]
fn an_altered_log_is_found() {
    let altered = LogRecord { severity_number: 17, ..log("a") };
    assert_eq!(compare(&sent().0, &logs(&[altered, log("b"), log("b")])), (1, 1, 0));
}

#[test]
fn either_of_two_contradicting_spans_may_come_out_but_not_both() {
    let other = Span { name: "contradiction".to_owned(), ..span(1) };
    let mut expectation = Expectation::default();
    expectation.add_traces(&traces(&[span(1)]));
    expectation.add_traces(&traces(std::slice::from_ref(&other)));
    let trace = &expectation.traces()[TRACE];
    let compare = |spans: &[Span]| trace.compare(TRACE, &traces(spans), &LogsData::default());
    assert!(compare(&[span(1)]).is_none());
    assert!(compare(std::slice::from_ref(&other)).is_none());
    assert_eq!(compare(&[span(1), other]).duplicated, 1);
}

#[test]
fn nothing_is_expected_of_what_belongs_to_no_trace() {
    let mut expectation = Expectation::default();
    expectation.add_logs(&logs(&[LogRecord { trace_id: Vec::new(), ..log("a") }]));
    expectation.add_traces(&traces(&[Span { trace_id: vec![0; 16], ..span(1) }]));
    assert!(expectation.traces().is_empty());
    assert_eq!(expectation.without_trace(), 2);
}

#[test]
fn many_differences_are_all_counted_and_some_told() {
    let many: Vec<Span> = (10..60).map(span).collect();
    let found = expected().compare(TRACE, &traces(&many), &sent().1);
    assert_eq!((found.missing, found.extra), (2, 50));
    assert_eq!(found.examples.len(), EXAMPLES_MAX);
}
