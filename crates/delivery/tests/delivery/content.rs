//! What is delivered, and how often.

use std::collections::BTreeMap;

use testbed::State;
use tonic::Code;

use crate::{
    endpoint::{Act, Endpoint},
    engine::{Endpoints, of, redis, until, until_metric},
    telemetry::{send_logs, send_spans},
};

/// Each span of traces once.
pub(crate) fn once(traces: impl IntoIterator<Item = u8>, spans: u64) -> BTreeMap<(u8, u64), usize> {
    let spans_of = |trace| (1..=spans).map(move |span| ((trace, span), 1));
    traces.into_iter().flat_map(spans_of).collect()
}

async fn a_trace_and_then_a_late_span(state: State) {
    let endpoint = Endpoint::start().await;
    let endpoints = Endpoints::new().with("a", &endpoint, "");
    let engine = endpoints.engine(state).await;
    send_spans(&engine, 1, [2, 3]).await;
    send_logs(&engine, 1, &["early"]).await;
    send_spans(&engine, 1, [1]).await;
    until("the trace is there", || endpoint.spans().len() == 3 && endpoint.logs() == ["early"]).await;
    assert_eq!(endpoint.spans(), once([1], 3));
    assert_eq!(endpoint.received().len(), 2, "all spans in one request, all logs in another");

    // Late, in one batch with what is known.
    send_spans(&engine, 1, [3, 4]).await;
    send_logs(&engine, 1, &["early", "late"]).await;
    until("what is late is there", || endpoint.spans().len() == 4 && endpoint.logs().len() == 2).await;
    assert_eq!(endpoint.spans(), once([1], 4), "nothing twice");
    assert_eq!(endpoint.logs(), ["early", "late"]);

    // Only known things: nothing follows. Something else shows that time has passed.
    let requests = endpoint.received().len();
    send_spans(&engine, 1, [4, 1]).await;
    until_metric(&engine, r#"engine_closed_correlations_total{cause="no_news"} 1"#).await;
    send_spans(&engine, 2, [1]).await;
    until("the other trace is there", || endpoint.spans().contains_key(&(2, 1))).await;
    assert_eq!(endpoint.received().len(), requests + 1);
    until_metric(&engine, r#"delivery_endpoint_up{endpoint="a",signal="traces"} 1"#).await;
    until_metric(&engine, "delivery_in_flight_events 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_arrives_with_its_logs_and_later_only_what_is_new() {
    a_trace_and_then_a_late_span(State::Memory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_arrives_with_its_logs_and_later_only_what_is_new_with_state_in_redis() {
    let redis = redis().await;
    a_trace_and_then_a_late_span(of(&redis)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_that_share_a_state_deliver_each_trace_once() {
    let (redis, endpoint) = (redis().await, Endpoint::start().await);
    // Patient: on a slow machine, too, whoever closes has the time to deliver.
    let endpoints = Endpoints::patient().with("a", &endpoint, "");
    let engines = [endpoints.engine(of(&redis)).await, endpoints.engine(of(&redis)).await];
    for trace in 1..=200 {
        send_spans(&engines[usize::from(trace) % 2], trace, [1]).await;
        send_spans(&engines[usize::from(trace / 2) % 2], trace, [2, 3]).await;
    }
    until("all traces are there", || endpoint.spans().len() == 600).await;
    for engine in &engines {
        until_metric(engine, "delivery_in_flight_events 0").await;
    }
    assert_eq!(endpoint.spans(), once(1..=200, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_counted_and_not_sent_again() {
    let endpoint = Endpoint::start().await;
    let endpoints = Endpoints::new().with("a", &endpoint, "");
    let engine = endpoints.engine(State::Memory).await;
    endpoint.becomes(Act::Refuse(Code::InvalidArgument));
    send_spans(&engine, 1, [1, 2]).await;
    let label = r#"endpoint="a",signal="traces""#;
    until_metric(&engine, &format!(r#"delivery_events_total{{{label},result="rejected"}} 1"#)).await;
    until_metric(&engine, &format!(r#"delivery_items_total{{{label},result="rejected"}} 2"#)).await;
    until_metric(&engine, &format!(r#"delivery_failures_total{{{label},reason="invalid_argument"}} 1"#))
        .await;
    until_metric(&engine, "delivery_in_flight_events 0").await;
    assert_eq!(engine.process().log_lines("will never take").unwrap().len(), 1);

    endpoint.becomes(Act::TakeBut(1));
    send_spans(&engine, 2, [1, 2]).await;
    until_metric(&engine, &format!(r#"delivery_items_total{{{label},result="rejected"}} 3"#)).await;
    until_metric(&engine, &format!(r#"delivery_items_total{{{label},result="delivered"}} 1"#)).await;
    until_metric(&engine, &format!(r#"delivery_events_total{{{label},result="delivered"}} 1"#)).await;
    assert_eq!(endpoint.received().len(), 2);
}
