//! A Redis Cluster that was backed up, lost, and begun anew from the backup: what was acknowledged before is there once.

use std::time::Duration;

use tempfile::tempdir;
use testbed::{RedisCluster, State, Topology};
use tonic::Code;

use crate::{
    content::once,
    endpoint::{Act, Endpoint},
    engine::{Endpoints, until, until_metric},
    reading::{count, spans_of_ledger, summary},
    telemetry::send_spans,
};

/// The last trace that was delivered before the backup, that the endpoint refused, and that came before it.
const DELIVERED: u8 = 10;
const UNDELIVERED: u8 = 20;
const ALL: u8 = 25;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_a_backup_is_there_once_and_the_rest_of_it_is_delivered() {
    let (endpoint, directory) = (Endpoint::start().await, tempdir().unwrap());
    let endpoints = Endpoints::new().with("a", &endpoint, "");
    let files = {
        let redis = RedisCluster::start(Topology::default()).await.unwrap();
        let engine = endpoints.engine(State::Redis(redis.url())).await;
        for trace in 1..=DELIVERED {
            send_spans(&engine, trace, [1, 2]).await;
        }
        until("they are delivered", || endpoint.spans().len() == usize::from(DELIVERED) * 2).await;
        until_metric(&engine, "delivery_in_flight_events 0").await;
        let requests = endpoint.received().len();
        endpoint.becomes(Act::Refuse(Code::Unavailable));
        for trace in DELIVERED + 1..=UNDELIVERED {
            send_spans(&engine, trace, [1, 2]).await;
        }
        until("some of them are closed and refused", || endpoint.received().len() > requests).await;
        // An engine that is killed closes no more: some of these stay active.
        for trace in UNDELIVERED + 1..=ALL {
            send_spans(&engine, trace, [1, 2]).await;
        }
        engine.process().kill().unwrap();
        let files = redis.back_up(directory.path()).await.unwrap();
        let engine = endpoints.engine(State::Redis(redis.url())).await;
        send_spans(&engine, ALL + 1, [1, 2]).await;
        engine.process().kill().unwrap();
        files
    };

    let redis = RedisCluster::start(Topology::default()).await.unwrap();
    redis.restore(&files).await.unwrap();
    endpoint.becomes(Act::Take);
    let engine = endpoints.engine(State::Redis(redis.url())).await;
    until("the rest is delivered", || endpoint.spans().len() >= usize::from(ALL) * 2).await;
    until_metric(&engine, "delivery_in_flight_events 0").await;
    assert_eq!(endpoint.spans(), once(1..=ALL, 2), "each once");
    for trace in 1..=ALL {
        assert_eq!(summary(&engine, trace).await.unwrap().spans, 2, "{trace}");
    }
    assert_eq!(count(&engine).await, u64::from(ALL));
    let later = summary(&engine, ALL + 1).await.unwrap_err();
    assert_eq!(later.code(), Code::NotFound, "it came after the backup");
    let ledger = spans_of_ledger(&engine).await;
    assert_eq!((ledger.kept, ledger.delivered), (u64::from(ALL) * 2, u64::from(ALL) * 2));

    // It is a cluster like any other: it takes more, and keeps all of it when all of its servers start again.
    send_spans(&engine, ALL + 2, [1, 2]).await;
    until("that is delivered too", || endpoint.spans().contains_key(&(ALL + 2, 2))).await;
    for node in redis.nodes().iter().rev() {
        node.terminate().await.unwrap();
    }
    for node in redis.nodes() {
        node.restart().await.unwrap();
    }
    redis.wait_healthy().await.unwrap();
    let served = async || {
        let known = [summary(&engine, 1).await, summary(&engine, ALL + 2).await];
        known.iter().all(|known| known.as_ref().is_ok_and(|known| known.spans == 2))
    };
    testbed::eventually("all of it is served", Duration::from_secs(60), served).await.unwrap();
}
