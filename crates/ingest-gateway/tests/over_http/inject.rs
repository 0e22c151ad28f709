//! `POST /api/v1/events`: an event becomes a log record, and is answered when an engine has it.

use bytes::Bytes;
use otlp_codec::json::{Message, from_protobuf};
use otlp_proto::opentelemetry::proto::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse,
};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    engine::{Answer, FakeEngine},
    gateway::{Gateway, JSON, Reply},
    query::assert_problem,
};

async fn post(gateway: &Gateway, event: &Value) -> Reply {
    Reply::of(gateway.post("/api/v1/events", JSON, event.to_string())).await
}

/// The one log record of the last export.
fn record(engine: &FakeEngine) -> Value {
    let (signal, request) = engine.received().pop().unwrap();
    assert_eq!(signal, "logs");
    let text = from_protobuf(Message::ExportLogsServiceRequest, &request).unwrap();
    let request: Value = serde_json::from_slice(&text).unwrap();
    request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0].clone()
}

#[tokio::test]
async fn an_event_is_sent_to_an_engine_as_a_log_record_and_answered_as_it_is() {
    let engine = FakeEngine::start().await;
    let gateway = Gateway::start(&[&engine], &[]).await;
    let posted = json!({ "correlation_id": "order.id=4/2", "name": "deploy.finished", "body": "done" });
    let reply = post(&gateway, &posted).await;
    assert_eq!((reply.status, reply.content_type()), (201, "application/json"), "{}", reply.text());
    assert_eq!(reply.header("location"), Some("/api/v1/correlations/order.id=4%2F2"));
    let sent = record(&engine);
    assert_eq!(
        (&sent["eventName"], &sent["body"]["stringValue"]),
        (&json!("deploy.finished"), &json!("done"))
    );
    let attributes = json!([
        { "key": "correlation.synthetic", "value": { "boolValue": true } },
        { "key": "order.id", "value": { "stringValue": "4/2" } },
    ]);
    assert_eq!(sent["attributes"], attributes);

    // With the time that was answered it is the same event, byte for byte, so it counts once.
    let mut event = reply.json();
    assert!(event["time"].is_string(), "{event}");
    assert_eq!(post(&gateway, &event).await.status, 201);
    event["time"] = json!("2023-11-14T22:13:20Z");
    assert_eq!(post(&gateway, &event).await.status, 201);
    let received: Vec<Bytes> = engine.received().into_iter().map(|(_, request)| request).collect();
    assert_eq!(received[0], received[1]);
    assert_ne!(received[0], received[2], "another time is another event");
    assert_eq!(record(&engine)["timeUnixNano"], "1700000000000000000");
}

#[tokio::test]
async fn what_is_no_event_is_refused_with_the_reason() {
    let engine = FakeEngine::start().await;
    let gateway = Gateway::start(&[&engine], &["events.max_body_bytes=200"]).await;
    let event = |id: &str| json!({ "correlation_id": id, "name": "paid" });
    let known = "expected a trace id, or a value of up to 256 bytes of one of the engines' correlation.keys: \
                 [order.id, user.id]";
    assert_problem(&post(&gateway, &event("shipment=7")).await, 400, known);
    assert_problem(
        &post(&gateway, &event("7")).await,
        400,
        "correlation_id: expected a trace id of 32 digits",
    );
    let mut elsewhere = event("user.id=7");
    elsewhere["attributes"] = json!({ "order.id": 8 });
    assert_problem(&post(&gateway, &elsewhere).await, 400, "put the event into correlation order.id=8");
    let mut unknown = event("user.id=7");
    unknown["colour"] = json!("red");
    assert_problem(&post(&gateway, &unknown).await, 400, "unknown field `colour`");
    let large = event(&"7".repeat(200));
    assert_problem(&post(&gateway, &large).await, 413, "larger than 200 bytes (events.max_body_bytes)");
    let text = Reply::of(gateway.post("/api/v1/events", "text/plain", event("user.id=7").to_string())).await;
    assert_problem(&text, 415, "expected application/json");
    assert!(engine.received().is_empty());
}

#[tokio::test]
async fn an_event_that_no_engine_takes_is_not_acknowledged() {
    let engine = FakeEngine::start().await;
    let gateway = Gateway::start(&[&engine], &[]).await;
    let event = json!({ "correlation_id": "ab".repeat(16), "name": "paid" });
    engine.fails(Code::Unavailable);
    let later = post(&gateway, &event).await;
    assert_problem(&later, 503, "said the engine");
    assert_eq!(later.header("retry-after"), Some("1"));
    let error_message = "1 would exceed correlation.spans_max of their correlation".to_owned();
    let partial_success = Some(ExportLogsPartialSuccess { rejected_log_records: 1, error_message });
    let answer = ExportLogsServiceResponse { partial_success }.encode_to_vec();
    engine.answers(Answer::Bytes(answer.into()));
    assert_problem(&post(&gateway, &event).await, 422, "would exceed correlation.spans_max");
    engine.set_serving(false).await;
    gateway.wait_engines_ready(0).await;
    assert_problem(&post(&gateway, &event).await, 503, "the only known engine is not ready");
}
