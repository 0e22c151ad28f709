//! Gateway, engines and Redis together: an event that is posted, and the closes that everybody is told of.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

use std::{collections::BTreeSet, time::Duration};

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use testbed::{Backend, LocalCluster, Shape};
use tokio::time::timeout;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

async fn start() -> (LocalCluster, Client) {
    let setting = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let engine_settings = vec![
        setting("correlation.grace_ms", "200"),
        setting("correlation.window_seconds", "3"),
        setting("correlation.keys", "['order.id']"),
    ];
    let shape = Shape { backend: Backend::Redis, engines: 2, engine_settings, ..Shape::default() };
    let cluster = LocalCluster::start(&shape).await.unwrap();
    cluster.gateways()[0].wait_metric("gateway_engines_ready 2").await.unwrap();
    (cluster, Client::builder().no_proxy().build().unwrap())
}

async fn post(cluster: &LocalCluster, client: &Client, path: &str, body: &Value) -> (StatusCode, Value) {
    let url = format!("{}{path}", cluster.gateways()[0].url());
    let request = client.post(url).header("content-type", "application/json").body(body.to_string());
    let response = request.send().await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    (status, serde_json::from_str(&text).unwrap())
}

async fn get(cluster: &LocalCluster, client: &Client, path: &str) -> Response {
    let response = client.get(format!("{}{path}", cluster.gateways()[0].url())).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response
}

/// Sends the one span of a trace.
async fn send(cluster: &LocalCluster, client: &Client, trace_id: &str) {
    let span = json!({ "traceId": trace_id, "spanId": "00000000000000ab", "name": "GET /" });
    let traces = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] });
    assert_eq!(post(cluster, client, "/v1/traces", &traces).await, (StatusCode::OK, json!({})));
}

fn trace_id(number: u32) -> String {
    format!("4bf92f3577b34da6a3ce9290{number:08x}")
}

/// A stream of events, as far as it was read.
struct Events(Response, String);

impl Events {
    /// Name and data of the next event; `None` when the stream has ended.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((frame, rest)) = self.1.split_once("\n\n") {
                let field = |name| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let event = field("event: ").zip(field("data: "));
                self.1 = rest.to_owned();
                match event {
                    Some((event, data)) => return Some((event, serde_json::from_str(&data).unwrap())),
                    None => continue,
                }
            }
            let chunk = timeout(PATIENCE, self.0.chunk()).await.unwrap().unwrap()?;
            self.1.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn closed(&mut self) -> Value {
        let (event, data) = self.next().await.unwrap();
        assert_eq!(event, "closed", "{data}");
        data
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_posted_is_part_of_the_close_that_is_told() {
    let (cluster, client) = start().await;
    let mut all = Events(get(&cluster, &client, "/api/v1/events").await, String::new());
    let of_order = get(&cluster, &client, "/api/v1/events?key=order.id:7").await;
    let mut of_order = Events(of_order, String::new());

    // First the event: without the root nothing is whole.
    let event = json!({ "correlation_id": trace_id(1), "name": "deploy.finished", "service": "ci" });
    let (status, answer) = post(&cluster, &client, "/api/v1/events", &event).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    send(&cluster, &client, &trace_id(1)).await;
    let closed = all.closed().await;
    let correlation = &closed["correlation"];
    assert_eq!((&correlation["correlation_id"], &closed["cause"]), (&json!(trace_id(1)), &json!("complete")));
    assert_eq!((&correlation["spans"], &correlation["logs"]), (&json!(1), &json!(1)), "{closed}");

    // By a key, twice the same, and read back.
    let event = json!({ "correlation_id": "order.id=7", "name": "paid", "body": { "amount": 12.5 } });
    let (_, answer) = post(&cluster, &client, "/api/v1/events", &event).await;
    assert_eq!(post(&cluster, &client, "/api/v1/events", &answer).await, (StatusCode::CREATED, answer));
    let closed = of_order.closed().await;
    assert_eq!((&closed["correlation"]["logs"], &closed["cause"]), (&json!(1), &json!("idle")), "{closed}");
    let full = get(&cluster, &client, "/api/v1/correlations/order.id=7?view=full").await;
    let full: Value = serde_json::from_str(&full.text().await.unwrap()).unwrap();
    let record = &full["logs_data"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert_eq!((&full["logs"], &record["eventName"]), (&json!(1), &json!("paid")), "{full}");
    assert_eq!(
        record["attributes"][0],
        json!({ "key": "correlation.synthetic", "value": { "boolValue": true } })
    );
    let stray = json!({ "correlation_id": "user.id=7", "name": "paid" });
    assert_eq!(post(&cluster, &client, "/api/v1/events", &stray).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_close_of_any_engine_is_told_once_and_streams_hold_up_no_end() {
    let (cluster, client) = start().await;
    let mut all = Events(get(&cluster, &client, "/api/v1/events").await, String::new());
    let sent: BTreeSet<String> = (1..=40).map(trace_id).collect();
    for trace_id in &sent {
        send(&cluster, &client, trace_id).await;
    }
    let mut told = Vec::new();
    while told.len() < sent.len() {
        let closed = all.closed().await;
        told.push(closed["correlation"]["correlation_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), sent, "each once");

    let (ending, gateway) = (&cluster.engines()[0], &cluster.gateways()[0]);
    let ended = ending.process().terminate(Duration::from_secs(15)).await.unwrap();
    assert_eq!(ended.code(), Some(0), "less than its grace for requests");
    let (event, missed) = all.next().await.unwrap();
    assert_eq!((&*event, &missed["count"]), ("missed", &Value::Null), "{missed}");
    send(&cluster, &client, &trace_id(41)).await;
    assert_eq!(all.closed().await["correlation"]["correlation_id"], trace_id(41), "the other one goes on");

    let ended = gateway.process().terminate(Duration::from_secs(15)).await.unwrap();
    assert_eq!(ended.code(), Some(0), "less than its grace for requests");
    assert_eq!(all.next().await, None);
}
