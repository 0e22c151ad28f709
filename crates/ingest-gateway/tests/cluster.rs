//! Gateway, engines and Redis Cluster together: both doors lead to the same correlations.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use otlp_codec::json::{Message as Json, to_protobuf};
use otlp_proto::raw::{
    logs::logs_service_client::LogsServiceClient, trace::trace_service_client::TraceServiceClient,
};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use testbed::{LocalCluster, Shape};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

struct Cluster {
    cluster: LocalCluster,
    client: Client,
}

impl Cluster {
    async fn start(shape: Shape) -> Self {
        let client = Client::builder().no_proxy().build().unwrap();
        Self { cluster: LocalCluster::start(&shape).await.unwrap(), client }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.cluster.gateways()[0].url())
    }

    async fn post(&self, path: &str, content_type: &str, body: Vec<u8>) -> Response {
        let request = self.client.post(self.url(path)).header("content-type", content_type);
        request.body(body).send().await.unwrap()
    }

    async fn accepted(&self, path: &str, content_type: &str, body: Vec<u8>) {
        let response = self.post(path, content_type, body).await;
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{text}");
        assert!(text.is_empty() || text == "{}", "nothing is rejected: {text}");
    }

    async fn ask(&self, method: Method, path: &str) -> (StatusCode, Value) {
        let response = self.client.request(method, self.url(path)).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }
}

fn traces(service: &str, spans: &[u64]) -> String {
    let span = |number: &u64| {
        json!({ "traceId": TRACE, "spanId": format!("{number:016x}"), "name": format!("operation {number}"), "kind": 2,
            "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001000000000" })
    };
    let spans: Vec<_> = spans.iter().map(span).collect();
    let attributes = json!([{ "key": "service.name", "value": { "stringValue": service } }]);
    json!({ "resourceSpans": [{ "resource": { "attributes": attributes }, "scopeSpans": [{ "spans": spans }] }] })
        .to_string()
}

fn logs(body: &str) -> String {
    let record =
        json!({ "traceId": TRACE, "timeUnixNano": "1700000000500000000", "body": { "stringValue": body } });
    json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] }).to_string()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_doors_and_every_encoding_lead_to_one_correlation() {
    let cluster = Cluster::start(Shape::default()).await;
    let text = traces("shop", &[1, 2, 3]);
    let protobuf = to_protobuf(Json::ExportTraceServiceRequest, text.as_bytes()).unwrap();
    let log_text = logs("paid");
    let log_protobuf = to_protobuf(Json::ExportLogsServiceRequest, log_text.as_bytes()).unwrap();

    // The same request by every way: it is one fragment, so it counts once.
    cluster.accepted("/v1/traces", "application/json", text.clone().into_bytes()).await;
    cluster.accepted("/v1/traces", "application/x-protobuf", protobuf.clone()).await;
    cluster.accepted("/v1/logs", "application/json; charset=utf-8", log_text.clone().into_bytes()).await;
    cluster.accepted("/v1/logs", "application/x-protobuf", log_protobuf.clone()).await;
    let gzipped = cluster.client.post(cluster.url("/v1/traces")).header("content-type", "application/json");
    let gzipped =
        gzipped.header("content-encoding", "gzip").body(gzip(text.as_bytes())).send().await.unwrap();
    assert_eq!(gzipped.status(), StatusCode::OK);
    for engine in cluster.cluster.engines() {
        let mut client = TraceServiceClient::connect(engine.url()).await.unwrap();
        client.export(bytes::Bytes::from(protobuf.clone())).await.unwrap();
        let mut client = LogsServiceClient::connect(engine.url()).await.unwrap();
        client.export(bytes::Bytes::from(log_protobuf.clone())).await.unwrap();
    }
    cluster.accepted("/v1/traces", "application/json", traces("cart", &[4]).into_bytes()).await;

    let full = cluster.get(&format!("/api/v1/correlations/{TRACE}?view=full")).await;
    assert_eq!((&full["spans"], &full["logs"]), (&json!(4), &json!(1)), "{full}");
    assert_eq!(full["services"], json!(["cart", "shop", "unknown_service"]));
    let spans = |part: &Value| part["scopeSpans"][0]["spans"].as_array().unwrap().len();
    let count: usize = full["traces_data"]["resourceSpans"].as_array().unwrap().iter().map(spans).sum();
    assert_eq!(count, 4);
    let record = &full["logs_data"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert_eq!(record["body"]["stringValue"], "paid", "{full}");
    let tree = cluster.get(&format!("/api/v1/correlations/{TRACE}")).await;
    assert_eq!((&tree["spans"], &tree["log_records"][0]["body"]), (&json!(4), &json!("paid")), "{tree}");
    assert_eq!(tree["service_counts"][0], json!({ "service": "cart", "spans": 1, "logs": 0, "errors": 0 }));

    let stats = cluster.get("/api/v1/stats").await;
    assert_eq!((&stats["correlations"], &stats["state"]), (&json!(1), &json!("redis-cluster")), "{stats}");
    assert_eq!(stats["engines"].as_array().unwrap().len(), 3);

    let listed = cluster.get("/api/v1/correlations?service=cart&limit=1").await;
    assert_eq!(listed["correlations"][0]["correlation_id"], TRACE, "{listed}");
    let (status, _) = cluster.ask(Method::DELETE, &format!("/api/v1/correlations/{TRACE}")).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, problem) = cluster.ask(Method::GET, &format!("/api/v1/correlations/{TRACE}")).await;
    assert_eq!((status, &problem["status"]), (StatusCode::NOT_FOUND, &json!(404)), "{problem}");
}

/// A trace of one span, of an order, that begins when its number says.
fn trace_of_order(number: u8, service: &str) -> (String, Vec<u8>) {
    let attributes = |key: &str, value: &str| json!([{ "key": key, "value": { "stringValue": value } }]);
    let trace_id = format!("{number:02x}").repeat(16);
    let span = json!({ "traceId": trace_id, "spanId": "0000000000000001", "name": "operation", "kind": 2,
        "startTimeUnixNano": format!("170000000{number}000000000"), "attributes": attributes("order.id", "7") });
    let resource = json!({ "attributes": attributes("service.name", service) });
    let request = json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "spans": [span] }] }] });
    (trace_id, request.to_string().into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_from_a_trace_is_found_from_it() {
    let settings = [("correlation.keys", r#"["order.id"]"#), ("correlation.grace_ms", "50")];
    let engine_settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let cluster =
        Cluster::start(Shape { replicas: 0, engines: 2, engine_settings, ..Shape::default() }).await;
    let ((first, request), (second, following)) = (trace_of_order(1, "shop"), trace_of_order(2, "pay"));
    cluster.accepted("/v1/traces", "application/json", request).await;
    cluster.accepted("/v1/traces", "application/json", following).await;

    let path = format!("/api/v1/correlations/{first}/related");
    testbed::eventually("they are linked", Duration::from_secs(30), async || {
        cluster.get(&path).await["related"].as_array().unwrap().len() == 1
    })
    .await
    .unwrap();
    let related = cluster.get(&path).await["related"][0].clone();
    assert_eq!((&related["direction"], &related["depth"]), (&json!("down"), &json!(1)), "{related}");
    assert_eq!((&related["from"], &related["to"]), (&json!(first), &json!(second)));
    assert_eq!((&related["synthetic"], &related["keys"]), (&json!(true), &json!(["order.id=7"])));
    assert_eq!(related["summary"]["service"], "pay");
    let listed = cluster.get(&format!("/api/v1/correlations?key=correlation.linked_trace_id:{first}")).await;
    assert_eq!(listed["correlations"][0]["correlation_id"], json!(second), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_may_die_one_after_the_other() {
    let cluster = Cluster::start(Shape::default()).await;
    for (number, engine) in (1..).zip(cluster.cluster.engines()) {
        for span in 1..=20 {
            let body = traces("shop", &[number * 100 + span]).into_bytes();
            cluster.accepted("/v1/traces", "application/json", body).await;
        }
        if number < 3 {
            engine.process().kill().unwrap();
        }
    }
    let summary = cluster.get(&format!("/api/v1/correlations/{TRACE}")).await;
    assert_eq!(summary["spans"], json!(60), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_hangs_delays_few_requests_and_is_taken_back() {
    let cluster = Cluster::start(Shape { engines: 2, ..Shape::default() }).await;
    let (hanging, gateway) = (&cluster.cluster.engines()[0], &cluster.cluster.gateways()[0]);
    let ready = async |count: u32| {
        let (_, metrics) = gateway.admin_get("/metrics").await.unwrap();
        metrics.lines().any(|line| line == format!("gateway_engines_ready {count}"))
    };
    testbed::eventually("both engines are ready", Duration::from_secs(30), async || ready(2).await)
        .await
        .unwrap();
    hanging.process().pause().unwrap();
    let (started, mut spans) = (Instant::now(), 0);
    while !ready(1).await {
        spans += 1;
        let (sent, body) = (Instant::now(), traces("shop", &[spans]).into_bytes());
        cluster.accepted("/v1/traces", "application/json", body).await;
        assert!(sent.elapsed() < Duration::from_secs(3), "a request waits for the engine that hangs");
    }
    // A second in a quiet machine; this one may be busy.
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    hanging.process().resume().unwrap();
    testbed::eventually("both engines are ready", Duration::from_secs(30), async || ready(2).await)
        .await
        .unwrap();
    let summary = cluster.get(&format!("/api/v1/correlations/{TRACE}")).await;
    assert_eq!(summary["spans"], json!(spans), "what came twice counts once: {summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_in_memory_answer_as_one_behind_a_gateway() {
    let cluster = Cluster::start(Shape { backend: testbed::Backend::Memory, ..Shape::default() }).await;
    testbed::eventually("all engines are ready", Duration::from_secs(30), async || {
        let (_, metrics) = cluster.cluster.gateways()[0].admin_get("/metrics").await.unwrap();
        metrics.lines().any(|line| line == "gateway_engines_ready 3")
    })
    .await
    .unwrap();
    // Five requests, each with a span of every trace.
    let trace = |number: u32| format!("4bf92f3577b34da6a3ce9290{number:08x}");
    for span in 1..=5 {
        let span = |number| json!({ "traceId": trace(number), "spanId": format!("{span:016x}"), "name": "operation" });
        let spans: Vec<_> = (0..30).map(span).collect();
        let request = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] }).to_string();
        cluster.accepted("/v1/traces", "application/json", request.into_bytes()).await;
    }
    let mut seen = Vec::new();
    let mut page = String::new();
    loop {
        let listed = cluster.get(&format!("/api/v1/correlations?limit=7&page_token={page}")).await;
        for summary in listed["correlations"].as_array().unwrap() {
            assert_eq!(summary["spans"], 5, "a trace is whole where it is: {summary}");
            seen.push(summary["correlation_id"].as_str().unwrap().to_owned());
        }
        listed["next_page_token"].as_str().unwrap().clone_into(&mut page);
        if page.is_empty() {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, (0..30).map(trace).collect::<Vec<_>>(), "each once");
    let stats = cluster.get("/api/v1/stats").await;
    assert_eq!((&stats["correlations"], &stats["state"]), (&json!(30), &json!("memory")), "{stats}");
    let full = cluster.get(&format!("/api/v1/correlations/{}?view=full", trace(7))).await;
    assert_eq!(full["spans"], 5, "{full}");
    let (status, _) = cluster.ask(Method::DELETE, &format!("/api/v1/correlations/{}", trace(7))).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(cluster.get("/api/v1/stats").await["correlations"], 29);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_goes_away_is_a_503_until_it_is_back() {
    let backend = testbed::Backend::Redis;
    let cluster = Cluster::start(Shape { backend, engines: 1, ..Shape::default() }).await;
    let body = |number| traces("shop", &[number]).into_bytes();
    cluster.accepted("/v1/traces", "application/json", body(1)).await;
    let redis = &cluster.cluster.redis_nodes()[0];
    redis.terminate().await.unwrap();
    let refused = cluster.post("/v1/traces", "application/json", body(2)).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    let status: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(status["code"], json!(14), "a google.rpc.Status: {status}");
    let (status, _) = cluster.ask(Method::GET, &format!("/api/v1/correlations/{TRACE}")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);

    redis.restart().await.unwrap();
    testbed::eventually("requests are accepted again", Duration::from_secs(30), async || {
        cluster.post("/v1/traces", "application/json", body(2)).await.status() == StatusCode::OK
    })
    .await
    .unwrap();
    let summary = cluster.get(&format!("/api/v1/correlations/{TRACE}")).await;
    assert_eq!(summary["spans"], json!(2), "what was acknowledged before is still there: {summary}");
}
