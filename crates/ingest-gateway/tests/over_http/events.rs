//! `GET /api/v1/events`: what engines tell of, as one stream for whoever listens.

use std::{cell::Cell, sync::Arc, time::Duration};

use nix::sys::signal::Signal;
use otlp_proto::correlation::v1::{
    CloseCause, ClosedEvent, CorrelationKey, WatchRequest, watch_response::Told,
};
use prost_types::Timestamp;
use serde_json::{Value, json};
use tokio::{sync::Notify, time::timeout};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    engine::{Answer, FakeEngine, summary},
    gateway::{Gateway, PROTOBUF, Reply},
    query::{self, assert_problem},
};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream of events as a client reads it.
struct Events {
    response: reqwest::Response,
    read: String,
}

/// One event of it.
#[derive(Debug, PartialEq)]
struct Event {
    event: String,
    id: String,
    data: Value,
}

impl Events {
    async fn open(gateway: &Gateway, query: &str) -> Self {
        let response =
            gateway.client.get(gateway.url(&format!("/api/v1/events{query}"))).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!((&*header("content-type"), &*header("cache-control")), ("text/event-stream", "no-cache"));
        assert_eq!(header("x-accel-buffering"), "no");
        Self { response, read: String::new() }
    }

    /// The next event; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((frame, rest)) = self.read.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = frame.lines().filter_map(|line| line.split_once(": "));
                    lines.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
                };
                let event = field("event").map(|event| Event {
                    event,
                    id: field("id").unwrap_or_default(),
                    data: serde_json::from_str(&field("data").unwrap()).unwrap(),
                });
                self.read = rest.to_owned();
                // The others are comments, which keep the connection alive.
                if event.is_some() {
                    return event;
                }
                continue;
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.unwrap().unwrap()?;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn missed(&mut self) -> (Value, String) {
        let Event { event, data, .. } = self.next().await.unwrap();
        assert_eq!(event, "missed", "{data}");
        (data["count"].clone(), data["reason"].as_str().unwrap().to_owned())
    }
}

fn closed(generation: u64) -> Told {
    Told::Closed(ClosedEvent {
        event_id: format!("/order=4/2/1700000000005000/{generation}"),
        correlation: Some(summary()),
        generation,
        cause: CloseCause::MaxAge.into(),
        closed: Some(Timestamp { seconds: 1_700_000_001, nanos: 0 }),
        has_root: true,
        missing: 1,
        missing_parents: vec!["00000000000000ab".to_owned()],
    })
}

#[tokio::test]
async fn what_any_engine_closes_is_in_one_stream() {
    let (first, second) = (FakeEngine::start().await, FakeEngine::start().await);
    let gateway = Gateway::start(&[&first, &second], &[]).await;
    let filters = "?service=cart&environment=test&cause=max_age&key=order.id:7&error=true";
    let mut events = Events::open(&gateway, filters).await;
    let asked = WatchRequest {
        service: "cart".to_owned(),
        environment: "test".to_owned(),
        cause: CloseCause::MaxAge.into(),
        key: Some(CorrelationKey { name: "order.id".to_owned(), value: "7".to_owned() }),
        has_errors: Some(true),
    };
    assert_eq!((first.watched(), second.watched()), (vec![asked.clone()], vec![asked]));
    for (engine, generation) in [(&second, 1), (&first, 2)] {
        engine.tells(closed(generation));
        let expected = Event {
            event: "closed".to_owned(),
            id: format!("/order=4/2/1700000000005000/{generation}"),
            data: json!({
                "event_id": format!("/order=4/2/1700000000005000/{generation}"),
                "generation": generation,
                "cause": "max_age",
                "closed": "2023-11-14T22:13:21Z",
                "has_root": true,
                "missing": 1,
                "missing_parents": ["00000000000000ab"],
                "correlation": query::summary(),
            }),
        };
        assert_eq!(events.next().await, Some(expected));
    }
}

#[tokio::test]
async fn what_is_not_in_the_stream_is_said() {
    let engine = FakeEngine::start().await;
    let gateway = Gateway::start(&[&engine], &[]).await;
    let mut events = Events::open(&gateway, "").await;
    engine.tells(Told::Missed(3));
    assert_eq!(events.missed().await.0, json!(3));
    // An engine that goes is followed when it is back.
    engine.sends_watchers_away(Status::unavailable("the engine is draining"));
    let (count, reason) = events.missed().await;
    assert_eq!(count, Value::Null);
    assert!(reason.contains("not watched for now: the engine is draining"), "{reason}");
    let (count, reason) = events.missed().await;
    assert_eq!(count, Value::Null);
    assert!(reason.contains(&format!("{} is watched from now on", engine.address)), "{reason}");
    engine.tells(closed(1));
    assert_eq!(events.next().await.unwrap().event, "closed");
    assert_eq!(engine.watched().len(), 2);
}

#[tokio::test]
async fn engines_that_come_later_are_watched_and_the_dead_are_left() {
    let (first, later) = (FakeEngine::start().await, FakeEngine::start().await);
    later.set_serving(false).await;
    let gateway = Gateway::spawn(&[&first, &later], &[]).await;
    gateway.wait_engines_ready(1).await;
    let mut events = Events::open(&gateway, "").await;
    assert_eq!((first.watched().len(), later.watched().len()), (1, 0));
    later.set_serving(true).await;
    let (_, reason) = events.missed().await;
    assert!(reason.contains(&later.address.to_string()), "{reason}");
    let (address, later_one) = (first.address, later);
    first.kill().await;
    let (_, reason) = events.missed().await;
    assert!(reason.contains(&format!("engine {address} is not watched for now")), "{reason}");
    later_one.tells(closed(1));
    assert_eq!(events.next().await.unwrap().event, "closed");
}

#[tokio::test]
async fn a_stream_outlives_the_time_of_requests_and_takes_no_room_from_them() {
    let engine = FakeEngine::start().await;
    let settings = ["http.timeout_ms=200", "http.limits.requests_in_flight_max=1"];
    let gateway = Gateway::start(&[&engine], &settings).await;
    let mut events = Events::open(&gateway, "").await;
    // A request that begins later runs out of time first.
    engine.answers(Answer::When(Arc::new(Notify::new())));
    let late = Reply::of(gateway.post("/v1/traces", PROTOBUF, "")).await;
    assert_eq!(late.status, 503, "{}", late.text());
    engine.tells(closed(1));
    assert_eq!(events.next().await.unwrap().event, "closed");
}

#[tokio::test]
async fn streams_end_when_the_gateway_drains() {
    let engine = FakeEngine::start().await;
    let mut gateway = Gateway::start(&[&engine], &[]).await;
    let mut events = Events::open(&gateway, "").await;
    gateway.signal(Signal::SIGTERM);
    assert_eq!(events.next().await, None);
    // It would be 1 if streams were cut off after the grace for requests.
    assert_eq!(gateway.wait_exit().await.code(), Some(0), "{}", gateway.log());
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_hold_up_the_end() {
    let engine = FakeEngine::start().await;
    let mut gateway = Gateway::start(&[&engine], &["shutdown.grace_ms=2000"]).await;
    let mut events = Events::open(&gateway, "").await;
    // More than sockets take: 300 times 128 KiB, as it stands there twice.
    let event_id = "x".repeat(64 << 10);
    for _ in 0..300 {
        engine.tells(Told::Closed(ClosedEvent { event_id: event_id.clone(), ..ClosedEvent::default() }));
    }
    assert_eq!(events.next().await.unwrap().id, event_id);
    let (taken, since) = (Cell::new(0), Cell::new(0));
    let state = "a stream in which nothing moves";
    gateway
        .wait_for(state, async || {
            let is_still = taken.replace(engine.taken()) == engine.taken();
            since.set(if is_still { since.get() + 1 } else { 0 });
            since.get() > 20
        })
        .await;
    assert!(engine.taken() < 300, "it is more than there is room for");
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.wait_exit().await.code(), Some(0), "{}", gateway.log());
    assert!(gateway.log().contains("not waited for"), "it was waited for a while: {}", gateway.log());
}

#[tokio::test]
async fn streams_are_limited_until_a_client_goes() {
    let engine = FakeEngine::start().await;
    let gateway = Gateway::start(&[&engine], &["events.streams_max=1"]).await;
    let first = Events::open(&gateway, "").await;
    let refused = gateway.get("/api/v1/events").await;
    assert_problem(&refused, 503, "events.streams_max = 1");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(gateway.metric("gateway_event_streams_refused_total", "").await, 1.0);
    drop(first);
    let state = "a free place";
    gateway.wait_for(state, async || gateway.metric("gateway_event_streams ", "").await == 0.0).await;
    Events::open(&gateway, "").await;
}

#[tokio::test]
async fn what_cannot_be_watched_is_a_problem() {
    let engine = FakeEngine::start().await;
    let gateway = Gateway::start(&[&engine], &[]).await;
    let detail = r#"parameter cause = "late": expected complete, idle, max_age or full"#;
    assert_problem(&gateway.get("/api/v1/events?cause=late").await, 400, detail);
    let detail = r#"parameter status = "closed": unknown; there is service,"#;
    assert_problem(&gateway.get("/api/v1/events?status=closed").await, 400, detail);
    let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(2)));
    let full = Status::with_error_details(Code::ResourceExhausted, "watch.watchers_max", details);
    engine.answers(Answer::Status(full));
    let refused = gateway.get("/api/v1/events").await;
    assert_problem(&refused, 429, "watch.watchers_max");
    assert_eq!(refused.header("retry-after"), Some("2"));
    engine.set_serving(false).await;
    gateway.wait_engines_ready(0).await;
    assert_problem(&gateway.get("/api/v1/events").await, 503, "the only known engine is not ready");
}
