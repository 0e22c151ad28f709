//! Redis servers that die, hang and come back: what was acknowledged is kept, the rest is retryable.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use state_core::{
    Append, CorrelationKey, Facts, Fragment, Outcome, RangeQuery, Settings, Signal, StateManager,
};
use state_redis::{Acknowledge, Config, RedisStateManager};
use testbed::{RedisCluster, RedisServer, Topology, eventually, redis::Options};
use tokio::{task::JoinSet, time::timeout};

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
        node.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
        node.command(&["SCRIPT", "FLUSH"]).await.unwrap();
    }
    assert_eq!(append_round(&store, 1).await.len(), CORRELATIONS as usize);
    for node in cluster.nodes() {
        let stats = node.command(&["INFO", "commandstats"]).await.unwrap();
        let loads = stats.lines().find_map(|line| line.strip_prefix("cmdstat_script|load:calls="));
        let loads = loads.and_then(|line| line.split(',').next()).map_or(0, |count| count.parse().unwrap());
        assert!(loads <= 4 * 15, "all calls at once have them loaded again: {loads} loads of 15 scripts");
    }
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

/// Traffic must not keep a connection alive that nothing comes back from.
#[tokio::test(flavor = "multi_thread")]
async fn a_hung_primary_is_left_under_load() {
    let cluster = cluster().await;
    let store = Arc::new(store(&cluster, Acknowledge::Primary));
    append_round(&store, 0).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..16 {
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        writers.spawn(async move {
            for round in 1..1_000_000 {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let batch = vec![Append { key: key(number), fragment: fragment(number, round) }];
                if let Err(error) = store.append(batch).await {
                    assert!(error.is_retryable(), "{error:?}");
                }
            }
        });
    }
    cluster.nodes()[0].process().pause().unwrap();
    eventually("every shard acknowledges although a server hangs", HEALED, async || {
        append_round(&store, 1_000_000).await.len() == CORRELATIONS as usize
    })
    .await
    .unwrap();
    stop.store(true, Ordering::Relaxed);
    writers.join_all().await;
    cluster.nodes()[0].process().resume().unwrap();
}

async fn connections(server: &RedisServer) -> usize {
    let list = server.node().command(&["CLIENT", "LIST"]).await.unwrap();
    // The one that asks is on the list.
    list.lines().filter(|line| line.contains("addr=")).count() - 1
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_with_their_store_however_it_ends() {
    let server = RedisServer::start(Options::default()).await.unwrap();
    let open = || {
        let config = Config { url: server.url(), max_connections: 3, ..Config::default() };
        RedisStateManager::new(&config, Settings::default()).unwrap()
    };
    let batch = || vec![Append { key: key(1), fragment: fragment(1, 1) }];
    for _ in 0..5 {
        let (closed, dropped, raced) = (open(), open(), Arc::new(open()));
        closed.append(batch()).await.unwrap();
        closed.close().await.unwrap();
        dropped.append(batch()).await.unwrap();
        let appending = tokio::spawn({
            let raced = Arc::clone(&raced);
            async move { raced.append(batch()).await }
        });
        raced.close().await.unwrap();
        let _ = appending.await.unwrap();
    }
    server.node().process().pause().unwrap();
    for _ in 0..5 {
        let given_up = open();
        assert!(timeout(Duration::from_millis(50), given_up.append(batch())).await.is_err(), "it hangs");
    }
    server.node().process().resume().unwrap();
    eventually("no connection is left", HEALED, async || connections(&server).await == 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_beyond_what_may_be_in_flight_are_refused_at_once() {
    let server = RedisServer::start(Options::default()).await.unwrap();
    let config = Config { url: server.url(), in_flight_bytes_max: 100_000, ..Config::default() };
    let store = Arc::new(RedisStateManager::new(&config, Settings::default()).unwrap());
    store.ready().await.unwrap();
    server.node().process().pause().unwrap();
    // Does not compress: each byte depends on all before it.
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(40_000)
    .collect();
    let append = async |number: u32| {
        let mut payload = noise.clone();
        payload[..4].copy_from_slice(&number.to_le_bytes());
        let fragment = Fragment::new(Signal::Traces, payload.into(), vec![[0; 16]], Facts::default());
        store.append(vec![Append { key: key(number), fragment }]).await
    };
    let errors: Vec<_> = join_all((0..20).map(append)).await.into_iter().map(Result::unwrap_err).collect();
    assert!(errors.iter().all(state_core::Error::is_retryable));
    let refused = errors.iter().filter(|error| format!("{error:?}").contains("in_flight_bytes_max")).count();
    assert!((15..20).contains(&refused), "two or so were on their way, {refused} of 20 were refused");
    server.node().process().resume().unwrap();
    eventually("appends are taken again", HEALED, async || append(1).await.is_ok()).await.unwrap();
}

async fn listed(store: &RedisStateManager) -> usize {
    let query = RangeQuery { limit: 1_000, ..RangeQuery::default() };
    store.get_correlations_by_time_range(&query).await.unwrap().correlations.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_whole_while_a_slot_moves() {
    let cluster = cluster().await;
    let config = Config { url: cluster.url(), buckets: 1, ..Config::default() };
    let store = RedisStateManager::new(&config, Settings::default()).unwrap();
    append_round(&store, 0).await;
    let all = CORRELATIONS as usize;
    let some_key = cluster.nodes()[0].command(&["CLUSTER", "KEYSLOT", "time:{0}"]).await.unwrap();
    let slot = some_key.trim().to_owned();
    let from = cluster.primary_of_slot(slot.parse().unwrap()).await.unwrap();
    let (source, target) = (&cluster.nodes()[from], &cluster.nodes()[(from + 1) % 3]);
    let id = async |node: &testbed::redis::RedisNode| {
        node.command(&["CLUSTER", "MYID"]).await.unwrap().trim().to_owned()
    };
    let (source_id, target_id) = (id(source).await, id(target).await);
    target.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id]).await.unwrap();
    source.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id]).await.unwrap();
    let keys = source.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "10000"]).await.unwrap();
    let keys: Vec<&str> = keys.lines().map(str::trim).filter(|key| key.starts_with("c:")).collect();
    assert_eq!(keys.len(), all);
    let address = target.address();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    for (number, key) in keys.iter().enumerate() {
        if number == all / 2 {
            assert_eq!((listed(&store).await, held(&store, 0).await.len()), (all, all), "half has moved");
        }
        source.command(&["MIGRATE", &host, &port, key, "0", "5000"]).await.unwrap();
    }
    assert_eq!(
        (listed(&store).await, held(&store, 0).await.len()),
        (all, all),
        "all but the indexes has moved"
    );
    // A source gives a slot away only once it holds no key of it.
    let left = source.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "10000"]).await.unwrap();
    for index in left.lines().map(str::trim) {
        source.command(&["MIGRATE", &host, &port, index, "0", "5000"]).await.unwrap();
    }
    for node in [target, source, &cluster.nodes()[(from + 2) % 3]] {
        node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target_id]).await.unwrap();
    }
    assert_eq!((listed(&store).await, held(&store, 0).await.len()), (all, all), "the slot has moved");
    assert_eq!(append_round(&store, 1).await.len(), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_correlation_spoils_no_other() {
    let server = RedisServer::start(Options::default()).await.unwrap();
    let config = Config { url: server.url(), buckets: 1, ..Config::default() };
    let store = RedisStateManager::new(&config, Settings::default()).unwrap();
    append_round(&store, 0).await;
    for (number, broken) in [(7, ["SET", "c:{0}:/n=7", "x", ""]), (8, ["HSET", "c:{0}:/n=8", "m", "short"])] {
        assert!(store.delete_correlation(&key(number)).await.unwrap());
        let words: Vec<_> = broken.into_iter().filter(|word| !word.is_empty()).collect();
        server.node().command(&words).await.unwrap();
    }
    let appends = (0..CORRELATIONS).map(|number| {
        let batch = vec![Append { key: key(number), fragment: fragment(number, 1) }];
        store.append(batch)
    });
    for (number, answer) in (0..).zip(join_all(appends).await) {
        assert_eq!(answer.is_err(), number == 7 || number == 8, "{number}: {answer:?}");
    }
    assert_eq!(store.get_correlation_count().await.unwrap(), u64::from(CORRELATIONS) - 2);
}

/// A server that stalls for a moment under load must not be kept busy with its own reconnects.
#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_over_when_the_server_is_back() {
    let server = RedisServer::start(Options::default()).await.unwrap();
    let config = Config { url: server.url(), ..Config::default() };
    let store = Arc::new(RedisStateManager::new(&config, Settings::default()).unwrap());
    append_round(&store, 0).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for number in 0..64 {
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        readers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                if let Err(error) = store.get_correlation(&key(number)).await {
                    assert!(error.is_retryable(), "{error:?}");
                }
            }
        });
    }
    server.node().process().pause().unwrap();
    // Longer than a command may take, so that every reader finds its connection silent.
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    server.node().process().resume().unwrap();
    eventually("all reads are answered at once", HEALED, async || {
        let reads = (0..CORRELATIONS).map(async |number| store.get_correlation(&key(number)).await.is_ok());
        join_all(reads).await.into_iter().all(|answered| answered)
    })
    .await
    .unwrap();
    stop.store(true, Ordering::Relaxed);
    readers.join_all().await;
}
