//! Sends one trace with the official exporter of Rust and prints it as JSON, as it was set.
//!
//! Usage: `otlp-client-rust grpc|http`. Where to send it and how it is compressed is for the environment
//! to say: `OTEL_EXPORTER_OTLP_*`.

use std::{
    io::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use opentelemetry::{
    Array, Context, KeyValue, StringValue, Value,
    trace::{
        Event, Link, Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags,
        TraceId, TraceState, Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use serde_json::{Map, json};

/// What one span is made of; it is sent and printed from here.
struct Described {
    name: &'static str,
    kind: SpanKind,
    attributes: Vec<KeyValue>,
    events: Vec<(&'static str, Vec<KeyValue>)>,
    links: Vec<Link>,
    status: Status,
}

// The exporter needs a runtime for gRPC, and one that is not blocked for HTTP.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let protocol = std::env::args().nth(1).context("expected grpc or http")?;
    let provider = tokio::task::spawn_blocking(move || provider(&protocol)).await??;
    let tracer = provider.tracer("conformance");
    let start = SystemTime::now();

    let mut context = Context::new();
    let mut trace_id = TraceId::INVALID;
    let mut parent = SpanId::INVALID;
    let mut printed = Vec::new();
    for (number, described) in (0..).zip(described()) {
        let times = (start + Duration::from_nanos(number), start + Duration::from_millis(1 + number));
        let mut span = tracer
            .span_builder(described.name)
            .with_kind(described.kind.clone())
            .with_attributes(described.attributes.clone())
            .with_links(described.links.clone())
            .with_events(
                described
                    .events
                    .iter()
                    .map(|(name, attributes)| Event::new(*name, times.0, attributes.clone(), 0))
                    .collect(),
            )
            .with_start_time(times.0)
            .start_with_context(&tracer, &context);
        span.set_status(described.status.clone());
        span.end_with_timestamp(times.1);
        let ids = span.span_context().clone();
        printed.push(as_json(&described, &ids, parent, times)?);
        if parent == SpanId::INVALID {
            (trace_id, parent) = (ids.trace_id(), ids.span_id());
            context = context.with_remote_span_context(ids);
        }
    }
    tokio::task::spawn_blocking(move || provider.shutdown()).await??;
    let text = json!({ "traceId": trace_id.to_string(), "spans": printed });
    writeln!(std::io::stdout(), "{text}").context("failed to print what was sent")
}

fn provider(protocol: &str) -> anyhow::Result<SdkTracerProvider> {
    let builder = SpanExporter::builder();
    let exporter = match protocol {
        "grpc" => builder.with_tonic().build()?,
        _ => builder.with_http().build()?,
    };
    let resource = Resource::builder().with_service_name("client-rust").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

fn described() -> [Described; 3] {
    let texts = [StringValue::from("a"), StringValue::from("ü")].to_vec();
    let elsewhere = SpanContext::new(
        TraceId::from(0x5b8e_fff7_9803_8103_d269_b633_813f_c60c),
        SpanId::from(0xeee1_9b7e_c3c1_b174),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    [
        Described {
            name: "GET /Grüße/世界 🚀",
            kind: SpanKind::Server,
            attributes: vec![
                KeyValue::new("text", "Größe 世界 🚀"),
                KeyValue::new("flag", true),
                KeyValue::new("integer", -9_007_199_254_740_993_i64),
                KeyValue::new("double", 2.5),
                KeyValue::new("texts", Value::Array(Array::String(texts))),
                KeyValue::new("flags", Value::Array(vec![true, false].into())),
                KeyValue::new("integers", Value::Array(vec![1_i64, 2, 3].into())),
                KeyValue::new("doubles", Value::Array(vec![0.5, -1.25].into())),
                KeyValue::new("padding", "x".repeat(50_000)),
            ],
            events: Vec::new(),
            links: Vec::new(),
            status: Status::Unset,
        },
        Described {
            name: "query",
            kind: SpanKind::Client,
            attributes: Vec::new(),
            events: vec![("cache miss", vec![KeyValue::new("key", "ключ"), KeyValue::new("attempt", 2)])],
            links: vec![Link::new(elsewhere, vec![KeyValue::new("reason", "retry")], 0)],
            status: Status::error("no route to höst"),
        },
        Described {
            name: "plain",
            kind: SpanKind::Internal,
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            status: Status::Ok,
        },
    ]
}

fn as_json(
    described: &Described,
    ids: &SpanContext,
    parent: SpanId,
    (start, end): (SystemTime, SystemTime),
) -> anyhow::Result<serde_json::Value> {
    let kind = match described.kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    };
    let (code, message) = match &described.status {
        Status::Unset => (0, ""),
        Status::Ok => (1, ""),
        Status::Error { description } => (2, description.as_ref()),
    };
    let events = described.events.iter();
    let links = described.links.iter();
    Ok(json!({
        "spanId": ids.span_id().to_string(),
        "parentSpanId": if parent == SpanId::INVALID { String::new() } else { parent.to_string() },
        "name": described.name,
        "kind": kind,
        "startTimeUnixNano": nanos(start)?,
        "endTimeUnixNano": nanos(end)?,
        "attributes": attributes(&described.attributes),
        "events": events
            .map(|(name, of)| json!({ "name": name, "attributes": attributes(of) }))
            .collect::<Vec<_>>(),
        "links": links
            .map(|link| json!({
                "traceId": link.span_context.trace_id().to_string(),
                "spanId": link.span_context.span_id().to_string(),
                "attributes": attributes(&link.attributes),
            }))
            .collect::<Vec<_>>(),
        "status": { "code": code, "message": message },
    }))
}

fn nanos(time: SystemTime) -> anyhow::Result<String> {
    Ok(time.duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_nanos().to_string())
}

fn attributes(of: &[KeyValue]) -> Map<String, serde_json::Value> {
    let value = |value: &Value| match value {
        Value::Bool(value) => json!(value),
        Value::I64(value) => json!(value),
        Value::F64(value) => json!(value),
        Value::Array(Array::Bool(values)) => json!(values),
        Value::Array(Array::I64(values)) => json!(values),
        Value::Array(Array::F64(values)) => json!(values),
        Value::Array(Array::String(values)) => {
            json!(values.iter().map(StringValue::as_str).collect::<Vec<_>>())
        }
        other => json!(other.as_str()),
    };
    of.iter().map(|attribute| (attribute.key.to_string(), value(&attribute.value))).collect()
}
