//! A Redis Cluster of real processes forms, survives the loss of a primary and takes it back.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use testbed::{
    eventually,
    redis::{Network, Options, Program, RedisCluster, RedisServer, Role, Topology},
};
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn a_cluster_is_formed_fails_over_and_takes_a_dead_primary_back() {
    let topology = Topology { node_timeout_ms: 1_000, ..Topology::default() };
    let cluster = RedisCluster::start(topology).await.unwrap();
    let nodes = cluster.nodes();
    assert_eq!(nodes.len(), 6);
    assert_eq!(cluster.url().matches("127.0.0.1:").count(), 6);
    for (index, node) in nodes.iter().enumerate() {
        let expected = if index < 3 { Role::Primary } else { Role::Replica };
        assert_eq!(node.role().await.unwrap(), expected, "{}", node.process().name());
    }

    let slot: u16 = nodes[0].command(&["CLUSTER", "KEYSLOT", "a"]).await.unwrap().parse().unwrap();
    let primary = cluster.primary_of_slot(slot).await.unwrap();
    assert_eq!(nodes[primary].command(&["SET", "a", "1"]).await.unwrap(), "OK");

    nodes[primary].process().kill().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let promoted = loop {
        match cluster.primary_of_slot(slot).await {
            Ok(other) if other != primary => break other,
            _ => assert!(Instant::now() < deadline, "no replica took over"),
        }
        sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(nodes[promoted].command(&["GET", "a"]).await.unwrap(), "1");

    nodes[primary].restart().await.unwrap();
    cluster.wait_healthy().await.unwrap();
    assert_eq!(nodes[primary].role().await.unwrap(), Role::Replica);
}

#[tokio::test]
async fn a_paused_server_answers_again_when_it_is_resumed() {
    let server = RedisServer::start(Options::default()).await.unwrap();
    assert!(server.url().starts_with("redis://127.0.0.1:"));
    server.node().process().pause().unwrap();
    assert!(server.node().command(&["PING"]).await.is_err());
    server.node().process().resume().unwrap();
    assert_eq!(server.node().command(&["PING"]).await.unwrap(), "PONG");
    server.node().terminate().await.unwrap();
}

#[tokio::test]
async fn a_server_keeps_its_data_over_a_restart() {
    let server = RedisServer::start(Options::default()).await.unwrap();
    server.node().command(&["SET", "a", "1"]).await.unwrap();
    server.node().terminate().await.unwrap();
    server.node().restart().await.unwrap();
    assert_eq!(server.node().command(&["GET", "a"]).await.unwrap(), "1");
}

#[tokio::test]
async fn a_shard_that_is_added_gets_its_part_of_the_slots_with_what_is_in_them() {
    let mut cluster = RedisCluster::start(Topology::default()).await.unwrap();
    for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let slot = cluster.nodes()[0].command(&["CLUSTER", "KEYSLOT", key]).await.unwrap();
        let primary = cluster.primary_of_slot(slot.parse().unwrap()).await.unwrap();
        cluster.nodes()[primary].command(&["SET", key, key]).await.unwrap();
    }
    cluster.add_shard().await.unwrap();
    cluster.rebalance().await.unwrap();
    let shards = cluster.shards().await.unwrap();
    assert_eq!((shards.len(), cluster.primaries(), cluster.replicas_per_primary()), (4, 4, 1));
    assert!(shards.iter().any(|shard| shard.primary == 6 && shard.replicas == [7]), "{shards:?}");
    let mut keys = 0;
    for shard in &shards {
        let size = cluster.nodes()[shard.primary].command(&["DBSIZE"]).await.unwrap();
        keys += size.trim().parse::<u32>().unwrap();
    }
    assert_eq!(keys, 8);
    assert_ne!(cluster.nodes()[6].command(&["DBSIZE"]).await.unwrap().trim(), "0");
}

#[tokio::test]
async fn settings_of_the_caller_win() {
    let settings = vec![("maxmemory".to_owned(), "64mb".to_owned())];
    let server = RedisServer::start(Options { settings, ..Options::default() }).await.unwrap();
    let answer = server.node().command(&["CONFIG", "GET", "maxmemory"]).await.unwrap();
    assert_eq!(answer, "maxmemory\n67108864");
}

#[tokio::test]
async fn nothing_is_left_of_a_dropped_server() {
    let server = RedisServer::start(Options::default()).await.unwrap();
    let log = server.node().process().log().to_owned();
    assert!(fs::exists(&log).unwrap());
    drop(server);
    assert!(!fs::exists(&log).unwrap());
}

#[tokio::test]
async fn a_valkey_cluster_with_two_replicas_each_is_reached_through_its_proxies() {
    let options = Options { program: Program::Valkey, proxied: true, ..Options::default() };
    let topology = Topology { replicas_per_primary: 2, options, ..Topology::default() };
    let cluster = RedisCluster::start(topology).await.unwrap();
    let shards = cluster.shards().await.unwrap();
    assert_eq!(
        shards.iter().map(|shard| (shard.primary, shard.replicas.len())).collect::<Vec<_>>(),
        [(0, 2), (1, 2), (2, 2)]
    );
    for node in cluster.nodes() {
        assert!(node.command(&["INFO", "server"]).await.unwrap().contains("valkey_version:9."));
        // Nodes hear of each other one after the other.
        eventually("every node tells the announced ports", Duration::from_secs(20), async || {
            let slots = node.command(&["CLUSTER", "SLOTS"]).await.unwrap();
            let is_told = |port: u16| slots.lines().any(|line| line == port.to_string());
            let mut others = cluster.nodes().iter();
            others.all(|other| is_told(other.announced().port()) && !is_told(other.address().port()))
        })
        .await
        .unwrap();
        // Not even a replica notices what clients suffer.
        node.proxy().turn(Network::Cut);
    }
    cluster.wait_healthy().await.unwrap();
}

#[tokio::test]
async fn a_clock_may_be_off_from_a_start_on() {
    for program in [Program::Redis, Program::Valkey] {
        let server = RedisServer::start(Options { program, ..Options::default() }).await.unwrap();
        for off in [300, -300, 0] {
            server.node().process().set_clock(off).unwrap();
            server.node().restart().await.unwrap();
            let time = server.node().command(&["TIME"]).await.unwrap();
            let theirs: i64 = time.lines().next().unwrap().parse().unwrap();
            let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
            assert!((theirs - ours - i64::from(off)).abs() <= 5, "{program:?} is off by {}", theirs - ours);
        }
    }
}
