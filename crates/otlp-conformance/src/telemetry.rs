//! Spans and log records to send, each case in traces of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use flate2::{Compression, write::GzEncoder};
use otlp_proto::opentelemetry::proto::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};

/// Some time in 2023, in nanoseconds since 1970.
pub(crate) const START_UNIX_NANO: u64 = 1_700_000_000_000_000_000;
pub(crate) const SECOND_NANOS: u64 = 1_000_000_000;

/// A trace that no other case sends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace([u8; 16]);

impl Trace {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = u128::from(NEXT.fetch_add(1, Ordering::Relaxed));
        // Letters in it show whether upper and lower case are the same.
        Self(((0xfeed_beef << 64) | number).to_be_bytes())
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.to_vec()
    }

    pub(crate) fn hex(self) -> String {
        hex(&self.0)
    }

    /// A valid span; the first is the root.
    pub(crate) fn span(self, number: u64) -> Span {
        Span {
            trace_id: self.bytes(),
            span_id: span_id(number),
            parent_span_id: if number == 1 { Vec::new() } else { span_id(1) },
            name: format!("operation {number}"),
            kind: 2,
            start_time_unix_nano: START_UNIX_NANO,
            end_time_unix_nano: START_UNIX_NANO + SECOND_NANOS,
            ..Span::default()
        }
    }

    /// A request with one valid span.
    pub(crate) fn request(self) -> ExportTraceServiceRequest {
        traces(vec![self.span(1)])
    }

    /// A valid log record of this trace.
    pub(crate) fn log(self) -> LogRecord {
        LogRecord { trace_id: self.bytes(), ..log("a log record") }
    }
}

/// The id of a span by its number.
pub(crate) fn span_id(number: u64) -> Vec<u8> {
    (0xab << 56 | number).to_be_bytes().to_vec()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A log record of no trace.
pub(crate) fn log(body: &str) -> LogRecord {
    LogRecord { time_unix_nano: START_UNIX_NANO, body: Some(text(body)), ..LogRecord::default() }
}

pub(crate) fn text(value: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(value.to_owned())) }
}

pub(crate) fn attribute(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn resource() -> Option<Resource> {
    Some(Resource { attributes: vec![attribute("service.name", text("shop"))], ..Resource::default() })
}

/// One request of one service.
pub(crate) fn traces(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: resource(), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}

/// One request of one service.
pub(crate) fn logs(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { resource: resource(), scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = std::io::Write::write_all(&mut encoder, plain).and_then(|()| encoder.finish());
    written.expect("writing to memory does not fail")
}
