//! Endpoints and engines that fail: everything arrives, and nobody else notices.

use std::time::{Duration, Instant};

use testbed::{EngineProcess, State};
use tonic::Code;

use crate::{
    content::once,
    endpoint::{Act, Endpoint},
    engine::{Endpoints, TIMEOUT, of, redis, until, until_metric},
    telemetry::{send_logs, send_spans},
};

/// Traces while the endpoint fails, and all.
const MEANWHILE: u8 = 20;
const ALL: u8 = 25;

async fn send(engine: &EngineProcess, traces: impl IntoIterator<Item = u8>) {
    for trace in traces {
        send_spans(engine, trace, [1, 2]).await;
    }
}

async fn an_endpoint_fails_and_comes_back(
    state: State,
    protocol: &str,
    fail: impl AsyncFn(&mut Endpoint),
    come_back: impl AsyncFn(&mut Endpoint),
) {
    let (healthy, mut failing) = (Endpoint::start().await, Endpoint::start().await);
    fail(&mut failing).await;
    let endpoints = Endpoints::new().with("healthy", &healthy, "").with(
        "failing",
        &failing,
        &format!("protocol = '{protocol}'"),
    );
    let engine = endpoints.engine(state).await;
    send(&engine, 1..=MEANWHILE).await;
    send_logs(&engine, 1, &["a log record"]).await;
    until("the healthy one has everything", || healthy.spans() == once(1..=MEANWHILE, 2)).await;
    until_metric(&engine, r#"delivery_endpoint_up{endpoint="failing",signal="traces"} 0"#).await;
    assert_eq!(failing.spans(), once([], 0));

    come_back(&mut failing).await;
    send(&engine, MEANWHILE + 1..=ALL).await;
    until("it has what it has missed", || failing.spans().len() == usize::from(ALL) * 2).await;
    until("and the log record", || failing.logs() == ["a log record"]).await;
    until_metric(&engine, r#"delivery_endpoint_up{endpoint="failing",signal="traces"} 1"#).await;
    until_metric(&engine, "delivery_in_flight_events 0").await;
    assert_eq!(failing.spans(), once(1..=ALL, 2), "each once");
    assert_eq!(healthy.spans(), once(1..=ALL, 2), "each once");
    assert_eq!(healthy.logs(), ["a log record"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_refuses_for_a_time_gets_everything_later() {
    let refuse = async |endpoint: &mut Endpoint| endpoint.becomes(Act::Refuse(Code::Unavailable));
    let take = async |endpoint: &mut Endpoint| endpoint.becomes(Act::Take);
    an_endpoint_fails_and_comes_back(State::Memory, "grpc", refuse, take).await;
    an_endpoint_fails_and_comes_back(State::Memory, "http/protobuf", refuse, take).await;
    let redis = redis().await;
    an_endpoint_fails_and_comes_back(of(&redis), "grpc", refuse, take).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_hangs_for_a_time_gets_everything_later() {
    let hang = async |endpoint: &mut Endpoint| endpoint.becomes(Act::Hang);
    let take = async |endpoint: &mut Endpoint| endpoint.becomes(Act::Take);
    let redis = redis().await;
    an_endpoint_fails_and_comes_back(of(&redis), "grpc", hang, take).await;
    an_endpoint_fails_and_comes_back(State::Memory, "http/protobuf", hang, take).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_away_for_a_time_gets_everything_later() {
    let leave = async |endpoint: &mut Endpoint| endpoint.stop();
    let come_back = async |endpoint: &mut Endpoint| endpoint.go_on().await;
    let redis = redis().await;
    an_endpoint_fails_and_comes_back(of(&redis), "grpc", leave, come_back).await;
    an_endpoint_fails_and_comes_back(State::Memory, "http/protobuf", leave, come_back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_engine_closed_that_was_killed_another_one_delivers() {
    let (redis, endpoint) = (redis().await, Endpoint::start().await);
    let endpoints = Endpoints::new().with("a", &endpoint, "");
    let first = endpoints.engine(of(&redis)).await;
    endpoint.becomes(Act::Hang);
    send(&first, 1..=9).await;
    until_metric(&first, r#"engine_closed_correlations_total{cause="complete"} 9"#).await;
    until("a request hangs", || !endpoint.received().is_empty()).await;
    first.process().kill().unwrap();
    assert_eq!(endpoint.spans(), once([], 0));
    endpoint.becomes(Act::Take);
    let _second = endpoints.engine(of(&redis)).await;
    until("the other one has delivered", || endpoint.spans() == once(1..=9, 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_terminated_delivers_what_it_has_closed() {
    let endpoint = Endpoint::start().await;
    let endpoints = Endpoints::new().with("a", &endpoint, "");
    let engine = endpoints.engine(State::Memory).await;
    endpoint.becomes(Act::TakeAfter(TIMEOUT / 2));
    send(&engine, 1..=9).await;
    until_metric(&engine, r#"engine_closed_correlations_total{cause="complete"} 9"#).await;
    let status = engine.process().terminate(Duration::from_secs(30)).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(endpoint.spans(), once(1..=9, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_due_yet_in_memory_is_delivered_before_its_engine_ends() {
    let endpoint = Endpoint::start().await;
    let endpoints = Endpoints::new().with("a", &endpoint, "");
    // The roots are missing, and nothing becomes idle.
    let patient = [("correlation.window_seconds", "600"), ("correlation.age_max_seconds", "600")];
    let engine = endpoints.engine_with(State::Memory, &patient).await;
    for trace in 1..=50 {
        send_spans(&engine, trace, [2, 3]).await;
    }
    let status = engine.process().terminate(Duration::from_secs(30)).await.unwrap();
    assert_eq!(status.code(), Some(0));
    let expected = once(1..=50, 3).into_iter().filter(|((_, span), _)| *span != 1);
    assert_eq!(endpoint.spans(), expected.collect());
    assert_eq!(engine.process().log_lines("everything in it is delivered").unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_engine_leaves_what_hangs_to_others_and_ends_in_time() {
    let (redis, endpoint) = (redis().await, Endpoint::start().await);
    // Others would have to wait for three minutes.
    let endpoints = Endpoints::patient().with("a", &endpoint, "");
    let first = endpoints.engine_with(of(&redis), &[("shutdown.grace_ms", "4000")]).await;
    endpoint.becomes(Act::Hang);
    send(&first, 1..=9).await;
    until_metric(&first, r#"engine_closed_correlations_total{cause="complete"} 9"#).await;
    until("a request hangs", || !endpoint.received().is_empty()).await;
    let status = first.process().terminate(Duration::from_secs(30)).await.unwrap();
    assert_eq!(status.code(), Some(0));
    endpoint.becomes(Act::Take);
    let began = Instant::now();
    let _second = endpoints.engine(of(&redis)).await;
    until("the other one has delivered", || endpoint.spans() == once(1..=9, 2)).await;
    assert!(began.elapsed() < Duration::from_secs(60), "it had to wait");
}
