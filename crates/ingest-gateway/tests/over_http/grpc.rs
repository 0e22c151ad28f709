//! OTLP/gRPC at the gateway: what an engine answers, whichever engine it is.

use std::sync::Arc;

use bytes::Bytes;
use otlp_proto::raw::{
    logs::logs_service_client::LogsServiceClient, trace::trace_service_client::TraceServiceClient,
};
use tokio::sync::Notify;
use tonic::{
    Code, Status,
    codec::CompressionEncoding::{Gzip, Zstd},
    transport::Channel,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    engine::{Answer, FakeEngine},
    gateway::Gateway,
};

#[tokio::test]
async fn messages_and_answers_pass_unchanged_in_every_compression() {
    let engine = FakeEngine::start().await;
    let gateway = Gateway::start(&[&engine], &[]).await;
    let partial = Bytes::from_static(b"\x0a\x05\x08\x02\x12\x01x");
    engine.answers(Answer::Bytes(partial.clone()));
    let message = Bytes::from(vec![7; 10_000]);
    let traces = TraceServiceClient::connect(gateway.grpc_url()).await.unwrap();
    for mut client in
        [traces.clone(), traces.clone().send_compressed(Gzip), traces.clone().send_compressed(Zstd)]
    {
        assert_eq!(client.export(message.clone()).await.unwrap().into_inner(), partial);
    }
    let mut logs = LogsServiceClient::connect(gateway.grpc_url()).await.unwrap();
    assert_eq!(logs.export(message.clone()).await.unwrap().into_inner(), partial);
    let signals = ["traces", "traces", "traces", "logs"];
    assert_eq!(engine.received(), signals.map(|signal| (signal, message.clone())));
    let accepted = gateway.metric("gateway_requests_accepted_total", r#"transport="grpc""#).await;
    assert_eq!(accepted, 4.0);
}

#[tokio::test]
async fn requests_of_one_connection_are_spread_over_all_engines() {
    let engines = [FakeEngine::start().await, FakeEngine::start().await];
    let gateway = Gateway::start(&[&engines[0], &engines[1]], &[]).await;
    let client = TraceServiceClient::connect(gateway.grpc_url()).await.unwrap();
    gateway
        .wait_for("a share for each engine", async || {
            client.clone().export(Bytes::new()).await.unwrap();
            engines.iter().all(|engine| engine.received().len() >= 10)
        })
        .await;
}

#[tokio::test]
async fn errors_keep_code_message_and_details() {
    let engine = FakeEngine::start().await;
    let gateway = Gateway::start(&[&engine], &[]).await;
    let mut client = TraceServiceClient::connect(gateway.grpc_url()).await.unwrap();
    let details = ErrorDetails::with_bad_request_violation("request", "is not OTLP");
    let said = Status::with_error_details(Code::InvalidArgument, "bad", details);
    engine.answers(Answer::Status(said.clone()));
    let answer = client.export(Bytes::new()).await.unwrap_err();
    assert_eq!(
        (answer.code(), answer.message(), answer.details()),
        (said.code(), said.message(), said.details())
    );

    engine.set_serving(false).await;
    gateway.wait_ready(false).await;
    let answer = client.export(Bytes::new()).await.unwrap_err();
    assert_eq!(answer.code(), Code::Unavailable);
    assert!(answer.get_details_retry_info().is_some(), "{answer:?}");
}

#[tokio::test]
async fn a_message_that_is_too_large_is_not_to_be_sent_again() {
    let engine = FakeEngine::start().await;
    let gateway = Gateway::start(&[&engine], &["otlp_grpc.max_message_bytes=1000"]).await;
    let traces = TraceServiceClient::connect(gateway.grpc_url()).await.unwrap();
    for mut client in [traces.clone(), traces.send_compressed(Gzip)] {
        let answer = client.export(Bytes::from(vec![0; 1001])).await.unwrap_err();
        assert_eq!(answer.code(), Code::ResourceExhausted, "{answer:?}");
        assert!(answer.get_details_retry_info().is_none());
        client.export(Bytes::from(vec![0; 1000])).await.unwrap();
    }
}

#[tokio::test]
async fn health_says_whether_an_engine_is_ready() {
    let engine = FakeEngine::start().await;
    let gateway = Gateway::start(&[&engine], &[]).await;
    let channel = Channel::from_shared(gateway.grpc_url()).unwrap().connect().await.unwrap();
    let client = HealthClient::new(channel);
    let health = async || {
        let answer = client.clone().check(HealthCheckRequest::default()).await.unwrap();
        answer.into_inner().status()
    };
    gateway.wait_for("serving", async || health().await == ServingStatus::Serving).await;
    engine.set_serving(false).await;
    gateway.wait_for("not serving", async || health().await == ServingStatus::NotServing).await;
}

#[tokio::test]
async fn messages_count_decompressed_until_an_engine_has_answered() {
    let engine = FakeEngine::start().await;
    let room = ["otlp_grpc.max_message_bytes=1000000", "otlp_grpc.limits.bytes_in_flight_max=1000000"];
    let gateway = Gateway::start(&[&engine], &room).await;
    let answer = Arc::new(Notify::new());
    engine.answers(Answer::When(Arc::clone(&answer)));
    let mut client = TraceServiceClient::connect(gateway.grpc_url()).await.unwrap().send_compressed(Gzip);
    let message = Bytes::from(vec![7; 600_000]);
    let waiting = tokio::spawn({
        let (mut client, message) = (client.clone(), message.clone());
        async move { client.export(message).await }
    });
    engine.called().await;
    let refused = client.export(message).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(refused.message().contains("otlp_grpc.limits.bytes_in_flight_max"), "{refused:?}");
    assert!(refused.get_details_retry_info().is_some());
    answer.notify_one();
    waiting.await.unwrap().unwrap();
}
