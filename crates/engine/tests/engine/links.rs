//! Links between traces: which are linked when they close, and how they are found from one another.

use std::time::Duration;

use futures::future::join_all;
use otlp_proto::{
    correlation::v1::{
        CorrelationKey, CorrelationStatus, ListCorrelationsRequest, ListRelatedRequest, ListRelatedResponse,
        RelatedDirection,
    },
    opentelemetry::proto::{
        common::v1::any_value::Value,
        trace::v1::{Span, TracesData, span::Link},
    },
};
use prost::Message as _;
use testbed::{EngineOptions, EngineProcess, RedisCluster, State, Topology, eventually};
use tonic::{Code, Status};

use crate::client::{attribute, correlations, get, hex, request_of, span, trace_id, traces};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Name of the spans that stand for links.
const BRIDGE: &str = "correlation.link";

/// An engine that closes soon, and knows `order.id` and `user.id`.
async fn engine(state: State, further: &[(&str, &str)]) -> EngineProcess {
    let own = [("correlation.grace_ms", "20"), ("correlation.keys", r#"["order.id", "user.id"]"#)];
    let settings = own.iter().chain(further).map(|(key, value)| (key.to_string(), value.to_string()));
    let options = EngineOptions { state, settings: settings.collect(), ..EngineOptions::default() };
    EngineProcess::start(options).await.unwrap()
}

/// The root of a trace that begins so many milliseconds after the first one.
fn root(trace: u64, after_ms: u64, order: &str) -> Span {
    let start = 1_700_000_000_000_000_000 + after_ms * 1_000_000;
    Span {
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_000_000,
        attributes: vec![attribute("order.id", order)],
        ..span(trace, 1)
    }
}

fn link(trace: u64) -> Link {
    Link { trace_id: trace_id(trace), span_id: vec![1; 8], ..Link::default() }
}

async fn send(engine: &EngineProcess, service: &str, span: Span) {
    traces(engine).export(request_of(service, vec![span])).await.unwrap();
}

async fn metric(engine: &EngineProcess, name: &str) -> u32 {
    let (_, metrics) = engine.admin_get("/metrics").await.unwrap();
    let value = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    metrics.lines().find_map(value).unwrap_or_default()
}

async fn until_metric(engine: &EngineProcess, name: &str, value: u32) {
    eventually(&format!("{name} {value}"), PATIENCE, async || metric(engine, name).await == value)
        .await
        .unwrap();
}

fn unlinked(reason: &str) -> String {
    format!("engine_unlinked_traces_total{{reason=\"{reason}\"}}")
}

async fn until_closed(engine: &EngineProcess, count: usize) {
    let request = ListCorrelationsRequest { status: CorrelationStatus::Closed.into(), ..Default::default() };
    eventually("all are closed", PATIENCE, async || {
        let page = correlations(engine).list_correlations(request.clone()).await.unwrap().into_inner();
        page.correlations.len() == count
    })
    .await
    .unwrap();
}

/// The spans of a trace that stand for links.
async fn bridges(engine: &EngineProcess, trace: u64) -> Vec<Span> {
    let data = TracesData::decode(get(engine, trace).await.unwrap().traces_data).unwrap();
    let scopes = data.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).filter(|span| span.name == BRIDGE).collect()
}

async fn related(
    engine: &EngineProcess,
    trace: u64,
    depth_max: u32,
    limit: u32,
) -> Result<ListRelatedResponse, Status> {
    let request = ListRelatedRequest { correlation_id: hex(&trace_id(trace)), depth_max, limit };
    correlations(engine).list_related(request).await.map(tonic::Response::into_inner)
}

/// What is related with a trace: its number, depth and direction.
async fn walk(engine: &EngineProcess, trace: u64) -> Vec<(u64, u32, RelatedDirection)> {
    let listed = related(engine, trace, 0, 0).await.unwrap();
    assert!(!listed.truncated);
    let found = listed.related.into_iter().map(|related| {
        let id = &related.summary.as_ref().unwrap().correlation_id;
        let number = (1..9).find(|number| hex(&trace_id(*number)) == *id).unwrap();
        (number, related.depth, related.direction())
    });
    found.collect()
}

/// Whose context was not propagated: another trace id, in another service.
async fn a_trace_cut_in_two_is_linked(engine: &EngineProcess, other: &EngineProcess) {
    send(engine, "shop", root(1, 0, "7")).await;
    // Links within a trace say nothing of what it follows from.
    send(other, "pay", Span { links: vec![link(2)], ..root(2, 100, "7") }).await;
    eventually("it is linked", PATIENCE, async || bridges(engine, 2).await.len() == 1).await.unwrap();
    until_closed(engine, 2).await;

    let bridge = bridges(engine, 2).await.remove(0);
    assert_eq!(bridge.trace_id, trace_id(2));
    assert_eq!(bridge.parent_span_id, 1_u64.to_be_bytes(), "below the root");
    assert_eq!(bridge.start_time_unix_nano, root(2, 100, "7").start_time_unix_nano);
    let [link] = &bridge.links[..] else { panic!("{bridge:?}") };
    assert_eq!((&link.trace_id, &link.span_id[..]), (&trace_id(1), &1_u64.to_be_bytes()[..]));
    assert_eq!(link.attributes, bridge.attributes);
    let value = |name: &str| {
        let attribute = bridge.attributes.iter().find(|attribute| attribute.key == name).unwrap();
        attribute.value.clone().unwrap().value.unwrap()
    };
    assert_eq!(value("correlation.synthetic"), Value::BoolValue(true));
    // 0.4 for the key, and nearly 0.3 for 0.1 s of 60 s.
    assert_eq!(value("correlation.confidence"), Value::DoubleValue(0.7));
    let Value::ArrayValue(keys) = value("correlation.keys") else { panic!("{bridge:?}") };
    assert_eq!(keys.values[0].value, Some(Value::StringValue("order.id=7".into())));

    let summary = get(engine, 2).await.unwrap().summary.unwrap();
    assert_eq!(summary.metadata["correlation.linked_trace_id"], hex(&trace_id(1)));
    assert_eq!((summary.service.as_str(), summary.services.len(), summary.spans), ("pay", 1, 2));
    let key = CorrelationKey { name: "correlation.linked_trace_id".into(), value: hex(&trace_id(1)) };
    let request = ListCorrelationsRequest { key: Some(key), ..Default::default() };
    let page = correlations(engine).list_correlations(request).await.unwrap().into_inner();
    let ids: Vec<_> = page.correlations.into_iter().map(|summary| summary.correlation_id).collect();
    assert_eq!(ids, [hex(&trace_id(2))]);
    assert_eq!(bridges(engine, 1).await, [], "the first one is as it was");

    // A late span opens another generation.
    send(other, "pay", span(2, 3)).await;
    until_closed(engine, 2).await;
    assert_eq!(bridges(engine, 2).await, [bridge]);
    assert_eq!(get(engine, 2).await.unwrap().summary.unwrap().spans, 3);
    assert_eq!(walk(other, 2).await, [(1, 1, RelatedDirection::Up)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_cut_in_two_is_linked_once() {
    let engine = engine(State::Memory, &[]).await;
    a_trace_cut_in_two_is_linked(&engine, &engine).await;
    assert_eq!(metric(&engine, "engine_linked_traces_total").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_cut_in_two_is_linked_once_by_engines_that_share_a_cluster() {
    let redis =
        RedisCluster::start(Topology { replicas_per_primary: 0, ..Topology::default() }).await.unwrap();
    let state = || State::Redis(redis.url());
    let (one, other) = (engine(state(), &[]).await, engine(state(), &[]).await);
    a_trace_cut_in_two_is_linked(&one, &other).await;
    let linked = async |engine| metric(engine, "engine_linked_traces_total").await;
    assert_eq!(linked(&one).await + linked(&other).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_walked_both_ways_and_says_where_it_was_cut() {
    let engine = engine(State::Memory, &[]).await;
    for (trace, service) in [(1, "shop"), (2, "pay"), (3, "ship")] {
        send(&engine, service, root(trace, trace * 100, "7")).await;
    }
    until_metric(&engine, "engine_linked_traces_total", 2).await;
    until_closed(&engine, 3).await;
    let (up, down) = (RelatedDirection::Up, RelatedDirection::Down);
    assert_eq!(walk(&engine, 1).await, [(2, 1, down), (3, 2, down)]);
    assert_eq!(walk(&engine, 2).await, [(1, 1, up), (3, 1, down)]);
    assert_eq!(walk(&engine, 3).await, [(2, 1, up), (1, 2, up)]);

    let whole = related(&engine, 1, 0, 0).await.unwrap();
    let second = &whole.related[1];
    assert_eq!((&second.from, &second.to), (&hex(&trace_id(2)), &hex(&trace_id(3))));
    assert_eq!((second.confidence, second.synthetic), (0.7, true));
    assert_eq!(second.keys, ["order.id=7"]);
    assert_eq!(second.summary.as_ref().unwrap().status(), CorrelationStatus::Closed);
    for (depth_max, limit) in [(1, 0), (0, 1)] {
        let cut = related(&engine, 1, depth_max, limit).await.unwrap();
        assert_eq!((&cut.related[..], cut.truncated), (&whole.related[..1], true), "{depth_max} {limit}");
    }
    assert!(!related(&engine, 1, 2, 2).await.unwrap().truncated, "that is all");
    assert_eq!(related(&engine, 8, 0, 0).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(related(&engine, 1, 33, 0).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_common_key_or_with_links_off_nothing_is_linked() {
    let linking = engine(State::Memory, &[]).await;
    send(&linking, "shop", root(1, 0, "7")).await;
    send(&linking, "pay", root(2, 100, "8")).await;
    until_metric(&linking, &unlinked("no_candidate"), 2).await;
    until_closed(&linking, 2).await;
    assert_eq!((bridges(&linking, 2).await, walk(&linking, 2).await), (vec![], vec![]));

    let other = engine(State::Memory, &[("links.enabled", "false")]).await;
    send(&other, "shop", root(1, 0, "7")).await;
    send(&other, "pay", root(2, 100, "7")).await;
    until_closed(&other, 2).await;
    assert_eq!(bridges(&other, 2).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_more_carry_than_are_compared_links_nothing() {
    let engine = engine(State::Memory, &[("links.candidates_max", "1")]).await;
    for (trace, service) in [(1, "shop"), (2, "pay")] {
        // Without their roots they wait.
        let orphan = Span { parent_span_id: vec![9; 8], ..root(trace, trace * 100, "7") };
        send(&engine, service, orphan).await;
    }
    send(&engine, "ship", root(3, 300, "7")).await;
    until_metric(&engine, "engine_unlinkable_keys_total{reason=\"common\"}", 1).await;
    until_closed(&engine, 1).await;
    assert_eq!(bridges(&engine, 3).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_trace_is_closed_without_its_bridge() {
    let engine = engine(State::Memory, &[("correlation.spans_max", "1")]).await;
    send(&engine, "shop", root(1, 0, "7")).await;
    send(&engine, "pay", root(2, 100, "7")).await;
    until_metric(&engine, &unlinked("spans_max"), 1).await;
    until_closed(&engine, 2).await;
    assert_eq!(get(&engine, 2).await.unwrap().summary.unwrap().spans, 1);
}

/// The keys of a third of the orders lie on the primary that is away, most of their traces elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_looked_up_do_not_keep_a_trace_from_being_closed() {
    let redis =
        RedisCluster::start(Topology { replicas_per_primary: 0, ..Topology::default() }).await.unwrap();
    let engine = engine(State::Redis(redis.url()), &[]).await;
    let orders = 1..=40;
    for trace in orders.clone() {
        // Without their roots they wait.
        let keyed = Span { attributes: vec![attribute("order.id", &trace.to_string())], ..span(trace, 2) };
        send(&engine, "shop", keyed).await;
    }
    redis.nodes()[0].process().kill().unwrap();
    let complete = |trace| {
        let (mut client, request) = (traces(&engine), request_of("shop", vec![span(trace, 1)]));
        async move { client.export(request).await.is_ok() }
    };
    // Those on the primary that is away cannot be completed now.
    let completed = join_all(orders.map(complete)).await;
    let whole = completed.into_iter().filter(|is_whole| *is_whole).count() as u32;
    assert!(whole > 0, "two primaries go on");
    until_metric(&engine, "engine_closed_correlations_total{cause=\"complete\"}", whole).await;
    assert!(metric(&engine, &unlinked("unavailable")).await > 0, "some keys were on the third");
    assert!(metric(&engine, &unlinked("no_candidate")).await > 0, "others were not");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_says_itself_what_it_follows_from_is_not_linked_again_but_followed() {
    let engine = engine(State::Memory, &[]).await;
    send(&engine, "shop", root(1, 0, "7")).await;
    send(&engine, "pay", Span { links: vec![link(1), link(5)], ..root(2, 100, "7") }).await;
    until_metric(&engine, &unlinked("linked"), 1).await;
    until_closed(&engine, 2).await;
    assert_eq!(bridges(&engine, 2).await, []);
    let listed = related(&engine, 2, 0, 0).await.unwrap().related;
    let found: Vec<_> = listed
        .iter()
        .map(|it| (it.from.clone(), it.synthetic, it.confidence, it.summary.is_some()))
        .collect();
    let expected = [(hex(&trace_id(1)), false, 1.0, true), (hex(&trace_id(5)), false, 1.0, false)];
    assert_eq!(found, expected, "also what is not stored");
}
