//! Telemetry in a form that can be compared: every span and log record on its own, together with
//! the resource and scope it came under.

use otlp_proto::opentelemetry::proto::{
    common::v1::{AnyValue, any_value::Value},
    logs::v1::{LogsData, ResourceLogs, ScopeLogs},
    trace::v1::{ResourceSpans, ScopeSpans, TracesData},
};
use prost::Message as _;

/// What makes a span the same span: within its trace, its id and kind. Client and server span of
/// one call may share an id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanIdentity {
    /// As received; 8 bytes when it is valid.
    pub span_id: Vec<u8>,
    /// Number of the OTLP span kind.
    pub kind: i32,
}

/// One span.
#[derive(Debug, Clone)]
pub struct SpanItem {
    /// 32 lower-case hexadecimal digits; empty when the span has no valid trace id.
    pub trace_id: String,
    /// What makes it the same span.
    pub identity: SpanIdentity,
    /// The encoded `TracesData` with this span alone.
    pub content: Vec<u8>,
}

/// One log record.
#[derive(Debug, Clone)]
pub struct LogItem {
    /// 32 lower-case hexadecimal digits; empty when the record has no valid trace id.
    pub trace_id: String,
    /// Time, span id and body text: how `expected.json` of a data set tells records apart.
    pub mark: (u64, Vec<u8>, String),
    /// The encoded `LogsData` with this record alone.
    pub content: Vec<u8>,
}

/// Takes traces apart into spans.
///
/// An absent resource or scope and an empty one are the same.
pub fn spans(traces: &TracesData) -> impl Iterator<Item = SpanItem> {
    traces.resource_spans.iter().flat_map(|resource_spans| {
        resource_spans.scope_spans.iter().flat_map(move |scope_spans| {
            scope_spans.spans.iter().map(move |span| {
                let alone = TracesData {
                    resource_spans: vec![ResourceSpans {
                        resource: Some(resource_spans.resource.clone().unwrap_or_default()),
                        scope_spans: vec![ScopeSpans {
                            scope: Some(scope_spans.scope.clone().unwrap_or_default()),
                            spans: vec![span.clone()],
                            schema_url: scope_spans.schema_url.clone(),
                        }],
                        schema_url: resource_spans.schema_url.clone(),
                    }],
                };
                SpanItem {
                    trace_id: trace_id(&span.trace_id),
                    identity: SpanIdentity { span_id: span.span_id.clone(), kind: span.kind },
                    content: alone.encode_to_vec(),
                }
            })
        })
    })
}

/// Takes logs apart into records.
///
/// An absent resource or scope and an empty one are the same.
pub fn logs(logs: &LogsData) -> impl Iterator<Item = LogItem> {
    logs.resource_logs.iter().flat_map(|resource_logs| {
        resource_logs.scope_logs.iter().flat_map(move |scope_logs| {
            scope_logs.log_records.iter().map(move |record| {
                let alone = LogsData {
                    resource_logs: vec![ResourceLogs {
                        resource: Some(resource_logs.resource.clone().unwrap_or_default()),
                        scope_logs: vec![ScopeLogs {
                            scope: Some(scope_logs.scope.clone().unwrap_or_default()),
                            log_records: vec![record.clone()],
                            schema_url: scope_logs.schema_url.clone(),
                        }],
                        schema_url: resource_logs.schema_url.clone(),
                    }],
                };
                let body = text(record.body.as_ref());
                LogItem {
                    trace_id: trace_id(&record.trace_id),
                    mark: (record.time_unix_nano, record.span_id.clone(), body),
                    content: alone.encode_to_vec(),
                }
            })
        })
    })
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A value as text for people; structured values in a debug form.
#[must_use]
pub fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        None => String::new(),
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        Some(other) => format!("{other:?}"),
    }
}

/// OTLP takes an id of another length, or all zeros, for none.
fn trace_id(bytes: &[u8]) -> String {
    let is_valid = bytes.len() == 16 && bytes.iter().any(|byte| *byte != 0);
    if is_valid { hex(bytes) } else { String::new() }
}
