//! Several engines on one Redis Cluster: any of them takes, reads and outlives anything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use otlp_proto::correlation::v1::{CountCorrelationsRequest, StateBackend};
use testbed::{EngineOptions, EngineProcess, RedisCluster, State, Topology};

use crate::{
    client::{correlations, export, request, span, span_count, traces},
    ledger,
};

async fn engines(redis: &RedisCluster, count: usize) -> Vec<EngineProcess> {
    let mut engines = Vec::new();
    for _ in 0..count {
        let options = EngineOptions { state: State::Redis(redis.url()), ..Default::default() };
        engines.push(EngineProcess::start(options).await.unwrap());
    }
    engines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_came_in_pieces_is_whole_at_every_engine() {
    let redis = RedisCluster::start(Topology::default()).await.unwrap();
    let engines = engines(&redis, 3).await;
    for number in 1..=30 {
        for trace in 1..=10 {
            export(&engines[(number + trace) as usize % 3], vec![span(trace, number)]).await;
        }
    }
    for engine in &engines {
        for trace in 1..=10 {
            assert_eq!(span_count(engine, trace).await, 30);
        }
        let count =
            correlations(engine).count_correlations(CountCorrelationsRequest {}).await.unwrap().into_inner();
        assert_eq!((count.correlations, count.state()), (10, StateBackend::RedisCluster));
    }
}

/// Sends one span a request until told to stop, and remembers the last number that was acknowledged.
/// Every number up to it was acknowledged too: a refused one is sent again.
async fn send(engine: Arc<EngineProcess>, trace: u64, acknowledged: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    let mut client = traces(&engine);
    let mut number = 1;
    while !stop.load(Ordering::Relaxed) && number < 100_000 {
        if client.export(request(vec![span(trace, number)])).await.is_ok() {
            acknowledged.store(number, Ordering::Relaxed);
            number += 1;
        } else if engine.process().exit_status().unwrap().is_some() {
            return;
        }
    }
}

async fn nothing_acknowledged_is_lost(end: impl AsyncFn(&EngineProcess)) {
    let redis = RedisCluster::start(Topology::default()).await.unwrap();
    let mut engines = engines(&redis, 2).await;
    let reader = engines.pop().unwrap();
    let writer = Arc::new(engines.pop().unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let counts: Vec<_> = (0..8).map(|_| Arc::new(AtomicU64::new(0))).collect();
    let mut senders = tokio::task::JoinSet::new();
    for (trace, count) in (1..).zip(&counts) {
        senders.spawn(send(Arc::clone(&writer), trace, Arc::clone(count), Arc::clone(&stop)));
    }
    testbed::eventually("200 spans of each trace are acknowledged", Duration::from_secs(60), async || {
        counts.iter().all(|count| count.load(Ordering::Relaxed) >= 200)
    })
    .await
    .unwrap();
    end(&writer).await;
    stop.store(true, Ordering::Relaxed);
    senders.join_all().await;
    let mut all = 0;
    for (trace, count) in (1..).zip(&counts) {
        let acknowledged = count.load(Ordering::Relaxed);
        let kept = span_count(&reader, trace).await;
        // The one that was in flight at the end may have been kept without an answer.
        assert!(
            (acknowledged..=acknowledged + 1).contains(&kept),
            "trace {trace}: {acknowledged} and {kept}"
        );
        all += kept;
    }
    assert_eq!(ledger::spans(&reader).await.kept, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_killed_under_load_loses_nothing_acknowledged() {
    nothing_acknowledged_is_lost(async |engine| {
        engine.process().kill().unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_terminated_under_load_loses_nothing_acknowledged() {
    nothing_acknowledged_is_lost(async |engine| {
        let status = engine.process().terminate(Duration::from_secs(30)).await.unwrap();
        assert_eq!(status.code(), Some(0), "it drained");
    })
    .await;
}
