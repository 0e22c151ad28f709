//! Engines that were switched from Redis to memory: what Redis holds is closed, delivered and served all the same.

use std::time::Duration;

use otlp_proto::correlation::v1::{
    CleanUpCorrelationsRequest, CorrelationSummary, CountCorrelationsRequest, DeleteCorrelationRequest,
    GetCorrelationRequest, GetLedgerRequest, LedgerAccount, ListCorrelationsRequest, View,
    correlation_service_client::CorrelationServiceClient,
};
use serde_json::Value;
use testbed::{EngineProcess, GatewayOptions, GatewayProcess, RedisCluster, State, Topology};
use tonic::{Code, Status, transport::Channel};

use crate::{
    content::once,
    endpoint::Endpoint,
    engine::{Endpoints, of, redis, until, until_metric},
    telemetry::{send_logs, send_spans, trace_id},
};

/// Longer than it takes to end one engine and to start another: what was sent to the first is in flight then.
const IN_FLIGHT: [(&str, &str); 2] = [("correlation.grace_ms", "6000"), ("correlation.window_seconds", "6")];

/// An engine with its state in memory that knows of a Redis.
async fn rolled_back(endpoints: &Endpoints, url: &str) -> EngineProcess {
    let further = [&[("redis.url", url)], &IN_FLIGHT[..]].concat();
    endpoints.engine_with(State::Memory, &further).await
}

fn client(engine: &EngineProcess) -> CorrelationServiceClient<Channel> {
    CorrelationServiceClient::new(Channel::from_shared(engine.url()).unwrap().connect_lazy())
}

async fn summary(engine: &EngineProcess, trace: u8) -> Result<CorrelationSummary, Status> {
    let correlation_id = trace_id(trace).iter().map(|byte| format!("{byte:02x}")).collect();
    let request = GetCorrelationRequest { correlation_id, view: View::Full.into() };
    client(engine).get_correlation(request).await.map(|found| found.into_inner().summary.unwrap())
}

async fn list(engine: &EngineProcess) -> Result<Vec<CorrelationSummary>, Status> {
    let request = ListCorrelationsRequest { page_size: 1_000, ..ListCorrelationsRequest::default() };
    client(engine).list_correlations(request).await.map(|page| page.into_inner().correlations)
}

async fn count(engine: &EngineProcess) -> u64 {
    client(engine).count_correlations(CountCorrelationsRequest {}).await.unwrap().into_inner().correlations
}

async fn spans_of_ledger(engine: &EngineProcess) -> LedgerAccount {
    client(engine).get_ledger(GetLedgerRequest {}).await.unwrap().into_inner().spans.unwrap()
}

/// Redis, with traces in it that are in flight: their engine was killed before it closed them.
async fn traces_in_flight(endpoints: &Endpoints, state: State, traces: impl IntoIterator<Item = u8>) {
    let engine = endpoints.engine_with(state, &IN_FLIGHT).await;
    for trace in traces {
        send_spans(&engine, trace, [1, 2]).await;
    }
    send_logs(&engine, 1, &["before"]).await;
    engine.process().kill().unwrap();
}

async fn cluster() -> RedisCluster {
    RedisCluster::start(Topology { replicas_per_primary: 0, ..Topology::default() }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_flight_in_redis_leaves_and_is_read_through_an_engine_in_memory() {
    let (endpoint, redis) = (Endpoint::start().await, cluster().await);
    let endpoints = Endpoints::new().with("a", &endpoint, "");
    traces_in_flight(&endpoints, State::Redis(redis.url()), 1..=20).await;
    assert!(endpoint.spans().is_empty(), "nothing was closed yet");

    let engine = rolled_back(&endpoints, &redis.url()).await;
    let told = engine.process().log_lines("closed, delivered and served until it is empty").unwrap();
    assert!(told.iter().any(|line| line.contains("memory") && line.contains("redis-cluster://")), "{told:?}");
    // The rest of one that is in flight, and new ones.
    send_spans(&engine, 1, [3]).await;
    for trace in 21..=25 {
        send_spans(&engine, trace, [1, 2]).await;
    }
    let mut expected = once(1..=25, 2);
    expected.insert((1, 3), 1);
    until("everything is delivered", || endpoint.spans().len() >= expected.len()).await;
    until("the log record too", || endpoint.logs() == ["before"]).await;
    assert_eq!(endpoint.spans(), expected, "each once");

    assert_eq!(summary(&engine, 1).await.unwrap().spans, 3, "the parts of both states");
    assert_eq!(summary(&engine, 20).await.unwrap().spans, 2);
    assert_eq!(summary(&engine, 25).await.unwrap().spans, 2);
    assert_eq!(count(&engine).await, 20 + 6);
    assert_eq!(list(&engine).await.unwrap().len(), 20 + 6, "the one that both know is there twice");
    until_metric(&engine, "former_state_unfinished_items 0").await;
    until_metric(&engine, "former_state_correlations 20").await;
    let ledger = spans_of_ledger(&engine).await;
    assert_eq!((ledger.received, ledger.kept, ledger.delivered), (51, 51, 51));

    let correlation_id = summary(&engine, 1).await.unwrap().correlation_id;
    client(&engine).delete_correlation(DeleteCorrelationRequest { correlation_id }).await.unwrap();
    assert_eq!(summary(&engine, 1).await.unwrap_err().code(), Code::NotFound, "gone from both");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_away_holds_up_nothing_new_and_is_emptied_when_it_is_back() {
    let (endpoint, redis) = (Endpoint::start().await, redis().await);
    let endpoints = Endpoints::new().with("a", &endpoint, "");
    traces_in_flight(&endpoints, of(&redis), 1..=5).await;
    redis.node().process().kill().unwrap();

    // It is ready, or it would not have started.
    let engine = rolled_back(&endpoints, &redis.url()).await;
    send_spans(&engine, 6, [1, 2]).await;
    assert_eq!(summary(&engine, 6).await.unwrap().spans, 2);
    for unknown in [summary(&engine, 1).await.map(drop), list(&engine).await.map(drop)] {
        let status = unknown.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "it may be there: {status}");
        assert!(status.message().contains("Redis"), "{status}");
    }
    until("what is new is delivered", || endpoint.spans() == once([6], 2)).await;

    redis.node().restart().await.unwrap();
    until("what was in Redis is delivered", || endpoint.spans().len() >= 12).await;
    assert_eq!(endpoint.spans(), once(1..=6, 2), "each once");
    let served = async || list(&engine).await.is_ok_and(|listed| listed.len() == 6);
    testbed::eventually("it is served", Duration::from_secs(60), served).await.unwrap();
    assert_eq!(summary(&engine, 1).await.unwrap().spans, 2);
    let told = engine.process().log_lines("the former state is not reached").unwrap();
    assert_eq!(told.len(), 1, "once for each reason: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_in_memory_and_on_redis_empty_it_together_and_a_gateway_counts_it_once() {
    let (endpoint, redis) = (Endpoint::start().await, cluster().await);
    let endpoints = Endpoints::new().with("a", &endpoint, "");
    let state = State::Redis(redis.url());
    traces_in_flight(&endpoints, state.clone(), 1..=50).await;
    let engines = [
        rolled_back(&endpoints, &redis.url()).await,
        rolled_back(&endpoints, &redis.url()).await,
        endpoints.engine_with(state, &IN_FLIGHT).await,
    ];
    for (trace, engine) in (51..).zip(&engines) {
        send_spans(engine, trace, [1, 2]).await;
    }
    until("everything is delivered", || endpoint.spans().len() >= 106).await;
    for engine in &engines[..2] {
        until_metric(engine, "former_state_unfinished_items 0").await;
    }
    assert_eq!(endpoint.spans(), once(1..=53, 2), "each once");

    let urls = engines.iter().map(EngineProcess::url).collect();
    let gateway =
        GatewayProcess::start(GatewayOptions { engines: urls, ..Default::default() }).await.unwrap();
    gateway.wait_metric("gateway_engines_ready 3").await.unwrap();
    let ask = async |path: &str| {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("{}/api/v1/{path}", gateway.url())).send().await.unwrap();
        serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap()
    };
    assert_eq!(ask("stats").await["correlations"], 53);
    let listed = ask("correlations?limit=1000").await;
    assert_eq!(listed["correlations"].as_array().unwrap().len(), 53, "{listed}");
    let ledger = ask("ledger").await;
    assert_eq!((&ledger["balanced"], &ledger["spans"]["kept"]), (&true.into(), &106.into()), "{ledger}");
    for trace in [1, 51, 52, 53] {
        let id: String = trace_id(trace).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(ask(&format!("correlations/{id}")).await["spans"], 2, "{trace}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_holds_nothing_any_more_is_said_to_be_empty_and_may_go() {
    const EMPTY: &str = "Redis holds nothing any more; unset REDIS_URL";
    let (endpoint, redis) = (Endpoint::start().await, redis().await);
    let endpoints = Endpoints::new().with("a", &endpoint, "");
    traces_in_flight(&endpoints, of(&redis), [1]).await;
    let engine = rolled_back(&endpoints, &redis.url()).await;
    until_metric(&engine, "former_state_correlations 1").await;
    assert!(engine.process().log_lines(EMPTY).unwrap().is_empty());
    let cutoff = Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 });
    let removed = client(&engine).clean_up_correlations(CleanUpCorrelationsRequest { cutoff }).await.unwrap();
    assert_eq!(removed.into_inner().removed, 1);
    until_metric(&engine, "former_state_correlations 0").await;
    assert_eq!(engine.process().log_lines(EMPTY).unwrap().len(), 1);

    redis.node().process().kill().unwrap();
    until_metric(&engine, "redis_up 0").await;
    send_spans(&engine, 2, [1]).await;
    assert_eq!(list(&engine).await.unwrap().len(), 1, "nobody asks it");
    let ended = engine.process().terminate(Duration::from_secs(30)).await.unwrap();
    assert_eq!(ended.code(), Some(0), "and nobody waits for it at the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_in_memory_that_is_told_of_no_redis_looks_for_none() {
    let endpoint = Endpoint::start().await;
    let engine = Endpoints::new().with("a", &endpoint, "").engine(State::Memory).await;
    send_spans(&engine, 1, [1]).await;
    until("it is delivered", || endpoint.spans().len() == 1).await;
    let (_, metrics) = engine.admin_get("/metrics").await.unwrap();
    let told = |name: &str| metrics.lines().any(|line| line.starts_with(name));
    assert!(!told("redis_") && !told("former_state_"), "{metrics}");
}
