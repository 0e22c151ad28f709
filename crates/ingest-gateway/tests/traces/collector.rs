//! Where traces are sent to in these tests: a gateway and an engine of our own, which tell what came.

use std::time::Duration;

use serde_json::Value;
use testbed::{EngineOptions, EngineProcess, GatewayOptions, GatewayProcess, Process, eventually};

/// Generous for a machine that compiles beside the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// A place that takes traces over both protocols.
pub(crate) struct Collector {
    gateway: GatewayProcess,
    engine: EngineProcess,
    client: reqwest::Client,
}

/// A span that came in.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) service: String,
    pub(crate) span: Value,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let engine = EngineProcess::start(EngineOptions::default()).await.unwrap();
        let options = GatewayOptions { engines: vec![engine.url()], ..GatewayOptions::default() };
        let gateway = GatewayProcess::start(options).await.unwrap();
        Self { gateway, engine, client: client() }
    }

    /// Lets a process trace to it over HTTP, from its next start on.
    pub(crate) fn over_http(&self, process: &Process) {
        trace_to(process, &self.gateway.url());
    }

    /// Likewise over gRPC.
    pub(crate) fn over_grpc(&self, process: &Process) {
        trace_to(process, &self.engine.url());
        set(process, "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    }

    /// The spans of a trace, as soon as there are so many; by the time when they began.
    pub(crate) async fn spans(&self, trace: &str, count: usize) -> Vec<Seen> {
        let mut spans = Vec::new();
        let wanted = format!("{count} spans of {trace}");
        let reached = eventually(&wanted, PATIENCE, async || {
            spans = self.read(trace).await;
            spans.len() >= count
        });
        let reached = reached.await;
        assert!(reached.is_ok() && spans.len() == count, "{spans:#?}");
        spans.sort_by_key(|seen| seen.span["startTimeUnixNano"].as_str().unwrap().parse::<u64>().unwrap());
        spans
    }

    /// Those that have come by now.
    pub(crate) async fn read(&self, trace: &str) -> Vec<Seen> {
        let url = format!("{}/api/v1/correlations/{trace}?view=full", self.gateway.url());
        let answer = self.client.get(url).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        let mut spans = Vec::new();
        for resource in list(&answer["traces_data"]["resourceSpans"]) {
            let service = attribute(&resource["resource"], "service.name");
            let service = service.as_str().unwrap_or_default().to_owned();
            for span in list(&resource["scopeSpans"]).iter().flat_map(|scope| list(&scope["spans"])) {
                spans.push(Seen { service: service.clone(), span: span.clone() });
            }
        }
        spans
    }
}

impl Seen {
    pub(crate) fn name(&self) -> &str {
        self.span["name"].as_str().unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        self.span["spanId"].as_str().unwrap()
    }

    pub(crate) fn parent(&self) -> &str {
        self.span["parentSpanId"].as_str().unwrap()
    }

    /// The value of an attribute; null when there is none.
    pub(crate) fn get(&self, key: &str) -> Value {
        attribute(&self.span, key)
    }
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Lets a process trace to an endpoint, from its next start on; soon, so that nobody waits for long.
pub(crate) fn trace_to(process: &Process, endpoint: &str) {
    set(process, "OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    set(process, "OTEL_BSP_SCHEDULE_DELAY", "50");
}

pub(crate) fn set(process: &Process, variable: &str, value: &str) {
    process.set_variable(variable, Some(value.as_ref()));
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn attribute(of: &Value, key: &str) -> Value {
    let found = list(&of["attributes"]).iter().find(|attribute| attribute["key"] == key);
    let value = found.and_then(|attribute| attribute["value"].as_object()?.values().next().cloned());
    value.unwrap_or_default()
}
