//! The way in through the gateway: credentials, tenants, TLS on both sides, and room for requests.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{
    EngineOptions, EngineProcess, GatewayOptions, GatewayProcess,
    certificates::{Authority, write},
    eventually,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SHOP: (&str, &str) = ("authorization", "Bearer the-token-of-the-shop");
const BANK: (&str, &str) = ("x-api-key", "the-token-of-the-bank");

const CLIENTS: &str = "
    [[credential]]
    name = 'shop'
    token = 'the-token-of-the-shop'
    tenant = 'shop'
    [[credential]]
    name = 'bank'
    token = 'the-token-of-the-bank'
    tenant = 'bank'
";

const GATEWAYS: &str = "
    [[credential]]
    name = 'gateway'
    token = 'the-token-of-the-gateway'
    any_tenant = true
";

type Settings<'a> = &'a [(&'a str, &'a str)];

fn owned(settings: Settings) -> Vec<(String, String)> {
    settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn engine(settings: Settings<'_>) -> EngineProcess {
    let options = EngineOptions { settings: owned(settings), ..EngineOptions::default() };
    EngineProcess::start(options).await.unwrap()
}

async fn gateway(engine: String, settings: Settings<'_>) -> GatewayProcess {
    let engines = vec![engine];
    let options = GatewayOptions { engines, settings: owned(settings), ..GatewayOptions::default() };
    GatewayProcess::start(options).await.unwrap()
}

fn body() -> String {
    let span = json!({ "traceId": TRACE, "spanId": "00f067aa0ba902b7", "name": "pay", "kind": 2,
        "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001000000000" });
    json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] }).to_string()
}

/// Sends one span, with headers.
async fn send(client: &Client, url: &str, headers: Settings<'_>) -> Response {
    let request = client.post(format!("{url}/v1/traces")).header("content-type", "application/json");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(body()).send().await.unwrap()
}

async fn ask(client: &Client, url: &str, path: &str, headers: Settings<'_>) -> (StatusCode, Value) {
    let request = client.get(format!("{url}{path}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

fn plain() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

fn credentials(directory: &TempDir, name: &str, text: &str) -> String {
    write(directory.path(), name, text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_stay_apart_from_client_to_engine_with_tls_all_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new().unwrap();
    let ca = write(directory.path(), "ca.pem", &authority.pem()).unwrap();
    let (of_engine, engine_key) = authority.sign().unwrap().write(directory.path(), "engine").unwrap();
    let (of_gateway, gateway_key) = authority.sign().unwrap().write(directory.path(), "gateway").unwrap();
    let engine = engine(&[
        ("grpc.tls.certificate", &of_engine),
        ("grpc.tls.key", &engine_key),
        ("grpc.tls.client_ca", &ca),
        ("auth.credentials", &credentials(&directory, "gateways.toml", GATEWAYS)),
    ])
    .await;
    let gateway = gateway(
        format!("https://{}", engine.grpc()),
        &[
            ("engines.tls.ca", &ca),
            ("engines.tls.certificate", &of_gateway),
            ("engines.tls.key", &gateway_key),
            ("engines.token", "the-token-of-the-gateway"),
            ("http.tls.certificate", &of_gateway),
            ("http.tls.key", &gateway_key),
            ("auth.credentials", &credentials(&directory, "clients.toml", CLIENTS)),
        ],
    )
    .await;
    let trusted = reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    let client = Client::builder().no_proxy().add_root_certificate(trusted).build().unwrap();
    let url = format!("https://{}", gateway.http());
    for credential in [SHOP, SHOP, BANK] {
        let sent = send(&client, &url, &[credential]).await;
        assert_eq!(sent.status(), StatusCode::OK, "{}", sent.text().await.unwrap());
    }
    let path = format!("/api/v1/correlations/{TRACE}");
    for credential in [SHOP, BANK] {
        let (status, found) = ask(&client, &url, &path, &[credential]).await;
        assert_eq!((status, &found["spans"]), (StatusCode::OK, &json!(1)), "{found}");
        let (_, listed) = ask(&client, &url, "/api/v1/correlations", &[credential]).await;
        assert_eq!(listed["correlations"].as_array().unwrap().len(), 1, "{listed}");
    }
    let deleted = client.delete(format!("{url}{path}")).header(SHOP.0, SHOP.1).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!(ask(&client, &url, &path, &[SHOP]).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(&client, &url, &path, &[BANK]).await.0, StatusCode::OK);
    assert_eq!(ask(&client, &url, "/api/v1/stats", &[SHOP]).await.0, StatusCode::FORBIDDEN);
    assert!(plain().get(format!("http://{}/", gateway.http())).send().await.is_err(), "plain text");
}

/// The engine has no client for HTTP in its tests, so its port is tried here too.
#[tokio::test(flavor = "multi_thread")]
async fn with_mutual_tls_the_admin_ports_answer_clients_with_a_certificate_only() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new().unwrap();
    let (certificate, key) = authority.sign().unwrap().write(directory.path(), "admin").unwrap();
    let ca = write(directory.path(), "ca.pem", &authority.pem()).unwrap();
    let settings = owned(&[
        ("admin.tls.certificate", &certificate),
        ("admin.tls.key", &key),
        ("admin.tls.client_ca", &ca),
    ]);
    let options = EngineOptions { settings: settings.clone(), ..EngineOptions::default() };
    let engine = EngineProcess::spawn(&options).unwrap();
    let engines = vec![engine.url()];
    let gateway =
        GatewayProcess::spawn(&GatewayOptions { engines, settings, ..GatewayOptions::default() }).unwrap();

    let trusting = || {
        let trusted = reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap();
        Client::builder().no_proxy().add_root_certificate(trusted)
    };
    let own = authority.sign().unwrap();
    let own = reqwest::Identity::from_pem(format!("{}{}", own.pem, own.key).as_bytes()).unwrap();
    let known = trusting().identity(own).build().unwrap();
    let unknown = trusting().build().unwrap();
    for (process, admin) in [(engine.process(), engine.admin()), (gateway.process(), gateway.admin())] {
        let name = process.name();
        eventually(&format!("{name} is ready"), Duration::from_secs(30), async || {
            let answer = known.get(format!("https://{admin}/readyz")).send().await;
            answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
        })
        .await
        .unwrap();
        let metrics = known.get(format!("https://{admin}/metrics")).send().await.unwrap();
        assert!(metrics.text().await.unwrap().contains("door_connections{door=\"admin\"}"));
        assert!(
            unknown.get(format!("https://{admin}/livez")).send().await.is_err(),
            "{name}: no certificate"
        );
        assert!(plain().get(format!("http://{admin}/livez")).send().await.is_err(), "{name}: plain text");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_known_credential_the_answer_says_what_to_send() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&[("auth.tenant_header", "true")]).await;
    let file = credentials(&directory, "clients.toml", CLIENTS);
    let gateway = gateway(engine.url(), &[("auth.credentials", &file)]).await;
    let (client, url) = (plain(), gateway.url());
    for headers in [&[][..], &[("x-api-key", "not-one-of-the-tokens")]] {
        let denied = send(&client, &url, headers).await;
        assert_eq!(denied.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(denied.headers()["www-authenticate"], "Bearer");
        assert_eq!(denied.headers()["content-type"], "application/json");
        let status: Value = denied.json().await.unwrap();
        assert_eq!(status["code"], 16);
        assert!(status["message"].as_str().unwrap().contains("Authorization: Bearer"), "{status}");
    }
    let (code, problem) = ask(&client, &url, "/api/v1/correlations", &[]).await;
    assert_eq!((code, &problem["status"]), (StatusCode::UNAUTHORIZED, &json!(401)));
    let denied = send(&client, &url, &[SHOP, ("x-scope-orgid", "bank")]).await;
    assert_eq!(denied.status(), StatusCode::FORBIDDEN);
    assert_eq!(send(&client, &url, &[SHOP]).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_without_tenants_does_not_mix_them() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&[]).await;
    let file = credentials(&directory, "clients.toml", CLIENTS);
    let gateway = gateway(engine.url(), &[("auth.credentials", &file)]).await;
    let denied = send(&plain(), &gateway.url(), &[SHOP]).await;
    assert_eq!(denied.status(), StatusCode::FORBIDDEN);
    let text = denied.text().await.unwrap();
    assert!(text.contains("auth.tenant_header"), "{text}");
}

/// Begins a request of so many bytes, and sends some of them.
async fn begin(gateway: &GatewayProcess, path: &str, bytes: usize, sent: usize) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/x-protobuf\r\n\
         content-length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![0; sent]).await.unwrap();
    stream
}

/// Begins a request that does not end, and sends so many bytes of it.
async fn hold(gateway: &GatewayProcess, sent: usize) -> TcpStream {
    begin(gateway, "/v1/traces", sent + 50, sent).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_room_for_is_to_be_sent_again() {
    let engine = engine(&[]).await;
    for (limit, more, gauge_when_full) in [
        ("requests_in_flight_max", &[("http.limits.requests_in_flight_max", "1")][..], "requests_in_flight"),
        (
            "bytes_in_flight_max",
            &[("http.limits.bytes_in_flight_max", "1000"), ("http.max_body_bytes", "1000")],
            "in_flight_bytes",
        ),
    ] {
        let gateway = gateway(engine.url(), more).await;
        let held = hold(&gateway, 900).await;
        let (name, full) =
            (format!("door_{gauge_when_full}{{door=\"http\"}}"), gauge_when_full.contains("bytes"));
        gateway.wait_metric(&format!("{name} {}", if full { 900 } else { 1 })).await.unwrap();
        let refused = send(&plain(), &gateway.url(), &[]).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{limit}");
        assert_eq!(refused.headers()["retry-after"], "1");
        let status: Value = refused.json().await.unwrap();
        assert_eq!(status["code"], 14);
        assert!(status["message"].as_str().unwrap().contains(&format!("http.limits.{limit}")), "{status}");
        drop(held);
        gateway.wait_metric(&format!("{name} 0")).await.unwrap();
        assert_eq!(send(&plain(), &gateway.url(), &[]).await.status(), StatusCode::OK);
    }
}

/// Sends all of a request before it looks for the answer; reads the head of that.
async fn send_all(gateway: &GatewayProcess, path: &str, bytes: usize) -> String {
    let mut stream = begin(gateway, path, bytes, bytes).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_still_sending_gets_its_answer_whatever_it_is() {
    // More than a connection takes in without anybody reading.
    const LARGE: usize = 24 << 20;
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&[]).await;
    let large = LARGE.to_string();
    let file = credentials(&directory, "clients.toml", CLIENTS);
    let limits = |key| [("http.max_body_bytes", large.as_str()), (key, large.as_str())];
    let narrow = gateway(engine.url(), &limits("http.limits.bytes_in_flight_max")).await;
    let busy = gateway(engine.url(), &[("http.limits.requests_in_flight_max", "1")]).await;
    let guarded = gateway(engine.url(), &[("auth.credentials", &file)]).await;
    let _held = (hold(&narrow, LARGE / 2).await, hold(&busy, 1).await);
    narrow.wait_metric(&format!("door_in_flight_bytes{{door=\"http\"}} {}", LARGE / 2)).await.unwrap();
    busy.wait_metric("door_requests_in_flight{door=\"http\"} 1").await.unwrap();
    for (gateway, path, bytes, status) in [
        (&narrow, "/v1/traces", LARGE, "503 "),
        (&narrow, "/v1/traces", LARGE + 1, "413 "),
        (&narrow, "/v1/metrics", LARGE, "404 "),
        (&narrow, "/api/v1/stats", LARGE, "405 "),
        (&busy, "/v1/traces", LARGE, "503 "),
        (&guarded, "/v1/traces", LARGE, "401 "),
    ] {
        let answer = send_all(gateway, path, bytes).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path} {bytes}: {answer}");
    }
}
