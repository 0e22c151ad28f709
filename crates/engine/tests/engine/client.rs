//! Small clients and messages that the tests share.

use otlp_proto::{
    correlation::v1::{
        GetCorrelationRequest, GetCorrelationResponse, View,
        correlation_service_client::CorrelationServiceClient,
    },
    opentelemetry::proto::{
        collector::{
            logs::v1::{ExportLogsServiceRequest, logs_service_client::LogsServiceClient},
            trace::v1::{
                ExportTraceServiceRequest, ExportTraceServiceResponse,
                trace_service_client::TraceServiceClient,
            },
        },
        common::v1::{AnyValue, KeyValue, any_value::Value},
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
        resource::v1::Resource,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    },
};
use testbed::{EngineOptions, EngineProcess};
use tonic::{Response, Status, transport::Channel};

/// An engine with its state in memory, on free ports.
pub(crate) async fn engine() -> EngineProcess {
    EngineProcess::start(EngineOptions::default()).await.unwrap()
}

pub(crate) fn channel(engine: &EngineProcess) -> Channel {
    Channel::from_shared(engine.url()).unwrap().connect_lazy()
}

pub(crate) fn traces(engine: &EngineProcess) -> TraceServiceClient<Channel> {
    TraceServiceClient::new(channel(engine))
}

pub(crate) fn logs(engine: &EngineProcess) -> LogsServiceClient<Channel> {
    LogsServiceClient::new(channel(engine))
}

pub(crate) fn correlations(engine: &EngineProcess) -> CorrelationServiceClient<Channel> {
    CorrelationServiceClient::new(channel(engine))
}

/// The trace id of a number.
pub(crate) fn trace_id(number: u64) -> Vec<u8> {
    (u128::from(number) + (0xfeed << 64)).to_be_bytes().to_vec()
}

/// The same as text.
pub(crate) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..Default::default() }
}

fn resource(service: &str) -> Option<Resource> {
    let attributes =
        vec![attribute("service.name", service), attribute("deployment.environment.name", "test")];
    Some(Resource { attributes, ..Default::default() })
}

/// Span `span` of trace `trace`; span 1 is the root.
pub(crate) fn span(trace: u64, span: u64) -> Span {
    Span {
        trace_id: trace_id(trace),
        span_id: span.to_be_bytes().to_vec(),
        parent_span_id: if span == 1 { Vec::new() } else { 1_u64.to_be_bytes().to_vec() },
        name: format!("operation {span}"),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000 + span * 1_000_000,
        end_time_unix_nano: 1_700_000_000_500_000_000 + span * 1_000_000,
        ..Default::default()
    }
}

/// One request of one service.
pub(crate) fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    request_of("shop", spans)
}

pub(crate) fn request_of(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: resource(service), scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }
}

pub(crate) fn log(trace: Option<u64>, body: &str) -> LogRecord {
    LogRecord {
        trace_id: trace.map(trace_id).unwrap_or_default(),
        time_unix_nano: 1_700_000_000_000_000_000,
        body: Some(AnyValue { value: Some(Value::StringValue(body.to_owned())) }),
        ..Default::default()
    }
}

pub(crate) fn log_request(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
    let resource_logs = vec![ResourceLogs { resource: resource("shop"), scope_logs, ..Default::default() }];
    ExportLogsServiceRequest { resource_logs }
}

/// Exports spans that must all be accepted.
pub(crate) async fn export(engine: &EngineProcess, spans: Vec<Span>) {
    let response = traces(engine).export(request(spans)).await.unwrap();
    assert_eq!(response.into_inner(), ExportTraceServiceResponse { partial_success: None });
}

/// Reads a trace with its telemetry.
pub(crate) async fn get(engine: &EngineProcess, trace: u64) -> Result<GetCorrelationResponse, Status> {
    let request = GetCorrelationRequest { correlation_id: hex(&trace_id(trace)), view: View::Full.into() };
    let mut client = correlations(engine).max_decoding_message_size(usize::MAX);
    client.get_correlation(request).await.map(Response::into_inner)
}

/// Number of distinct spans of a trace; 0 if it is not stored.
pub(crate) async fn span_count(engine: &EngineProcess, trace: u64) -> u64 {
    match get(engine, trace).await {
        Ok(response) => response.summary.unwrap().spans,
        Err(status) if status.code() == tonic::Code::NotFound => 0,
        Err(status) => panic!("{status}"),
    }
}
