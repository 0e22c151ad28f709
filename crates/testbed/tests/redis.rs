//! A Redis Cluster of real processes forms, survives the loss of a primary and takes it back.

use std::{fs, time::Duration};

use testbed::redis::{Options, RedisCluster, RedisServer, Role, Topology};
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
