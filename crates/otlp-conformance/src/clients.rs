//! The official exporters, with their default settings and with gzip: what they send is read back.
//!
//! Each language has a program in `clients/` that sends one trace and prints it as its SDK holds it.

use std::{env, path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use futures::FutureExt as _;
use serde_json::{Map, Value, json};
use tokio::{process::Command, time::timeout};

use crate::{Case, doors::Doors, nginx, relay::Relay, stored::Stored};

/// Far longer than a client takes to start, send and end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of an attribute that every client sends, which gzip makes small.
const PADDING_BYTES: u64 = 50_000;

#[derive(Debug, Clone, Copy)]
enum Language {
    Python,
    JavaScript,
    Rust,
}

macro_rules! clients {
    ($($name:literal: $language:ident $protocol:literal $gzip:literal;)*) => {
        vec![$(Case {
            name: $name,
            run: |doors| async move {
                let sent = sends_what_is_read_back(&doors, Language::$language, $protocol, $gzip).await;
                sent.unwrap_or_else(|error| panic!("{error:#}"));
            }.boxed_local(),
        },)*]
    };
}

pub(crate) fn all() -> Vec<Case> {
    let mut all = clients! {
        "python-grpc": Python "grpc" false;
        "python-grpc-gzip": Python "grpc" true;
        "python-http": Python "http" false;
        "python-http-gzip": Python "http" true;
        "javascript-grpc": JavaScript "grpc" false;
        "javascript-grpc-gzip": JavaScript "grpc" true;
        "javascript-http": JavaScript "http" false;
        "javascript-http-gzip": JavaScript "http" true;
        "javascript-proto": JavaScript "proto" false;
        "javascript-proto-gzip": JavaScript "proto" true;
        "rust-grpc": Rust "grpc" false;
        "rust-grpc-gzip": Rust "grpc" true;
        "rust-http": Rust "http" false;
        "rust-http-gzip": Rust "http" true;
    };
    all.extend(nginx::all());
    all
}

async fn sends_what_is_read_back(
    doors: &Doors,
    language: Language,
    protocol: &str,
    gzip: bool,
) -> anyhow::Result<()> {
    let open = &doors.open;
    let door = if protocol == "grpc" { open.engine.grpc() } else { open.gateway.http() };
    let relay = Relay::start(door).await?;
    let mut command = language.command()?;
    command.arg(protocol).env("OTEL_EXPORTER_OTLP_ENDPOINT", relay.url()).kill_on_drop(true);
    if gzip {
        command.env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
    }
    let output = timeout(PATIENCE, command.output()).await.context("the client did not end in time")?;
    let output = output.with_context(|| format!("failed to start {command:?}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the client ended with {}: {told}", output.status);
    let sent: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("the client did not print what it sent: {told}"))?;

    let trace_id = sent["traceId"].as_str().context("the client printed no trace id")?;
    let stored = Stored::find(&open.gateway, trace_id).await;
    let stored = stored.with_context(|| format!("what the client sent has not come: {told}"))?;
    let mut read: Vec<Value> = stored.spans().iter().map(as_printed).collect();
    let mut expected = sent["spans"].as_array().context("the client printed no spans")?.clone();
    ensure!(expected.len() == 3, "three spans are sent: {expected:?}");
    for spans in [&mut read, &mut expected] {
        spans.sort_by_key(|span| span["spanId"].to_string());
    }
    ensure!(read == expected, "read back {}\nbut sent {}", json!(read), json!(expected));
    let logs: Value = stored.logs().iter().map(log_as_printed).collect();
    let expected = sent.get("logs").cloned().unwrap_or_else(|| json!([]));
    ensure!(logs == expected, "read back {logs}\nbut sent {expected}");
    ensure!(stored.0["service"] == language.service(), "service {}", stored.0["service"]);
    let is_small = relay.sent() < PADDING_BYTES;
    ensure!(is_small == gzip, "{} bytes were sent", relay.sent());
    Ok(())
}

impl Language {
    /// The program, with everything but the protocol.
    fn command(self) -> anyhow::Result<Command> {
        let source = |file: &str| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients").join(file);
        match self {
            Self::Python => {
                let mut command = bare(installed("python/bin/python")?);
                command.arg(source("python/client.py"));
                Ok(command)
            }
            Self::JavaScript => {
                let mut command = bare(node()?);
                // Node looks for modules beside the program, or here.
                let modules = installed("javascript/node_modules")?;
                command.arg(source("javascript/client.js")).env("NODE_PATH", modules);
                Ok(command)
            }
            Self::Rust => Ok(bare(testbed::find_binary("otlp-client-rust")?)),
        }
    }

    fn service(self) -> &'static str {
        match self {
            Self::Python => "client-python",
            Self::JavaScript => "client-javascript",
            Self::Rust => "client-rust",
        }
    }
}

/// A program without anything of our environment, which could configure its SDK.
fn bare(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command
}

/// Where `deploy/setup.sh` puts what the clients need.
fn installed(path: &str) -> anyhow::Result<PathBuf> {
    let share = env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let share = share.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".local/share")));
    let share = share.context("neither XDG_DATA_HOME nor HOME says where the clients are")?;
    let path = share.join("otlp-clients").join(path);
    ensure!(path.exists(), "there is no {}; install it with: sh deploy/setup.sh", path.display());
    Ok(path)
}

fn node() -> anyhow::Result<PathBuf> {
    let directories = env::var_os("PATH").unwrap_or_default();
    let mut programs = env::split_paths(&directories).map(|directory| directory.join("node"));
    programs
        .find(|path| path.is_file())
        .context("there is no node on PATH; install it with: sh deploy/setup.sh")
}

/// A span of OTLP/JSON in the form that the clients print.
fn as_printed(span: &Value) -> Value {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let events = list(&span["events"])
        .into_iter()
        .map(|event| json!({ "name": event["name"], "attributes": attributes(&event["attributes"]) }));
    let links = list(&span["links"]).into_iter().map(|link| {
        json!({
            "traceId": link["traceId"],
            "spanId": link["spanId"],
            "attributes": attributes(&link["attributes"]),
        })
    });
    json!({
        "spanId": span["spanId"],
        "parentSpanId": text(&span["parentSpanId"]),
        "name": span["name"],
        "kind": span["kind"],
        "startTimeUnixNano": span["startTimeUnixNano"],
        "endTimeUnixNano": span["endTimeUnixNano"],
        "attributes": attributes(&span["attributes"]),
        "events": events.collect::<Vec<_>>(),
        "links": links.collect::<Vec<_>>(),
        "status": {
            "code": span["status"]["code"].as_i64().unwrap_or_default(),
            "message": text(&span["status"]["message"]),
        },
    })
}

/// A log record of OTLP/JSON in the form that the clients print.
fn log_as_printed(record: &Value) -> Value {
    json!({
        "spanId": record["spanId"],
        "severityNumber": record["severityNumber"],
        "body": plain(&record["body"]),
        "attributes": attributes(&record["attributes"]),
    })
}

fn attributes(list: &Value) -> Map<String, Value> {
    let list = list.as_array().into_iter().flatten();
    let pair = |it: &Value| (it["key"].as_str().unwrap_or_default().to_owned(), plain(&it["value"]));
    list.map(pair).collect()
}

/// An `AnyValue` as the value that it is.
fn plain(value: &Value) -> Value {
    let Some((kind, value)) = value.as_object().and_then(|members| members.iter().next()) else {
        return Value::Null;
    };
    match kind.as_str() {
        "intValue" => json!(value.as_str().and_then(|digits| digits.parse::<i64>().ok())),
        "arrayValue" => value["values"].as_array().into_iter().flatten().map(plain).collect(),
        _ => value.clone(),
    }
}
