//! Traces of gateway and engine themselves, from the client to the store: sent where they should be, and
//! harmless where they cannot be sent.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

mod collector;

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use collector::{Collector, client, set, trace_to};
use otlp_proto::opentelemetry::proto::collector::trace::v1::{
    ExportTraceServiceRequest, trace_service_client::TraceServiceClient,
};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use testbed::{
    Backend, EngineOptions, EngineProcess, GatewayOptions, GatewayProcess, LocalCluster, Shape, eventually,
};
use tonic::Request;

const EXPORT: &str = "opentelemetry.proto.collector.trace.v1.TraceService/Export";
const PARENT: &str = "00f067aa0ba902b7";
/// Generous for a machine that compiles beside the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// A trace id that no other test has.
fn trace(number: u32) -> String {
    format!("4bf92f3577b34da6a3ce929d{number:08x}")
}

fn traceparent(trace: &str, flags: &str) -> String {
    format!("00-{trace}-{PARENT}-{flags}")
}

/// Sends a span of some application, in a request that is part of a trace itself.
async fn send(gateway: &GatewayProcess, traceparent: &str) -> Response {
    let span = json!({ "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "GET /",
        "kind": 2, "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001000000000" });
    let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] }).to_string();
    let request = client().post(format!("{}/v1/traces", gateway.url())).body(body);
    let request = request.header("content-type", "application/json").header("traceparent", traceparent);
    request.header("tracestate", "shop=1").send().await.unwrap()
}

async fn in_memory() -> (EngineProcess, GatewayProcess) {
    let engine = EngineProcess::start(EngineOptions::default()).await.unwrap();
    let options = GatewayOptions { engines: vec![engine.url()], ..GatewayOptions::default() };
    let gateway = GatewayProcess::start(options).await.unwrap();
    (engine, gateway)
}

/// What a process has counted of its own spans in a state.
async fn counted(gateway: &GatewayProcess, state: &str, spans: u32) {
    gateway.wait_metric(&format!(r#"self_trace_spans_total{{state="{state}"}} {spans}"#)).await.unwrap();
}

#[tokio::test]
async fn a_request_is_one_trace_from_the_client_to_the_store() {
    let shape = Shape { backend: Backend::Redis, engines: 1, ..Shape::default() };
    let (collector, cluster) = (Collector::start().await, LocalCluster::start(&shape).await.unwrap());
    let (engine, gateway) = (&cluster.engines()[0], &cluster.gateways()[0]);
    collector.over_grpc(engine.process());
    collector.over_http(gateway.process());
    engine.restart().await.unwrap();
    gateway.restart().await.unwrap();

    let id = trace(1);
    assert_eq!(send(gateway, &traceparent(&id, "01")).await.status(), StatusCode::OK);
    let spans = collector.spans(&id, 4).await;
    let chain = [("POST /v1/traces", 2), (EXPORT, 3), (EXPORT, 2), ("append", 3)];
    let mut parent = PARENT;
    for (span, (name, kind)) in spans.iter().zip(chain) {
        assert_eq!(
            (span.name(), &span.span["kind"], span.parent()),
            (name, &json!(kind), parent),
            "{spans:#?}"
        );
        assert_eq!(span.span["traceState"], "shop=1", "{span:?}");
        parent = span.id();
    }
    let services: Vec<_> = spans.iter().map(|span| span.service.as_str()).collect();
    let (front, back) = ("correlation-ingest-gateway", "correlation-engine");
    assert_eq!(services, [front, front, back, back]);
    let engine_port = Value::from(engine.grpc().port().to_string());
    for (span, key, value) in [
        (0, "http.request.method", json!("POST")),
        (0, "http.route", json!("/v1/traces")),
        (0, "url.path", json!("/v1/traces")),
        (0, "url.scheme", json!("http")),
        (0, "http.response.status_code", json!("200")),
        (0, "server.address", json!("127.0.0.1")),
        (1, "rpc.system", json!("grpc")),
        (1, "rpc.service", json!("opentelemetry.proto.collector.trace.v1.TraceService")),
        (1, "rpc.method", json!("Export")),
        (1, "rpc.grpc.status_code", json!("0")),
        (1, "server.port", engine_port.clone()),
        (1, "correlation.attempt.resend_count", Value::Null),
        (2, "rpc.method", json!("Export")),
        (2, "rpc.grpc.status_code", json!("0")),
        (2, "server.port", engine_port),
        (3, "db.system.name", json!("redis")),
        (3, "db.operation.name", json!("append")),
        (3, "db.operation.batch.size", json!("1")),
    ] {
        assert_eq!(spans[span].get(key), value, "{key} of {:?}", spans[span]);
    }

    // The other door.
    let id = trace(2);
    let mut request = Request::new(ExportTraceServiceRequest::default());
    request.metadata_mut().insert("traceparent", traceparent(&id, "01").parse().unwrap());
    let door = format!("http://{}", gateway.grpc());
    TraceServiceClient::connect(door).await.unwrap().export(request).await.unwrap();
    let spans = collector.spans(&id, 4).await;
    let names: Vec<_> = spans.iter().map(|span| (span.name(), span.span["kind"].as_u64().unwrap())).collect();
    assert_eq!(names, [(EXPORT, 2), (EXPORT, 3), (EXPORT, 2), ("append", 3)]);
    assert_eq!(spans[0].parent(), PARENT);
}

#[tokio::test]
async fn each_attempt_has_a_span_and_one_that_nobody_waits_for_says_so() {
    let settings = vec![("engines.hedge_ms".to_owned(), "10".to_owned())];
    let shape = Shape { backend: Backend::Redis, engines: 2, gateway_settings: settings, ..Shape::default() };
    let (collector, cluster) = (Collector::start().await, LocalCluster::start(&shape).await.unwrap());
    let gateway = &cluster.gateways()[0];
    collector.over_http(gateway.process());
    gateway.restart().await.unwrap();
    // Ready means that one engine is; both are needed.
    gateway.wait_metric("gateway_engines_ready 2").await.unwrap();
    for engine in cluster.engines() {
        engine.process().pause().unwrap();
    }
    let id = trace(3);
    let traceparent = traceparent(&id, "01");
    let (answer, ()) = tokio::join!(send(gateway, &traceparent), async {
        gateway.wait_metric("gateway_hedges_total 1").await.unwrap();
        for engine in cluster.engines() {
            engine.process().resume().unwrap();
        }
    });
    assert_eq!(answer.status(), StatusCode::OK);
    let spans = collector.spans(&id, 3).await;
    let (first, hedge) = (&spans[1], &spans[2]);
    assert!([first, hedge].iter().all(|attempt| attempt.parent() == spans[0].id()), "{spans:#?}");
    assert_ne!(first.get("server.port"), hedge.get("server.port"));
    assert_eq!(first.get("correlation.attempt.resend_count"), Value::Null);
    assert_eq!(hedge.get("correlation.attempt.resend_count"), "1");
    assert_eq!(hedge.get("correlation.attempt.hedge"), true);
    let is_abandoned = |attempt: &collector::Seen| attempt.get("correlation.attempt.abandoned") == true;
    assert!(is_abandoned(first) != is_abandoned(hedge), "{spans:#?}");
}

#[tokio::test]
async fn what_a_client_does_not_sample_is_not_traced() {
    let (collector, (engine, gateway)) = (Collector::start().await, in_memory().await);
    for process in [engine.process(), gateway.process()] {
        collector.over_http(process);
    }
    engine.restart().await.unwrap();
    gateway.restart().await.unwrap();
    let (unsampled, sampled) = (trace(4), trace(5));
    send(&gateway, &traceparent(&unsampled, "00")).await;
    send(&gateway, &traceparent(&sampled, "01")).await;
    // The first one ended first, also at the engine, which hears of it from the gateway.
    collector.spans(&sampled, 4).await;
    assert!(collector.read(&unsampled).await.is_empty());
    counted(&gateway, "ended", 2).await;
}

#[tokio::test]
async fn nothing_is_traced_by_default_nor_when_it_is_switched_off() {
    let (collector, (_engine, gateway)) = (Collector::start().await, in_memory().await);
    let process = gateway.process();
    assert_eq!(process.log_lines("traces=off").unwrap().len(), 1);
    for (variable, value) in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        collector.over_http(process);
        set(process, variable, value);
        gateway.restart().await.unwrap();
        let id = trace(6);
        assert_eq!(send(&gateway, &traceparent(&id, "01")).await.status(), StatusCode::OK);
        let (_, metrics) = gateway.admin_get("/metrics").await.unwrap();
        assert!(!metrics.contains("self_trace_spans_total{"), "{variable}");
        process.terminate(PATIENCE).await.unwrap();
        assert!(collector.read(&id).await.is_empty(), "{variable}");
        process.set_variable(variable, None);
    }
    assert_eq!(process.log_lines("traces=off").unwrap().len(), 3);
}

#[tokio::test]
async fn a_port_of_the_process_as_endpoint_stops_the_start() {
    let (engine, gateway) = in_memory().await;
    for (process, own, key) in [
        (engine.process(), engine.grpc(), "grpc.listen"),
        (gateway.process(), gateway.http(), "http.listen"),
        (gateway.process(), gateway.grpc(), "otlp_grpc.listen"),
    ] {
        trace_to(process, &format!("http://localhost:{}", own.port()));
        process.restart().unwrap();
        assert_eq!(process.wait(PATIENCE).await.unwrap().code(), Some(78), "{key}");
        let lines = process.log_lines(&format!("this is {key} = {own}, a port of this process")).unwrap();
        assert_eq!(lines.len(), 1, "{key}");
    }
}

#[tokio::test]
async fn traces_that_come_back_make_no_more_traces() {
    let (engine, gateway) = in_memory().await;
    let settings = vec![("trace.into_itself".to_owned(), "true".to_owned())];
    let options = GatewayOptions { engines: vec![engine.url()], settings, ..GatewayOptions::default() };
    drop(gateway);
    let gateway = GatewayProcess::start(options).await.unwrap();
    trace_to(gateway.process(), &gateway.url());
    gateway.restart().await.unwrap();
    send(&gateway, &traceparent(&trace(7), "01")).await;
    // An export that was answered has passed the door, and its span would have ended.
    counted(&gateway, "exported", 2).await;
    counted(&gateway, "ended", 2).await;
}

#[tokio::test]
async fn a_collector_that_never_answers_delays_neither_requests_nor_the_end() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (engine, gateway) = in_memory().await;
    for process in [engine.process(), gateway.process()] {
        trace_to(process, &format!("http://{}", silent.local_addr().unwrap()));
    }
    engine.restart().await.unwrap();
    gateway.restart().await.unwrap();
    for number in 0..20 {
        let asked = Instant::now();
        assert_eq!(send(&gateway, &traceparent(&trace(100 + number), "01")).await.status(), StatusCode::OK);
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    }
    counted(&gateway, "ended", 40).await;
    for process in [gateway.process(), engine.process()] {
        let asked = Instant::now();
        assert_eq!(process.terminate(PATIENCE).await.unwrap().code(), Some(0));
        // An export alone would take the 10 s of OTEL_EXPORTER_OTLP_TIMEOUT.
        assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn what_is_left_is_sent_at_the_end_of_the_process() {
    let (collector, (_engine, gateway)) = (Collector::start().await, in_memory().await);
    collector.over_http(gateway.process());
    // Longer than anybody waits here.
    set(gateway.process(), "OTEL_BSP_SCHEDULE_DELAY", "600000");
    gateway.restart().await.unwrap();
    let id = trace(8);
    send(&gateway, &traceparent(&id, "01")).await;
    gateway.process().terminate(PATIENCE).await.unwrap();
    collector.spans(&id, 2).await;
}

#[tokio::test]
async fn the_log_of_a_request_names_its_trace() {
    let settings = [("memory.bytes_max", "1"), ("log.format", "json")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let options = EngineOptions { settings: settings.to_vec(), ..EngineOptions::default() };
    let (collector, engine) = (Collector::start().await, EngineProcess::start(options).await.unwrap());
    collector.over_http(engine.process());
    engine.restart().await.unwrap();
    let options = GatewayOptions { engines: vec![engine.url()], ..GatewayOptions::default() };
    let gateway = GatewayProcess::start(options).await.unwrap();
    let id = trace(9);
    collector.over_http(gateway.process());
    gateway.restart().await.unwrap();
    assert_eq!(send(&gateway, &traceparent(&id, "01")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let mut line = String::new();
    let refused = eventually("the line about the refusal", PATIENCE, async || {
        line = engine.process().log_lines("refused as unavailable").unwrap().pop().unwrap_or_default();
        !line.is_empty()
    });
    refused.await.unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["trace_id"], id.as_str(), "{line}");
    let spans = collector.spans(&id, 4).await;
    let server =
        spans.iter().find(|span| span.span["kind"] == 2 && span.service == "correlation-engine").unwrap();
    assert_eq!(line["span_id"], server.id(), "{line}");
    assert_eq!(server.get("rpc.grpc.status_code"), "14");
    assert_eq!(server.span["status"]["code"], 2, "{server:?}");
    assert_eq!(spans[0].get("http.response.status_code"), "503");
    assert_eq!(spans[3].get("error.type"), "retryable");
}
