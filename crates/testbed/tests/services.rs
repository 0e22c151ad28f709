//! Engine and gateway as processes of a test: restart, settings, exit.

use std::time::Duration;

use testbed::{Backend, EngineOptions, EngineProcess, LocalCluster, Shape};

#[tokio::test]
async fn a_killed_engine_comes_back_on_its_ports() {
    let engine = EngineProcess::start(EngineOptions::default()).await.unwrap();
    let address = engine.grpc();
    engine.process().kill().unwrap();
    engine.restart().await.unwrap();
    assert_eq!(engine.grpc(), address);
    let (status, metrics) = engine.admin_get("/metrics").await.unwrap();
    assert_eq!(status, 200);
    assert!(metrics.contains("# TYPE"), "{metrics}");
}

#[tokio::test]
async fn a_terminated_engine_ends_without_an_error() {
    let engine = EngineProcess::start(EngineOptions::default()).await.unwrap();
    let status = engine.process().terminate(Duration::from_secs(30)).await.unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn an_engine_that_refuses_its_settings_is_reported_with_its_words() {
    let settings = vec![("no.such.key".to_owned(), "1".to_owned())];
    let options = EngineOptions { settings, ..EngineOptions::default() };
    let error = format!("{:#}", EngineProcess::start(options).await.unwrap_err());
    assert!(error.contains("no.such") && error.contains("exit status: 78"), "{error}");
}

#[tokio::test]
async fn a_local_cluster_describes_everything_that_runs() {
    let shape = Shape { backend: Backend::Redis, engines: 2, ..Shape::default() };
    let cluster = LocalCluster::start(&shape).await.unwrap();
    let running = cluster.describe().unwrap();
    assert_eq!((running.redis.len(), running.engines.len(), running.gateways.len()), (1, 2, 1));
    for member in running.members() {
        member.ready().await.unwrap();
    }
    drop(cluster);
    assert!(running.members().iter().all(|member| !member.entry.is_running()));
}
