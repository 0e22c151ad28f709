//! Redis servers that die, hang and come back: what was acknowledged is kept, the rest is retryable.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use state_core::{Append, CorrelationKey, Facts, Fragment, Outcome, Settings, Signal, StateManager};
use state_redis::{Acknowledge, Config, RedisStateManager};
use testbed::{RedisCluster, Topology, eventually};

/// More than buckets, so that every shard gets some.
const CORRELATIONS: u32 = 256;
/// A failover with a node timeout of one second takes some three.
const HEALED: Duration = Duration::from_secs(40);

fn store(cluster: &RedisCluster, acknowledge: Acknowledge) -> RedisStateManager {
    let config =
        Config { url: cluster.url(), acknowledge, timeout: Duration::from_secs(1), ..Config::default() };
    RedisStateManager::new(&config, Settings::default()).unwrap()
}

async fn cluster() -> RedisCluster {
    RedisCluster::start(Topology { node_timeout_ms: 1_000, ..Topology::default() }).await.unwrap()
}

fn key(number: u32) -> CorrelationKey {
    CorrelationKey { tenant: Default::default(), id: format!("n={number}").parse().unwrap() }
}

fn fragment(number: u32, round: u32) -> Fragment {
    let identity = (u128::from(number) << 64 | u128::from(round)).to_be_bytes();
    let payload = Bytes::from(format!("{number} in round {round}"));
    Fragment::new(Signal::Traces, payload, vec![identity], Facts::default())
}

/// Appends a fragment to each correlation, each in a call of its own, once; answers those that were
/// acknowledged. The others must be retryable.
async fn append_round(store: &RedisStateManager, round: u32) -> BTreeSet<u32> {
    let appends = (0..CORRELATIONS).map(|number| async move {
        let batch = vec![Append { key: key(number), fragment: fragment(number, round) }];
        match store.append(batch).await {
            Ok(outcomes) => {
                assert!(matches!(outcomes[..], [Outcome::Added | Outcome::Duplicate]), "{outcomes:?}");
                Some(number)
            }
            Err(error) => {
                assert!(error.is_retryable(), "{error:?}");
                None
            }
        }
    });
    join_all(appends).await.into_iter().flatten().collect()
}

/// Which of the correlations hold the fragment of a round.
async fn held(store: &RedisStateManager, round: u32) -> BTreeSet<u32> {
    let reads = (0..CORRELATIONS).map(|number| async move {
        let entry = store.get_correlation(&key(number)).await.unwrap()?;
        entry.spans.contains(&fragment(number, round)).then_some(number)
    });
    join_all(reads).await.into_iter().flatten().collect()
}

async fn healed(store: &RedisStateManager) {
    eventually("the store serves", HEALED, async || store.ready().await.is_ok()).await.unwrap();
}

/// Kills a primary whose replica has not received what was written last; answers what was
/// acknowledged meanwhile, and what of it is left after the failover.
async fn kill_a_primary_with_a_lagging_replica(acknowledge: Acknowledge) -> (BTreeSet<u32>, BTreeSet<u32>) {
    let cluster = cluster().await;
    let store = store(&cluster, acknowledge);
    assert_eq!(append_round(&store, 0).await.len(), CORRELATIONS as usize);
    // The testbed lets node 3 follow node 0.
    let (primary, replica) = (&cluster.nodes()[0], &cluster.nodes()[3]);
    replica.process().pause().unwrap();
    // Without its connection, not even the kernel receives for the replica what is written now.
    primary.command(&["CLIENT", "KILL", "TYPE", "replica"]).await.unwrap();
    let acknowledged = append_round(&store, 1).await;
    primary.process().kill().unwrap();
    replica.process().resume().unwrap();
    healed(&store).await;
    assert_eq!(held(&store, 0).await.len(), CORRELATIONS as usize, "what replicas had received is there");
    (acknowledged, held(&store, 1).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_dies_before_its_replica_caught_up_takes_nothing_acknowledged_along() {
    let (acknowledged, held) = kill_a_primary_with_a_lagging_replica(Acknowledge::Auto).await;
    assert!(acknowledged.is_subset(&held), "lost: {:?}", acknowledged.difference(&held));
    let share = acknowledged.len();
    assert!(
        share > 0 && share < CORRELATIONS as usize,
        "only the shards with replicas acknowledged: {share}"
    );
}

/// Shows that the test above can fail: the same without waiting for replicas.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_by_the_primary_alone_can_be_lost() {
    let (acknowledged, held) = kill_a_primary_with_a_lagging_replica(Acknowledge::Primary).await;
    assert_eq!(acknowledged.len(), CORRELATIONS as usize);
    assert!(!acknowledged.is_subset(&held), "something acknowledged was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_primary_leaves_the_other_shards_alone_until_its_replica_takes_over() {
    let cluster = cluster().await;
    let store = store(&cluster, Acknowledge::Auto);
    append_round(&store, 0).await;
    cluster.nodes()[1].process().kill().unwrap();
    let acknowledged = append_round(&store, 1).await;
    assert!(
        acknowledged.len() > CORRELATIONS as usize / 2,
        "two of three shards go on: {}",
        acknowledged.len()
    );
    // The shard of the dead node has one server now, and waits for a replica of it.
    cluster.nodes()[1].restart().await.unwrap();
    eventually("every shard acknowledges", HEALED, async || {
        append_round(&store, 1).await.len() == CORRELATIONS as usize
    })
    .await
    .unwrap();
    assert!(acknowledged.is_subset(&held(&store, 1).await));
    assert_eq!(store.get_correlation_count().await.unwrap(), u64::from(CORRELATIONS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_primary_is_retryable_and_then_replaced() {
    let cluster = cluster().await;
    let store = store(&cluster, Acknowledge::Primary);
    append_round(&store, 0).await;
    cluster.nodes()[2].process().pause().unwrap();
    let acknowledged = append_round(&store, 1).await;
    assert!(acknowledged.len() < CORRELATIONS as usize, "a hung server acknowledges nothing");
    eventually("every shard acknowledges", HEALED, async || {
        append_round(&store, 1).await.len() == CORRELATIONS as usize
    })
    .await
    .unwrap();
    cluster.nodes()[2].process().resume().unwrap();
    assert_eq!(held(&store, 1).await.len(), CORRELATIONS as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_a_server_forgot_are_loaded_again() {
    let cluster = cluster().await;
    let store = store(&cluster, Acknowledge::Auto);
    append_round(&store, 0).await;
    for node in cluster.nodes() {
        node.command(&["SCRIPT", "FLUSH"]).await.unwrap();
    }
    assert_eq!(append_round(&store, 1).await.len(), CORRELATIONS as usize);
    for node in cluster.nodes() {
        node.command(&["SCRIPT", "FLUSH"]).await.unwrap();
    }
    assert_eq!(store.get_correlation_count().await.unwrap(), u64::from(CORRELATIONS));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_redis_may_be_away_and_come_back() {
    let cluster = cluster().await;
    let store = store(&cluster, Acknowledge::Auto);
    append_round(&store, 0).await;
    for node in cluster.nodes() {
        node.process().pause().unwrap();
    }
    assert_eq!(append_round(&store, 1).await, BTreeSet::new());
    assert!(store.ready().await.unwrap_err().is_retryable());
    for node in cluster.nodes() {
        node.process().resume().unwrap();
    }
    eventually("every shard acknowledges", HEALED, async || {
        append_round(&store, 1).await.len() == CORRELATIONS as usize
    })
    .await
    .unwrap();
    assert_eq!(held(&store, 0).await.len(), CORRELATIONS as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn full_memory_refuses_retryably_and_still_frees() {
    let cluster = cluster().await;
    let store = store(&cluster, Acknowledge::Auto);
    append_round(&store, 0).await;
    for node in cluster.nodes() {
        node.command(&["CONFIG", "SET", "maxmemory", "1mb"]).await.unwrap();
    }
    assert_eq!(append_round(&store, 1).await, BTreeSet::new(), "there is no memory for more");
    assert_eq!(held(&store, 0).await.len(), CORRELATIONS as usize, "nothing was evicted");
    assert!(store.delete_correlation(&key(0)).await.unwrap(), "what frees memory works without any");
    for node in cluster.nodes() {
        node.command(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    }
    assert_eq!(append_round(&store, 1).await.len(), CORRELATIONS as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_evicts_is_not_ready() {
    let cluster = cluster().await;
    cluster.nodes()[1].command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await.unwrap();
    let store = store(&cluster, Acknowledge::Auto);
    let error = store.ready().await.unwrap_err();
    let said = format!("{error:?}");
    assert!(error.is_retryable() && said.contains("allkeys-lru") && said.contains("noeviction"), "{said}");
    cluster.nodes()[1].command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await.unwrap();
    store.ready().await.unwrap();
}
