//! How it is delivered: protocols, compression, headers, TLS.

use std::{path::Path, sync::Arc, time::Duration};

use http::header::CONTENT_ENCODING;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use testbed::{
    EngineOptions, EngineProcess, State,
    certificates::{Authority, write},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    content::once,
    endpoint::Endpoint,
    engine::{Endpoints, until},
    telemetry::{send_logs, send_spans},
};

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_carry_every_compression_and_the_headers() {
    for protocol in ["grpc", "http/protobuf"] {
        let mut endpoints = Endpoints::new();
        let mut ends = Vec::new();
        for compression in ["gzip", "zstd", "none"] {
            let end = Endpoint::start().await;
            let lines = format!(
                "protocol = '{protocol}'\ncompression = '{compression}'\nheaders = {{ X-Scope-OrgID = 'shop' }}"
            );
            endpoints = endpoints.with(compression, &end, &lines);
            ends.push((compression, end));
        }
        let engine = endpoints.engine(State::Memory).await;
        send_spans(&engine, 1, 1..=50).await;
        send_logs(&engine, 1, &["a log record"]).await;
        for (compression, end) in &ends {
            until(compression, || end.spans().len() == 50 && end.logs().len() == 1).await;
            let signal = protocol.split_once('/').map_or(protocol, |(http, _)| http);
            for received in end.received().iter() {
                assert!(received.path.starts_with(signal), "{received:?}");
                assert_eq!(received.headers["x-scope-orgid"], "shop");
                let coding = match signal {
                    "grpc" => received.headers.get("grpc-encoding"),
                    _ => received.headers.get(CONTENT_ENCODING),
                };
                let coding = coding.map_or("none", |coding| coding.to_str().unwrap());
                assert_eq!(coding, *compression);
            }
        }
    }
}

/// TLS of an endpoint that asks for certificates of the authority that has signed its own.
fn mutual_tls(authority: &Authority) -> TlsAcceptor {
    let signed = authority.sign().unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let certificate = CertificateDer::from_pem_slice(signed.pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).unwrap();
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.unwrap().with_client_cert_verifier(clients.build().unwrap());
    let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config).into()
}

/// Writes a certificate, and answers the `tls` of an endpoint with it.
fn client_files(authority: &Authority, directory: &Path) -> String {
    let signed = authority.sign().unwrap();
    let ca = write(directory, "ca.pem", &authority.pem()).unwrap();
    let certificate = write(directory, "client.pem", &signed.pem).unwrap();
    let key = write(directory, "client.key", &signed.key).unwrap();
    format!("tls = {{ ca = '{ca}', certificate = '{certificate}', key = '{key}' }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_do_mutual_tls_and_trust_only_the_given_authority() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new().unwrap();
    let stranger = tempfile::tempdir().unwrap();
    let unknown = Authority::new().unwrap();
    let tls = mutual_tls(&authority);
    for protocol in ["grpc", "http/protobuf"] {
        let trusted = Endpoint::start_with(Some(tls.clone())).await;
        let untrusted = Endpoint::start_with(Some(tls.clone())).await;
        let lines = |files: &str| format!("protocol = '{protocol}'\n{files}");
        let engine = Endpoints::new()
            .with("trusted", &trusted, &lines(&client_files(&authority, directory.path())))
            .with("untrusted", &untrusted, &lines(&client_files(&unknown, stranger.path())))
            .engine(State::Memory)
            .await;
        send_spans(&engine, 1, 1..=3).await;
        until("the trace is there", || trusted.spans() == once([1], 3)).await;
        testbed::eventually("the log says why", Duration::from_secs(30), async || {
            let lines = engine.process().log_lines("an endpoint fails").unwrap();
            lines.iter().any(|line| line.contains("untrusted") && line.contains("certificate"))
        })
        .await
        .unwrap();
        assert_eq!(untrusted.received().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_endpoint_is_given_as_a_url_alone() {
    let endpoint = Endpoint::start().await;
    let settings = [("delivery.url", endpoint.url().as_str()), ("correlation.grace_ms", "100")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec();
    let engine = EngineProcess::start(EngineOptions { settings, ..Default::default() }).await.unwrap();
    send_spans(&engine, 1, 1..=3).await;
    until("the trace is there", || endpoint.spans() == once([1], 3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_stops_the_start_and_is_named() {
    let endpoint = Endpoint::start().await;
    for (lines, expected) in [
        ("color = 'red'", "line 5: unknown field `color`"),
        ("tls = { ca = '/nowhere/ca.pem' }", "expected an https:// URL"),
    ] {
        let endpoints = Endpoints::new().with("a", &endpoint, lines);
        let settings = vec![("delivery.endpoints".to_owned(), endpoints.file())];
        let engine = EngineProcess::spawn(&EngineOptions { settings, ..Default::default() }).unwrap();
        let status = engine.process().wait(Duration::from_secs(20)).await.unwrap();
        assert_eq!(status.code(), Some(1));
        let log = std::fs::read_to_string(engine.process().log()).unwrap();
        assert!(log.contains("endpoints.toml") && log.contains(expected), "{log}");
    }
}
