//! Start, health, metrics, drain, and what stops a start.

use std::time::Duration;

use testbed::{EngineOptions, EngineProcess, RedisCluster, State, Topology, redis::Options};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt as _;

use crate::client::{channel, engine, export, request, span, span_count, traces};

async fn health(engine: &EngineProcess, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel(engine)).check(request).await;
    answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_of_the_server_and_of_each_service() {
    let engine = engine().await;
    let services = [
        "",
        "opentelemetry.proto.collector.trace.v1.TraceService",
        "opentelemetry.proto.collector.logs.v1.LogsService",
        "correlation.v1.CorrelationService",
        "correlation.v1.WatchService",
    ];
    for service in services {
        assert_eq!(health(&engine, service).await, Ok(ServingStatus::Serving), "{service:?}");
    }
    assert_eq!(health(&engine, "no.such.Service").await, Err(Code::NotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_answers_in_both_versions() {
    use tonic_reflection::pb::{v1, v1alpha};
    let engine = engine().await;
    let message = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest { message_request: Some(message), ..Default::default() };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel(&engine));
    let answers = client.server_reflection_info(tokio_stream::once(request)).await;
    let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
    assert!(format!("{answer:?}").contains("correlation.v1.CorrelationService"), "{answer:?}");

    let message = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1alpha::ServerReflectionRequest { message_request: Some(message), ..Default::default() };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel(&engine));
    let answers = client.server_reflection_info(tokio_stream::once(request)).await;
    let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
    assert!(format!("{answer:?}").contains("TraceService"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_was_accepted_and_refused() {
    let engine = engine().await;
    let mut invalid = span(1, 9);
    invalid.trace_id.clear();
    export(&engine, vec![span(1, 1), span(1, 2)]).await;
    export(&engine, vec![span(1, 1), span(1, 2)]).await;
    traces(&engine).export(request(vec![invalid])).await.unwrap();
    let (status, text) = engine.admin_get("/metrics").await.unwrap();
    assert_eq!(status, 200);
    for line in [
        r#"engine_received_items_total{signal="traces"} 5"#,
        r#"engine_accepted_items_total{signal="traces"} 4"#,
        r#"engine_duplicate_items_total{signal="traces"} 2"#,
        r#"engine_refused_items_total{signal="traces",reason="invalid_trace_id"} 1"#,
        r#"state_manager_operations_total{type="memory",operation="append"} 3"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_drains_and_a_second_one_ends_at_once() {
    let settings = vec![("shutdown.drain_delay_ms".to_owned(), "600000".to_owned())];
    let engine = EngineProcess::start(EngineOptions { settings, ..Default::default() }).await.unwrap();
    engine.process().signal(testbed::Signal::SIGTERM).unwrap();
    testbed::eventually("not ready", Duration::from_secs(10), async || {
        engine.admin_get("/readyz").await.is_ok_and(|(status, _)| status == 503)
    })
    .await
    .unwrap();
    assert_eq!(engine.admin_get("/livez").await.unwrap().0, 200);
    assert_eq!(health(&engine, "").await, Ok(ServingStatus::NotServing));
    export(&engine, vec![span(1, 1)]).await;
    engine.process().signal(testbed::Signal::SIGTERM).unwrap();
    let status = engine.process().wait(Duration::from_secs(10)).await.unwrap();
    assert_eq!(status.code(), Some(143));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_engine_ends_with_success_and_says_what_ends_with_it() {
    let engine = engine().await;
    export(&engine, vec![span(1, 1)]).await;
    let status = engine.process().terminate(Duration::from_secs(20)).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(engine.process().log_lines("state in memory ends with this process").unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_not_there_yet_is_waited_for() {
    // A port that was free a moment ago.
    let port = testbed::ports::Port::free().unwrap();
    let url = format!("redis://{}", port.address());
    let options = EngineOptions { state: State::Redis(url), ..Default::default() };
    let engine = EngineProcess::spawn(&options).unwrap();
    testbed::eventually("the log names the server", Duration::from_secs(20), async || {
        let lines = engine.process().log_lines("the state is not ready").unwrap();
        lines.iter().any(|line| line.contains(&port.address().to_string()))
    })
    .await
    .unwrap();
    let (status, text) = engine.admin_get("/readyz?verbose").await.unwrap();
    assert_eq!(status, 503);
    assert!(text.contains(&port.address().to_string()), "{text}");
    let status = traces(&engine).export(request(vec![span(1, 1)])).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.get_details_retry_info().is_some(), "it may be sent again");

    let number = port.address().port();
    drop(port);
    let _redis = testbed::RedisServer::start(Options { first_port: Some(number), ..Default::default() })
        .await
        .unwrap();
    engine.wait_ready().await.unwrap();
    export(&engine, vec![span(1, 1)]).await;
    assert_eq!(span_count(&engine, 1).await, 1);
}

async fn ends_with(settings: &[(&str, &str)], code: i32, said: &[&str]) {
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let engine = EngineProcess::spawn(&EngineOptions { settings, ..Default::default() }).unwrap();
    let status = engine.process().wait(Duration::from_secs(20)).await.unwrap();
    let log = std::fs::read_to_string(engine.process().log()).unwrap();
    assert_eq!(status.code(), Some(code), "{log}");
    for text in said {
        assert!(log.contains(text), "{text:?} is missing in:\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_refused_with_key_value_and_source() {
    ends_with(&[("use_redis_state", "true")], 78, &["redis.url", "REDIS_URL"]).await;
    ends_with(&[("redis.url", "localhost")], 78, &["redis.url", "redis-cluster://", "flag --set"]).await;
    ends_with(&[("grpc.listen", "4317")], 78, &["grpc.listen", "127.0.0.1:4317"]).await;
    ends_with(&[("grcp.listen", "127.0.0.1:4317")], 78, &["grcp.listen", "unknown key"]).await;
    ends_with(&[("correlation.ttl_seconds", "0")], 78, &["correlation.ttl_seconds", "ten years"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let first = engine().await;
    let taken = first.grpc().to_string();
    ends_with(&[("grpc.listen", &taken)], 1, &[&taken, "grpc.listen", "in use"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_given_as_one_server_is_refused_and_the_other_way_round() {
    let cluster =
        RedisCluster::start(Topology { replicas_per_primary: 0, ..Default::default() }).await.unwrap();
    let node = cluster.nodes()[0].address();
    let url = format!("redis://{node}");
    ends_with(
        &[("use_redis_state", "true"), ("redis.url", &url)],
        1,
        &["use redis-cluster://", &node.to_string()],
    )
    .await;
    let server = testbed::RedisServer::start(Options::default()).await.unwrap();
    let url = server.url().replace("redis://", "redis-cluster://");
    ends_with(&[("use_redis_state", "true"), ("redis.url", &url)], 1, &["use redis:// in the URL"]).await;
}
