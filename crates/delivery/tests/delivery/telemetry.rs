//! What is sent to engines.

use otlp_proto::opentelemetry::proto::{
    collector::{
        logs::v1::{ExportLogsServiceRequest, logs_service_client::LogsServiceClient},
        trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    },
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use testbed::EngineProcess;
use tonic::transport::Channel;

pub(crate) fn trace_id(trace: u8) -> Vec<u8> {
    [[9; 15].as_slice(), &[trace]].concat()
}

fn channel(engine: &EngineProcess) -> Channel {
    Channel::from_shared(engine.url()).unwrap().connect_lazy()
}

/// Sends spans of a trace by their ids; 1 is the root, and the others are below it.
pub(crate) async fn send_spans(engine: &EngineProcess, trace: u8, ids: impl IntoIterator<Item = u64>) {
    let span = |id: u64| Span {
        trace_id: trace_id(trace),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if id == 1 { Vec::new() } else { 1_u64.to_be_bytes().to_vec() },
        name: format!("operation {id}"),
        ..Span::default()
    };
    let scope_spans =
        vec![ScopeSpans { spans: ids.into_iter().map(span).collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans };
    TraceServiceClient::new(channel(engine)).export(request).await.unwrap();
}

/// Sends log records of a trace by their names.
pub(crate) async fn send_logs(engine: &EngineProcess, trace: u8, names: &[&str]) {
    let record = |name: &&str| LogRecord {
        trace_id: trace_id(trace),
        event_name: (*name).to_owned(),
        ..LogRecord::default()
    };
    let scope_logs =
        vec![ScopeLogs { log_records: names.iter().map(record).collect(), ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let request = ExportLogsServiceRequest { resource_logs };
    LogsServiceClient::new(channel(engine)).export(request).await.unwrap();
}
