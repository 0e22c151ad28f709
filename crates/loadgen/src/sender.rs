//! Sends requests through the doors of a cluster, and again when the answer says so.

mod attempt;

pub use attempt::Failure;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use rand::Rng as _;
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};

use crate::{
    answer::Answer,
    plan::{Door, Sending},
    request::Request,
    targets::Targets,
};

/// The exporter's default timeout for one request: OpenTelemetry specification,
/// `OTEL_EXPORTER_OTLP_TIMEOUT`, 10 s.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(10);

/// Until then an answer that allows it leads to another attempt.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits between attempts double from the first to the last of these.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Sends to every engine and gateway of a cluster.
#[derive(Debug)]
pub struct Sender {
    engines: Vec<Channel>,
    gateways: Vec<String>,
    http: reqwest::Client,
    retries: AtomicU64,
}

impl Sender {
    /// Connects on first use.
    ///
    /// # Errors
    /// When a URL is not one.
    pub fn new(targets: &Targets) -> anyhow::Result<Self> {
        Ok(Self {
            engines: targets.engines.iter().map(|url| connect(url)).collect::<anyhow::Result<_>>()?,
            gateways: targets.gateways.clone(),
            http: http_client()?,
            retries: AtomicU64::new(0),
        })
    }

    /// Attempts that were repeated so far.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Sends a request; again, to the next engine or gateway, while the answer allows it.
    ///
    /// # Errors
    /// When it is refused for good, or not accepted within 60 s.
    pub async fn send(&self, request: &Request, sending: Sending) -> anyhow::Result<Answer> {
        let end = Instant::now() + DEADLINE;
        let mut wait = FIRST_WAIT;
        let mut attempts = 0;
        loop {
            let door = self.after(sending.door, attempts);
            let failure = match self.attempt(request, door, sending.gzip).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            attempts += 1;
            if !failure.is_retryable || Instant::now() + wait >= end {
                return Err(failure.error).with_context(|| {
                    format!("failed to send {} to {door:?} in {attempts} attempts", request.signal)
                });
            }
            self.retries.fetch_add(1, Ordering::Relaxed);
            // Jitter, so that what failed together does not come back together.
            let jitter = rand::rng().random_range(0.5..1.0);
            sleep(wait.mul_f64(jitter)).await;
            wait = (wait * 2).min(LAST_WAIT);
        }
    }

    /// The door that is `steps` after this one, of the same kind.
    #[must_use]
    pub fn after(&self, door: Door, steps: usize) -> Door {
        match door {
            Door::Engine(index) => Door::Engine((index + steps) % self.engines.len()),
            Door::Protobuf(index) => Door::Protobuf((index + steps) % self.gateways.len()),
            Door::Json(index) => Door::Json((index + steps) % self.gateways.len()),
        }
    }
}

/// A channel to an engine that connects on first use, and again when it must.
pub(crate) fn connect(url: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .with_context(|| format!("failed to understand the URL {url}; write http://host:4317"))?;
    Ok(endpoint.connect_timeout(ATTEMPT_DEADLINE).timeout(ATTEMPT_DEADLINE).connect_lazy())
}

/// A client for gateways.
pub(crate) fn http_client() -> anyhow::Result<reqwest::Client> {
    // A proxy of the environment would be measured with the gateway.
    let builder = reqwest::Client::builder().no_proxy().timeout(ATTEMPT_DEADLINE);
    builder.build().context("failed to set up the HTTP client")
}
