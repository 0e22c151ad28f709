//! The gateway under test: the real binary on free ports.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::Pid};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::engine::FakeEngine;

/// Far longer than anything takes, so that only what never happens runs into it.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const PROTOBUF: &str = "application/x-protobuf";
pub(crate) const JSON: &str = "application/json";

/// A running gateway, killed when dropped.
pub(crate) struct Gateway {
    http: String,
    grpc: String,
    admin: String,
    process: Child,
    log: Arc<Mutex<Vec<String>>>,
    pub(crate) client: Client,
    _directory: TempDir,
}

/// The binary in a directory of its own, so that no `.env` reaches it.
pub(crate) fn command(directory: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingest-gateway"));
    let foreign = std::env::vars_os().map(|(name, _)| name);
    for name in foreign.filter(|name| name.to_string_lossy().starts_with("CORRELATION")) {
        command.env_remove(name);
    }
    command.current_dir(directory.path());
    command
}

impl Gateway {
    /// Starts a gateway in front of `engines` and waits until it is ready.
    pub(crate) async fn start(engines: &[&FakeEngine], settings: &[&str]) -> Self {
        let gateway = Self::spawn(engines, settings).await;
        gateway.wait_ready(true).await;
        // Not just one: which engine gets a request must not depend on who was first.
        gateway.wait_engines_ready(engines.len()).await;
        gateway
    }

    /// Starts a gateway and waits only until its ports are open.
    pub(crate) async fn spawn(engines: &[&FakeEngine], settings: &[&str]) -> Self {
        Self::spawn_in(&[], engines, settings).await
    }

    /// Likewise, with more in its environment.
    pub(crate) async fn spawn_in(
        environment: &[(&str, &str)],
        engines: &[&FakeEngine],
        settings: &[&str],
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let urls: Vec<String> = engines.iter().map(|engine| engine.url()).collect();
        let defaults = [
            "http.listen=127.0.0.1:0".to_owned(),
            "otlp_grpc.listen=127.0.0.1:0".to_owned(),
            "admin.listen=127.0.0.1:0".to_owned(),
            "log.format=json".to_owned(),
            "engines.probe_ms=20".to_owned(),
            format!("engines.urls={urls:?}"),
        ];
        let settings = settings.iter().map(ToString::to_string);
        let mut process = command(&directory)
            .args(defaults.into_iter().chain(settings).flat_map(|set| ["--set".to_owned(), set]))
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut listening = follow(&mut process, Arc::clone(&log));
        let mut gateway = Self {
            http: String::new(),
            grpc: String::new(),
            admin: String::new(),
            process,
            log,
            client: Client::builder().timeout(PATIENCE).no_proxy().build().unwrap(),
            _directory: directory,
        };
        while gateway.http.is_empty() || gateway.grpc.is_empty() || gateway.admin.is_empty() {
            let next = tokio::time::timeout(PATIENCE, listening.recv()).await.ok().flatten();
            let Some((key, address)) = next else {
                panic!("the gateway does not listen:\n{}", gateway.log());
            };
            match key.as_str() {
                "http.listen" => gateway.http = address,
                "otlp_grpc.listen" => gateway.grpc = address,
                _ => gateway.admin = address,
            }
        }
        gateway
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    pub(crate) fn grpc_url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    pub(crate) fn http_address(&self) -> &str {
        &self.http
    }

    pub(crate) fn post(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> RequestBuilder {
        self.client.post(self.url(path)).header("content-type", content_type).body(body)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        Reply::of(self.client.get(self.url(path))).await
    }

    pub(crate) async fn admin(&self, path: &str) -> Reply {
        Reply::of(self.client.get(format!("http://{}{path}", self.admin))).await
    }

    pub(crate) async fn wait_ready(&self, is_ready: bool) {
        let expected = if is_ready { 200 } else { 503 };
        self.wait_for(&format!("/readyz {expected}"), async || {
            self.admin("/readyz").await.status == expected
        })
        .await;
    }

    /// The sum of a metric over its labels that hold `label`; 0 while nothing was counted.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.admin("/metrics").await.text();
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    pub(crate) async fn wait_engines_ready(&self, count: usize) {
        let line = format!("gateway_engines_ready {count}");
        self.wait_for(&line, async || self.admin("/metrics").await.text().lines().any(|it| it == line)).await;
    }

    pub(crate) async fn wait_for(&self, state: &str, holds: impl AsyncFn() -> bool) {
        let started = Instant::now();
        while !holds().await {
            assert!(started.elapsed() < PATIENCE, "never came to {state}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.process.id().try_into().unwrap());
        nix::sys::signal::kill(id, signal).unwrap();
    }

    pub(crate) async fn wait_exit(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "does not end:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _already_gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// Collects the log and reports key and address of everything that listens.
fn follow(process: &mut Child, log: Arc<Mutex<Vec<String>>>) -> mpsc::UnboundedReceiver<(String, String)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let lines = BufReader::new(process.stderr.take().unwrap()).lines();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let fields = serde_json::from_str::<Value>(&line).unwrap_or_default()["fields"].take();
            if fields["message"] == "listening" {
                let text = |name: &str| fields[name].as_str().unwrap().to_owned();
                let _test_is_over = sender.send((text("key"), text("address")));
            }
            log.lock().unwrap().push(line);
        }
    });
    receiver
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
