//! What people and odd programs do beside the load: they ask, two services share an order but no trace, and
//! one logs without a trace.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::interval};

/// By this attribute engines link traces.
pub(super) const KEY: &str = "order.id";
const INTERVAL: Duration = Duration::from_millis(500);
const QUERIES: [&str; 3] = ["stats", "ledger", "correlations?limit=5"];

/// Goes on until it is dropped.
#[derive(Debug)]
pub(super) struct User {
    _tasks: JoinSet<()>,
}

impl User {
    /// Begins to use the gateway at a URL. Needs a tokio runtime.
    ///
    /// # Errors
    /// When no HTTP client can be set up.
    pub(super) fn start(gateway: String) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().build().context("failed to set up a client")?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut ticks = interval(INTERVAL);
            for order in 1_u64.. {
                ticks.tick().await;
                // While something is wrong these fail, as anybody's do.
                for query in QUERIES {
                    let _ = client.get(format!("{gateway}/api/v1/{query}")).send().await;
                }
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let posts = [
                    ("traces", trace("shop", order, 1, now)),
                    ("traces", trace("payment", order, 2, now + Duration::from_millis(5))),
                    ("logs", log_without_trace(now)),
                ];
                for (signal, body) in posts {
                    let _ = client.post(format!("{gateway}/v1/{signal}")).json(&body).send().await;
                }
            }
        });
        Ok(Self { _tasks: tasks })
    }
}

/// A trace of one span that knows its order.
fn trace(service: &str, order: u64, part: u32, begin: Duration) -> Value {
    let end = begin + Duration::from_millis(3);
    json!({"resourceSpans": [{"resource": resource(service), "scopeSpans": [{"spans": [{
        "traceId": format!("{order:024x}{part:08x}"), "spanId": format!("{order:016x}"), "name": service, "kind": 2,
        "startTimeUnixNano": begin.as_nanos().to_string(), "endTimeUnixNano": end.as_nanos().to_string(),
        "attributes": [{"key": KEY, "value": {"stringValue": order.to_string()}}],
    }]}]}]})
}

fn log_without_trace(time: Duration) -> Value {
    json!({"resourceLogs": [{"resource": resource("cron"), "scopeLogs": [{"logRecords": [{
        "timeUnixNano": time.as_nanos().to_string(), "body": {"stringValue": "nothing to do"},
    }]}]}]})
}

fn resource(service: &str) -> Value {
    json!({"attributes": [{"key": "service.name", "value": {"stringValue": service}}]})
}
