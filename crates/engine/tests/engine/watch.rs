//! Watching: who is told of which closes, and that nobody who watches is in the way.

use std::time::Duration;

use otlp_proto::{
    correlation::v1::{
        CloseCause, ClosedEvent, CorrelationKey, WatchRequest, WatchResponse, watch_response::Told,
        watch_service_client::WatchServiceClient,
    },
    opentelemetry::proto::{collector::trace::v1::ExportTraceServiceRequest, logs::v1::LogRecord},
};
use testbed::{EngineOptions, EngineProcess, certificates::write};
use tokio::time::timeout;
use tonic::{Code, Request, Status, Streaming, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    client::{attribute, channel, export, hex, log, log_request, logs, request_of, span, trace_id, traces},
    door::CREDENTIALS,
};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

async fn engine(settings: &[(&str, &str)]) -> EngineProcess {
    let fast = [("correlation.grace_ms", "20"), ("correlation.window_seconds", "1")];
    let settings = fast.iter().chain(settings);
    let settings = settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    EngineProcess::start(EngineOptions { settings, ..EngineOptions::default() }).await.unwrap()
}

fn client(engine: &EngineProcess) -> WatchServiceClient<Channel> {
    WatchServiceClient::new(channel(engine))
}

async fn watch(engine: &EngineProcess, request: WatchRequest) -> Streaming<WatchResponse> {
    client(engine).watch(request).await.unwrap().into_inner()
}

async fn next(told: &mut Streaming<WatchResponse>) -> Result<Option<WatchResponse>, Status> {
    timeout(PATIENCE, told.message()).await.unwrap()
}

async fn closed(told: &mut Streaming<WatchResponse>) -> ClosedEvent {
    match next(told).await.unwrap().unwrap().told.unwrap() {
        Told::Closed(event) => event,
        Told::Missed(count) => panic!("{count} are missed"),
    }
}

fn log_with(order: &str) -> LogRecord {
    LogRecord { attributes: vec![attribute("order.id", order)], ..log(None, "paid") }
}

fn id(event: &ClosedEvent) -> &str {
    &event.correlation.as_ref().unwrap().correlation_id
}

#[tokio::test(flavor = "multi_thread")]
async fn each_generation_is_told_once_with_what_was_closed_and_why() {
    let engine = engine(&[]).await;
    let mut told = watch(&engine, WatchRequest::default()).await;
    export(&engine, vec![span(1, 1), span(1, 2)]).await;
    let first = closed(&mut told).await;
    assert_eq!((id(&first), first.generation), (&*hex(&trace_id(1)), 1));
    assert_eq!((first.cause(), first.has_root, first.missing), (CloseCause::Complete, true, 0));
    let summary = first.correlation.as_ref().unwrap();
    assert_eq!((summary.spans, &*summary.service), (2, "shop"));
    assert!(first.closed.unwrap().seconds >= summary.first_seen.unwrap().seconds);

    // What was resent brings no event, what is late brings the next.
    export(&engine, vec![span(1, 2), span(1, 1)]).await;
    engine.wait_metric(r#"engine_closed_correlations_total{cause="no_news"} 1"#).await.unwrap();
    export(&engine, vec![span(1, 3)]).await;
    let second = closed(&mut told).await;
    assert_eq!((second.generation, second.correlation.as_ref().unwrap().spans), (2, 3));
    let name = |event: &ClosedEvent| event.event_id.rsplit_once('/').unwrap().0.to_owned();
    assert_eq!(name(&first), name(&second), "{first:?} {second:?}");

    // A gap is told of, with the parents that are missing.
    export(&engine, vec![span(2, 2)]).await;
    let idle = closed(&mut told).await;
    assert_eq!((idle.cause(), idle.has_root, idle.missing), (CloseCause::Idle, false, 1));
    assert_eq!(idle.missing_parents, ["0000000000000001"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_is_told_of_what_it_asked_for() {
    let engine = engine(&[("correlation.keys", "['order.id']")]).await;
    let key = Some(CorrelationKey { name: "order.id".to_owned(), value: "7".to_owned() });
    let mut of_cart = watch(&engine, WatchRequest { service: "cart".into(), ..Default::default() }).await;
    let mut of_order = watch(&engine, WatchRequest { key, ..Default::default() }).await;
    export(&engine, vec![span(1, 1)]).await;
    logs(&engine).export(log_request(vec![log_with("8")])).await.unwrap();
    logs(&engine).export(log_request(vec![log_with("7")])).await.unwrap();
    engine.wait_metric(r#"engine_closed_correlations_total{cause="idle"} 2"#).await.unwrap();
    traces(&engine).export(request_of("cart", vec![span(2, 1)])).await.unwrap();
    assert_eq!(id(&closed(&mut of_order).await), "order.id=7");
    assert_eq!(id(&closed(&mut of_cart).await), hex(&trace_id(2)));

    let wrong = WatchRequest { cause: 9, ..Default::default() };
    let refused = client(&engine).watch(wrong).await.unwrap_err();
    assert_eq!((refused.code(), refused.message().contains("cause")), (Code::InvalidArgument, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_another_tenant() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "auth.toml", CREDENTIALS).unwrap();
    let engine = engine(&[("auth.credentials", &file)]).await;
    let as_whom = |token: &str| {
        let mut metadata = tonic::metadata::MetadataMap::new();
        metadata.insert("authorization", format!("Bearer {token}").parse().unwrap());
        metadata
    };
    let signed = |token| Request::from_parts(as_whom(token), Default::default(), WatchRequest::default());
    let mut told = client(&engine).watch(signed("the-token-of-the-bank")).await.unwrap().into_inner();
    let anonymous = client(&engine).watch(WatchRequest::default()).await.unwrap_err();
    assert_eq!(anonymous.code(), Code::Unauthenticated);
    for (token, trace) in [("the-token-of-the-shop", 1), ("the-token-of-the-bank", 2)] {
        let spans = request_of("shop", vec![span(trace, 1)]);
        let request = Request::from_parts(as_whom(token), Default::default(), spans);
        traces(&engine).export(request).await.unwrap();
        engine
            .wait_metric(&format!(r#"engine_closed_correlations_total{{cause="complete"}} {trace}"#))
            .await
            .unwrap();
    }
    let event = closed(&mut told).await;
    assert_eq!(id(&event), hex(&trace_id(2)));
    assert!(event.event_id.starts_with("bank/"), "{}", event.event_id);
}

/// A watcher for whom little is on its way: what it does not read soon stays in its queue.
async fn slow_watcher(engine: &EngineProcess) -> Streaming<WatchResponse> {
    let little = Channel::from_shared(engine.url()).unwrap().initial_stream_window_size(1 << 16);
    let mut client = WatchServiceClient::new(little.connect_lazy());
    client.watch(WatchRequest::default()).await.unwrap().into_inner()
}

/// Sends so many traces of sixty services with long names, whose events have 15 KiB each, and waits until all
/// are closed.
async fn close_many(engine: &EngineProcess, count: u64) {
    for trace in 1..=count {
        let services = (1..=60).map(|number| {
            let mut request = request_of(&format!("{number:0250}"), vec![span(trace, number)]);
            request.resource_spans.remove(0)
        });
        let request = ExportTraceServiceRequest { resource_spans: services.collect() };
        traces(engine).export(request).await.unwrap();
    }
    let line = format!(r#"engine_closed_correlations_total{{cause="complete"}} {count}"#);
    engine.wait_metric(&line).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_does_not_hold_up_the_end() {
    let engine = engine(&[("shutdown.grace_ms", "3000")]).await;
    let _told = slow_watcher(&engine).await;
    close_many(&engine, 30).await;
    let status = engine.process().terminate(Duration::from_secs(15)).await.unwrap();
    // It would be 1 if the end had been waited for until the grace was over.
    assert_eq!(status.code(), Some(0));
    assert_eq!(engine.process().log_lines("not waited for").unwrap().len(), 1, "it was waited for a while");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_told_how_many_it_missed_and_holds_up_nobody() {
    let engine = engine(&[("watch.queue_bytes_max", "100000")]).await;
    let mut told = slow_watcher(&engine).await;
    const TRACES: u64 = 30;
    close_many(&engine, TRACES).await;
    let (mut events, mut missed) = (0, 0);
    while events + missed < TRACES {
        match next(&mut told).await.unwrap().unwrap().told.unwrap() {
            Told::Closed(_) => events += 1,
            Told::Missed(count) => missed += count,
        }
    }
    assert!(events > 0 && missed > 0, "{events} {missed}");
    engine.wait_metric(&format!("engine_watch_missed_events_total {missed}")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_take_no_room_from_requests_and_are_limited_themselves() {
    let settings = [("grpc.limits.requests_in_flight_max", "1"), ("watch.watchers_max", "2")];
    let engine = engine(&settings).await;
    let mut first = watch(&engine, WatchRequest::default()).await;
    let second = watch(&engine, WatchRequest::default()).await;
    let refused = client(&engine).watch(WatchRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.get_details_retry_info().is_some(), "it may come again");
    engine.wait_metric("engine_watch_refusals_total 1").await.unwrap();
    engine.wait_metric("engine_watchers 2").await.unwrap();
    // A place is free when one goes, and requests are taken on all the while.
    drop(second);
    engine.wait_metric("engine_watchers 1").await.unwrap();
    export(&engine, vec![span(1, 1)]).await;
    closed(&mut first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_outlives_the_time_of_requests_and_ends_when_the_engine_drains() {
    let settings = [("grpc.timeout_ms", "100"), ("correlation.window_seconds", "2")];
    let engine = engine(&settings).await;
    let mut told = watch(&engine, WatchRequest::default()).await;
    // Closed after twenty times the time of a request.
    export(&engine, vec![span(1, 2)]).await;
    assert_eq!(closed(&mut told).await.cause(), CloseCause::Idle);
    engine.process().signal(testbed::Signal::SIGTERM).unwrap();
    let end = next(&mut told).await.unwrap_err();
    assert_eq!((end.code(), end.message()), (Code::Unavailable, "the engine is draining"));
    // The grace for requests in flight is longer.
    let status = engine.process().wait(Duration::from_secs(15)).await.unwrap();
    assert_eq!(status.code(), Some(0));
}
