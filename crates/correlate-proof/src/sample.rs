//! Small telemetry by numbers, for the special cases and the tests.

use otlp_proto::opentelemetry::proto::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData, span::SpanKind},
};

/// Start of everything here, in nanoseconds since 1970; like recorded telemetry, it is of the past.
const START_NANOS: u64 = 1_700_000_000_000_000_000;
const MILLISECOND_NANOS: u64 = 1_000_000;

/// A span that starts as many milliseconds after the others as its id says; parent 0 is none.
pub fn span(trace: u8, id: u8, parent: u8) -> Span {
    let start = START_NANOS + u64::from(id) * MILLISECOND_NANOS;
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        name: format!("step {id}"),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 100 * MILLISECOND_NANOS,
        ..Span::default()
    }
}

pub fn with_order(span: Span, order: &str) -> Span {
    Span { attributes: vec![attribute("order.id", order)], ..span }
}

pub fn log(trace: u8, span: u8, body: &str, order: &str) -> LogRecord {
    LogRecord {
        trace_id: vec![trace; 16],
        span_id: vec![span; 8],
        time_unix_nano: START_NANOS,
        body: Some(AnyValue { value: Some(Value::StringValue(body.to_owned())) }),
        attributes: vec![attribute("order.id", order)],
        ..LogRecord::default()
    }
}

/// Spans of the service `shop`.
pub fn traces(spans: impl IntoIterator<Item = Span>) -> TracesData {
    traces_of("shop", spans)
}

pub fn traces_of(service: &str, spans: impl IntoIterator<Item = Span>) -> TracesData {
    let scope_spans = vec![ScopeSpans { spans: spans.into_iter().collect(), ..ScopeSpans::default() }];
    let resource_spans =
        ResourceSpans { resource: resource(service), scope_spans, ..ResourceSpans::default() };
    TracesData { resource_spans: vec![resource_spans] }
}

pub fn logs(records: impl IntoIterator<Item = LogRecord>) -> LogsData {
    let scope_logs = vec![ScopeLogs { log_records: records.into_iter().collect(), ..ScopeLogs::default() }];
    let resource_logs = ResourceLogs { resource: resource("shop"), scope_logs, ..ResourceLogs::default() };
    LogsData { resource_logs: vec![resource_logs] }
}

fn resource(service: &str) -> Option<Resource> {
    Some(Resource { attributes: vec![attribute("service.name", service)], ..Resource::default() })
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}
