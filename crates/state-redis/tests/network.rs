//! What replicas have not received, and what a network has swallowed, is not acknowledged.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use state_core::{Append, CorrelationKey, Facts, Fragment, Outcome, Result, Settings, Signal, StateManager};
use state_redis::{Config, RedisStateManager};
use testbed::{
    RedisCluster, Topology, eventually,
    redis::{Network, Options, Program, Role},
};
use tokio::time::{Instant, sleep};

/// More than buckets, so that every shard gets some.
const CORRELATIONS: u32 = 128;
const HEALED: Duration = Duration::from_secs(40);
const PROGRAMS: [Program; 2] = [Program::Redis, Program::Valkey];

async fn cluster(program: Program, primaries: usize, replicas_per_primary: usize) -> RedisCluster {
    let options = Options { program, proxied: true, ..Options::default() };
    let topology = Topology { primaries, replicas_per_primary, node_timeout_ms: 1_000, options };
    RedisCluster::start(topology).await.unwrap()
}

fn store(cluster: &RedisCluster, timeout: Duration) -> RedisStateManager {
    let config = Config { url: cluster.url(), timeout, ..Config::default() };
    RedisStateManager::new(&config, Settings::default()).unwrap()
}

fn batch(number: u32, round: u32) -> Vec<Append> {
    let id = format!("n={number}").parse().unwrap();
    let identity = (u128::from(number) << 64 | u128::from(round)).to_be_bytes();
    let payload = Bytes::from(format!("{number} in round {round}"));
    let fragment = Fragment::new(Signal::Traces, payload, vec![identity], Facts::default());
    vec![Append { key: CorrelationKey { tenant: Default::default(), id }, fragment }]
}

async fn append(store: &RedisStateManager, number: u32, round: u32) -> Result<Outcome> {
    let answer = store.append(batch(number, round)).await.map(|outcomes| outcomes[0]);
    if let Err(error) = &answer {
        assert!(error.is_retryable(), "{error:?}");
    }
    answer
}

/// Appends a fragment to each correlation once; answers which were acknowledged.
async fn append_round(store: &RedisStateManager, round: u32) -> Vec<bool> {
    let appends = (0..CORRELATIONS).map(async |number| append(store, number, round).await.is_ok());
    join_all(appends).await
}

/// Names of the fragments of a correlation, as often as they are there.
async fn kept(store: &RedisStateManager, number: u32) -> Vec<state_core::FragmentId> {
    let entry = store.get_correlation(&batch(number, 0)[0].key).await.unwrap();
    entry.into_iter().flat_map(|entry| entry.spans).map(|fragment| fragment.id()).collect()
}

async fn all_acknowledge(store: &RedisStateManager, round: u32) {
    let all = async || append_round(store, round).await.into_iter().all(|acknowledged| acknowledged);
    eventually("every shard acknowledges", HEALED, all).await.unwrap();
}

/// Scenario: a write is applied, its replica lacks it, and the primary dies while its caller waits.
/// Guarantees: the new primary is sent the write itself, not only the question whether replicas have it.
#[tokio::test(flavor = "multi_thread")]
async fn what_outlives_its_primary_is_written_again_on_the_next() {
    let cluster = cluster(Program::Redis, 3, 1).await;
    let store = Arc::new(store(&cluster, Duration::from_secs(30)));
    assert!(append_round(&store, 0).await.into_iter().all(|acknowledged| acknowledged));
    let shard = cluster.shards().await.unwrap().swap_remove(0);
    let (primary, replica) = (&cluster.nodes()[shard.primary], &cluster.nodes()[shard.replicas[0]]);
    replica.process().pause().unwrap();
    primary.command(&["CLIENT", "KILL", "TYPE", "replica"]).await.unwrap();
    let appending = tokio::spawn({
        let store = Arc::clone(&store);
        async move { append_round(&store, 1).await }
    });
    // Long enough to be told that the replica lacks it.
    sleep(Duration::from_millis(1_200)).await;
    primary.process().kill().unwrap();
    replica.process().resume().unwrap();
    let is_promoted = async || replica.role().await.is_ok_and(|role| role == Role::Primary);
    eventually("the replica takes over", HEALED, is_promoted).await.unwrap();
    primary.restart().await.unwrap();
    let acknowledged = appending.await.unwrap();
    assert!(acknowledged.iter().any(|acknowledged| *acknowledged), "nothing was acknowledged at all");
    for (number, acknowledged) in (0..).zip(acknowledged) {
        let has = kept(&store, number).await.contains(&batch(number, 1)[0].fragment.id());
        assert!(has || !acknowledged, "{number} was acknowledged and is lost");
    }
}

/// Scenario: a write that replicas lack is sent again over other connections.
/// Guarantees: what the primary knows already is acknowledged no sooner than what it does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_confirmed_by_replicas_too() {
    for program in PROGRAMS {
        let cluster = cluster(program, 1, 1).await;
        let timeout = Duration::from_secs(2);
        let (first, second) = (store(&cluster, timeout), store(&cluster, timeout));
        append(&first, 0, 0).await.unwrap();
        append(&second, 1, 0).await.unwrap();
        cluster.nodes()[1].process().pause().unwrap();
        append(&first, 0, 1).await.unwrap_err();
        let third = store(&cluster, timeout);
        for store in [&second, &third] {
            let answer = append(store, 0, 1).await;
            assert!(answer.is_err(), "{program:?}: {answer:?}, and no replica has it");
        }
        cluster.nodes()[1].process().resume().unwrap();
        eventually("it is confirmed", HEALED, async || {
            append(&second, 0, 1).await.is_ok_and(|outcome| outcome == Outcome::Duplicate)
        })
        .await
        .unwrap();
    }
}

/// Scenario: the connection ends between the answer of a write and the answer of the `WAIT` behind it.
/// Guarantees: nobody asks on a new connection, for which nothing was written, whether replicas have it.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_before_replicas_confirmed_confirms_nothing() {
    for program in PROGRAMS {
        let cluster = cluster(program, 1, 1).await;
        let store = Arc::new(store(&cluster, Duration::from_secs(3)));
        append(&store, 0, 0).await.unwrap();
        cluster.nodes()[1].process().pause().unwrap();
        let appending = tokio::spawn({
            let store = Arc::clone(&store);
            async move { append(&store, 0, 1).await }
        });
        let proxy = cluster.nodes()[0].proxy();
        let began = Instant::now();
        while !appending.is_finished() && began.elapsed() < Duration::from_secs(4) {
            sleep(Duration::from_millis(200)).await;
            proxy.turn(Network::Cut);
            proxy.turn(Network::Whole);
        }
        let answer = appending.await.unwrap();
        assert!(answer.is_err(), "{program:?}: {answer:?}, and no replica has it");
        cluster.nodes()[1].process().resume().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_or_silent_way_to_one_primary_is_the_fault_of_its_shard_alone() {
    let cluster = cluster(Program::Redis, 3, 1).await;
    let store = store(&cluster, Duration::from_secs(1));
    assert!(append_round(&store, 0).await.into_iter().all(|acknowledged| acknowledged));
    for (round, network) in [(1, Network::Cut), (3, Network::Silent)] {
        cluster.nodes()[0].proxy().turn(network);
        let acknowledged = append_round(&store, round).await.into_iter().filter(|ok| *ok).count();
        let half = CORRELATIONS as usize / 2;
        assert!((half..CORRELATIONS as usize).contains(&acknowledged), "{network:?}: {acknowledged}");
        cluster.nodes()[0].proxy().turn(Network::Whole);
        all_acknowledge(&store, round + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_because_its_answer_was_lost_is_there_once() {
    let cluster = cluster(Program::Valkey, 1, 1).await;
    let store = store(&cluster, Duration::from_secs(1));
    assert!(append_round(&store, 0).await.into_iter().all(|acknowledged| acknowledged));
    cluster.nodes()[0].proxy().turn(Network::LosesAnswers);
    assert!(append_round(&store, 1).await.into_iter().all(|acknowledged| !acknowledged));
    cluster.nodes()[0].proxy().turn(Network::Whole);
    all_acknowledge(&store, 1).await;
    for number in 0..CORRELATIONS {
        let expected = [0, 1].map(|round| batch(number, round)[0].fragment.id());
        assert_eq!(kept(&store, number).await, expected);
    }
}

/// Two replicas: what one of them confirmed is on the one that takes over, and the other confirms from
/// then on. Its clock is off, and time goes on all the same.
#[tokio::test(flavor = "multi_thread")]
async fn with_two_replicas_a_shard_comes_back_by_itself_whatever_the_clock_says() {
    for off in [300, -300] {
        let cluster = cluster(Program::Redis, 3, 2).await;
        let store = store(&cluster, Duration::from_secs(1));
        let shard = cluster.shards().await.unwrap().swap_remove(0);
        for replica in shard.replicas {
            let node = &cluster.nodes()[replica];
            node.process().set_clock(off).unwrap();
            node.terminate().await.unwrap();
            node.restart().await.unwrap();
        }
        cluster.wait_healthy().await.unwrap();
        all_acknowledge(&store, 0).await;
        let mut before = Vec::new();
        for number in 0..CORRELATIONS {
            before.push(store.get_correlation(&batch(number, 0)[0].key).await.unwrap().unwrap());
        }
        cluster.nodes()[shard.primary].process().kill().unwrap();
        all_acknowledge(&store, 1).await;
        for (number, before) in (0..).zip(before) {
            let after = store.get_correlation(&batch(number, 0)[0].key).await.unwrap().unwrap();
            assert!(after.last_updated >= before.last_updated, "time went back for a correlation");
            assert_eq!((after.first_seen, after.spans.len()), (before.first_seen, 2));
        }
        assert_eq!(store.get_correlation_count().await.unwrap(), u64::from(CORRELATIONS));
    }
}
