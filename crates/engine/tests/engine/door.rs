//! The way in: credentials and tenants, TLS, and what happens when there is no room.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use otlp_proto::{
    correlation::v1::{
        CountCorrelationsRequest, GetCorrelationRequest, ListCorrelationsRequest,
        correlation_service_client::CorrelationServiceClient,
    },
    opentelemetry::proto::{collector::trace::v1::trace_service_client::TraceServiceClient, trace::v1::Span},
    raw::RawCodec,
};
use tempfile::TempDir;
use testbed::{
    EngineOptions, EngineProcess,
    certificates::{Authority, write},
};
use tokio::time::{sleep, timeout};
use tonic::{
    Code, Request, Status,
    codec::CompressionEncoding,
    codegen::http::uri::PathAndQuery,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;

use crate::client::{channel, export, hex, request, span, span_count, trace_id, traces};

pub(crate) const CREDENTIALS: &str = "
    [[credential]]
    name = 'shop'
    token = 'the-token-of-the-shop'
    tenant = 'shop'
    [[credential]]
    name = 'bank'
    token = 'the-token-of-the-bank'
    tenant = 'bank'
    [[credential]]
    name = 'operator'
    token = 'the-token-of-the-operator'
    any_tenant = true
";

async fn engine_with(settings: &[(&str, &str)]) -> EngineProcess {
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    EngineProcess::start(EngineOptions { settings: settings.collect(), ..EngineOptions::default() })
        .await
        .unwrap()
}

async fn guarded() -> (TempDir, EngineProcess) {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "auth.toml", CREDENTIALS).unwrap();
    let engine = engine_with(&[("auth.credentials", &file)]).await;
    (directory, engine)
}

/// A request with headers.
fn with<T>(message: T, headers: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    request
}

async fn send(engine: &EngineProcess, number: u64, headers: &[(&'static str, &str)]) -> Result<(), Status> {
    traces(engine).export(with(request(vec![span(number, 1)]), headers)).await.map(drop)
}

async fn reads(engine: &EngineProcess, number: u64, headers: &[(&'static str, &str)]) -> Result<u64, Code> {
    let message = GetCorrelationRequest { correlation_id: hex(&trace_id(number)), ..Default::default() };
    let mut client = CorrelationServiceClient::new(channel(engine));
    let answer = client.get_correlation(with(message, headers)).await;
    answer.map(|answer| answer.into_inner().summary.unwrap().spans).map_err(|status| status.code())
}

const SHOP: (&str, &str) = ("authorization", "Bearer the-token-of-the-shop");
const BANK: (&str, &str) = ("x-api-key", "the-token-of-the-bank");
const OPERATOR: (&str, &str) = ("authorization", "Bearer the-token-of-the-operator");

#[tokio::test(flavor = "multi_thread")]
async fn without_a_known_credential_nothing_is_answered_but_health() {
    let (_directory, engine) = guarded().await;
    for headers in [&[][..], &[("authorization", "Bearer some-other-token")], &[("x-api-key", "")]] {
        let status = send(&engine, 1, headers).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        assert!(status.message().contains("Authorization: Bearer"), "{status}");
        assert_eq!(reads(&engine, 1, headers).await, Err(Code::Unauthenticated));
    }
    HealthClient::new(channel(&engine)).check(HealthCheckRequest::default()).await.unwrap();
    let (_, metrics) = engine.admin_get("/metrics").await.unwrap();
    let denied = "door_denied_requests_total{door=\"grpc\",reason=\"unauthenticated\"} 6";
    assert!(metrics.contains(denied), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_do_not_see_each_other() {
    let (_directory, engine) = guarded().await;
    send(&engine, 1, &[SHOP]).await.unwrap();
    send(&engine, 1, &[SHOP]).await.unwrap();
    send(&engine, 2, &[BANK]).await.unwrap();
    assert_eq!(reads(&engine, 1, &[SHOP]).await, Ok(1));
    assert_eq!(reads(&engine, 1, &[BANK]).await, Err(Code::NotFound));
    assert_eq!(reads(&engine, 2, &[OPERATOR, ("x-scope-orgid", "bank")]).await, Ok(1));
    assert_eq!(reads(&engine, 2, &[OPERATOR]).await, Err(Code::NotFound));
    assert_eq!(reads(&engine, 2, &[SHOP, ("x-scope-orgid", "bank")]).await, Err(Code::PermissionDenied));

    let mut client = CorrelationServiceClient::new(channel(&engine));
    let listed = client.list_correlations(with(ListCorrelationsRequest::default(), &[BANK])).await.unwrap();
    let listed: Vec<_> =
        listed.into_inner().correlations.into_iter().map(|found| found.correlation_id).collect();
    assert_eq!(listed, [hex(&trace_id(2))]);
    let count = |header| with(CountCorrelationsRequest {}, &[header]);
    assert_eq!(client.count_correlations(count(SHOP)).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(client.count_correlations(count(OPERATOR)).await.unwrap().into_inner().correlations, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_credential_ends_without_a_restart() {
    let (directory, engine) = guarded().await;
    send(&engine, 1, &[SHOP]).await.unwrap();
    let left = CREDENTIALS.replace("the-token-of-the-shop", "another-token-of-the-shop");
    write(directory.path(), "auth.toml", &left).unwrap();
    let withdrawn = async {
        while send(&engine, 1, &[SHOP]).await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), withdrawn).await.expect("the token is known no more");
    send(&engine, 1, &[("x-api-key", "another-token-of-the-shop")]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tenants_the_header_changes_nothing() {
    let engine = engine_with(&[]).await;
    send(&engine, 1, &[("x-scope-orgid", "anonymous")]).await.unwrap();
    assert_eq!(span_count(&engine, 1).await, 1);
}

/// Holds a request in flight: its head and so many bytes of it have come, its end has not.
fn hold(engine: &EngineProcess, bytes: usize) -> tokio::task::JoinHandle<()> {
    let mut client = tonic::client::Grpc::new(channel(engine));
    tokio::spawn(async move {
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
        let message = stream::iter((bytes > 0).then(|| Bytes::from(vec![0; bytes])));
        let _ = client.streaming(Request::new(message.chain(stream::pending())), path, RawCodec).await;
    })
}

async fn in_flight(engine: &EngineProcess, requests: u32) {
    engine.wait_metric(&format!("door_requests_in_flight{{door=\"grpc\"}} {requests}")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_limit_are_to_be_sent_again() {
    let engine = engine_with(&[("grpc.limits.requests_in_flight_max", "1")]).await;
    let held = hold(&engine, 0);
    in_flight(&engine, 1).await;
    let status = send(&engine, 1, &[]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("grpc.limits.requests_in_flight_max = 1"), "{status}");
    assert!(status.get_details_retry_info().is_some());
    HealthClient::new(channel(&engine)).check(HealthCheckRequest::default()).await.unwrap();
    held.abort();
    in_flight(&engine, 0).await;
    export(&engine, vec![span(1, 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_beyond_the_limit_are_to_be_sent_again() {
    let limits = [("grpc.limits.bytes_in_flight_max", "1000"), ("grpc.max_message_bytes", "1000")];
    let engine = engine_with(&limits).await;
    let held = hold(&engine, 900);
    engine.wait_metric("door_in_flight_bytes{door=\"grpc\"} 905").await.unwrap();
    let status = send(&engine, 1, &[]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("grpc.limits.bytes_in_flight_max = 1000"), "{status}");
    assert!(status.get_details_retry_info().is_some());
    held.abort();
    engine.wait_metric("door_in_flight_bytes{door=\"grpc\"} 0").await.unwrap();
    export(&engine, vec![span(1, 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_request_counts_as_what_it_becomes() {
    let limits = [("grpc.limits.bytes_in_flight_max", "1000000"), ("grpc.max_message_bytes", "1000000")];
    let engine = engine_with(&limits).await;
    let held = hold(&engine, 200_000);
    engine.wait_metric("door_in_flight_bytes{door=\"grpc\"} 200005").await.unwrap();
    let mut client = traces(&engine).send_compressed(CompressionEncoding::Gzip);
    let large = || request(vec![Span { name: "x".repeat(900_000), ..span(1, 1) }]);
    let status = client.export(large()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("grpc.limits.bytes_in_flight_max = 1000000"), "{status}");
    held.abort();
    engine.wait_metric("door_in_flight_bytes{door=\"grpc\"} 0").await.unwrap();
    client.export(large()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_end_is_given_up() {
    let engine = engine_with(&[("grpc.timeout_ms", "500")]).await;
    let held = hold(&engine, 100);
    in_flight(&engine, 1).await;
    in_flight(&engine, 0).await;
    timeout(Duration::from_secs(30), held).await.expect("its client is told").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mutual_tls_only_signed_clients_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new().unwrap();
    let (certificate, key) = authority.sign().unwrap().write(directory.path(), "engine").unwrap();
    let engine = engine_with(&[
        ("grpc.tls.certificate", &certificate),
        ("grpc.tls.key", &key),
        ("grpc.tls.client_ca", &write(directory.path(), "ca.pem", &authority.pem()).unwrap()),
    ])
    .await;
    let connect = |tls: ClientTlsConfig| -> TraceServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("https://{}", engine.grpc())).unwrap();
        let tls = tls.domain_name("localhost").ca_certificate(Certificate::from_pem(authority.pem()));
        TraceServiceClient::new(endpoint.tls_config(tls).unwrap().connect_lazy())
    };
    let own = authority.sign().unwrap();
    let signed = ClientTlsConfig::new().identity(Identity::from_pem(own.pem, own.key));
    connect(signed).export(request(vec![span(1, 1)])).await.unwrap();
    assert!(connect(ClientTlsConfig::new()).export(request(vec![span(1, 2)])).await.is_err());
    assert!(send(&engine, 1, &[]).await.is_err(), "plain text");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_stops_the_start_and_is_named() {
    let settings = [("grpc.tls.certificate", "/nowhere/engine.pem"), ("grpc.tls.key", "/nowhere/engine.key")];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let started = EngineProcess::start(EngineOptions { settings, ..EngineOptions::default() }).await;
    let error = format!("{:#}", started.unwrap_err());
    assert!(error.contains("/nowhere/engine.pem: there is no such file"), "{error}");
}
