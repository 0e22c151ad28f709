//! Bridges between traces, delivered with the trace that they belong to.

use otlp_proto::opentelemetry::proto::{
    collector::trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData},
};
use prost::Message as _;
use testbed::{EngineProcess, State};

use crate::{
    endpoint::Endpoint,
    engine::{Endpoints, of, redis, until},
    telemetry::send_spans,
};

/// Sends the root of a trace of an order, of a service of its own, that begins when its number says.
async fn send_root(engine: &EngineProcess, trace: u8) {
    let attribute = |key: &str, text: String| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(text)) }),
        ..KeyValue::default()
    };
    let span = Span {
        trace_id: [[9; 15].as_slice(), &[trace]].concat(),
        span_id: 1_u64.to_be_bytes().to_vec(),
        start_time_unix_nano: 1_700_000_000_000_000_000 + u64::from(trace) * 1_000_000,
        attributes: vec![attribute("order.id", "7".to_owned())],
        ..Span::default()
    };
    let resource_spans = vec![ResourceSpans {
        resource: Some(Resource {
            attributes: vec![attribute("service.name", format!("service {trace}"))],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }];
    let mut client = TraceServiceClient::connect(engine.url()).await.unwrap();
    client.export(ExportTraceServiceRequest { resource_spans }).await.unwrap();
}

/// Trace and links of the bridges that the endpoint has.
fn bridges(endpoint: &Endpoint) -> Vec<(u8, usize)> {
    let payloads: Vec<_> = endpoint.received().iter().map(|received| received.payload.clone()).collect();
    let data = payloads.into_iter().flat_map(|payload| TracesData::decode(payload).unwrap().resource_spans);
    let spans = data.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
    let bridges = spans.filter(|span| span.name == "correlation.link");
    bridges.map(|span| (span.trace_id[15], span.links.len())).collect()
}

async fn a_bridge_goes_out_with_its_trace_and_only_once(state: State) {
    let endpoint = Endpoint::start().await;
    let endpoints = Endpoints::new().with("a", &endpoint, "");
    let engine = endpoints.engine_with(state, &[("correlation.keys", "[\"order.id\"]")]).await;
    send_root(&engine, 1).await;
    send_root(&engine, 2).await;
    until("both traces are there", || endpoint.spans().len() == 3).await;
    assert_eq!(bridges(&endpoint), [(2, 1)]);

    // A late span is the only news of the next generation.
    send_spans(&engine, 2, [3]).await;
    until("what is late is there", || endpoint.spans().contains_key(&(2, 3))).await;
    assert_eq!(bridges(&endpoint), [(2, 1)]);
    let spans = endpoint.spans();
    assert!(spans.len() == 4 && spans.values().all(|count| *count == 1), "{spans:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_is_delivered_with_its_trace_and_only_once() {
    a_bridge_goes_out_with_its_trace_and_only_once(State::Memory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_is_delivered_with_its_trace_and_only_once_with_state_in_redis() {
    let redis = redis().await;
    a_bridge_goes_out_with_its_trace_and_only_once(of(&redis)).await;
}
