//! The life of the process: what stops its start, and how it ends.

use std::{fs, process::Output, sync::Arc};

use nix::sys::signal::Signal;
use tokio::sync::Notify;

use crate::{
    engine::{Answer, FakeEngine},
    gateway::{Gateway, PROTOBUF, Reply, command},
};

fn run(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    command(&directory).args(arguments).output().unwrap()
}

#[test]
fn a_wrong_configuration_exits_78_and_says_what_and_where() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(".env"), "CORRELATION__ENGINES__MAX_ATTEMPTS=none\n").unwrap();
    let output = command(&directory).env("CORRELATION__HTTP__PORT", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let error = String::from_utf8(output.stderr).unwrap();
    for part in [
        r#"engines.max_attempts = "none" (CORRELATION__ENGINES__MAX_ATTEMPTS in file .env, line 1): expected a whole number"#,
        "http.port (environment variable CORRELATION__HTTP__PORT): unknown key; http has limits, listen, max_body_bytes, timeout_ms, tls",
    ] {
        assert!(error.contains(part), "{part} is missing in {error}");
    }
}

#[test]
fn check_config_prints_what_counts_and_exits() {
    let output = run(&["--check-config", "--set", "engines.hedge_ms=1234"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("hedge_ms")).unwrap();
    assert!(line.starts_with("hedge_ms = 1234") && line.ends_with("# flag --set"), "{line}");
    assert_eq!(run(&["--check-config", "--set", "http.timeout_ms=x"]).status.code(), Some(78));
}

#[tokio::test]
async fn a_port_in_use_exits_1_and_names_the_key() {
    let first = Gateway::spawn(&[], &["engines.urls=http://127.0.0.1:1"]).await;
    let taken = format!("http.listen={}", first.http_address());
    let output = run(&["--set", &taken, "--set", "admin.listen=127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    let expected = format!("failed to listen on {} (http.listen): the port is in use", first.http_address());
    assert!(error.contains(&expected), "{error}");
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_flight_and_exits_0() {
    let engine = FakeEngine::start().await;
    let mut gateway = Gateway::start(&[&engine], &[]).await;
    let told = Arc::new(Notify::new());
    engine.answers(Answer::When(Arc::clone(&told)));
    let in_flight = tokio::spawn(Reply::of(gateway.post("/v1/traces", PROTOBUF, "")));
    engine.called().await;

    gateway.signal(Signal::SIGTERM);
    gateway.wait_ready(false).await;
    assert!(gateway.admin("/readyz").await.text().contains("draining"));
    gateway
        .wait_for("a closed port", async || {
            tokio::net::TcpStream::connect(gateway.http_address()).await.is_err()
        })
        .await;
    told.notify_one();
    assert_eq!(in_flight.await.unwrap().status, 200);
    assert_eq!(gateway.wait_exit().await.code(), Some(0), "{}", gateway.log());
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let engine = FakeEngine::start().await;
    let mut gateway = Gateway::start(&[&engine], &[]).await;
    engine.answers(Answer::When(Arc::new(Notify::new())));
    let in_flight = tokio::spawn(gateway.post("/v1/traces", PROTOBUF, "").send());
    engine.called().await;
    gateway.signal(Signal::SIGTERM);
    gateway.wait_ready(false).await;
    gateway.signal(Signal::SIGINT);
    assert_eq!(gateway.wait_exit().await.code(), Some(130), "{}", gateway.log());
    assert!(in_flight.await.unwrap().is_err());
}
