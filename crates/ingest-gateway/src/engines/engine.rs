//! One engine: its connection, whether it is ready, how it has done lately, what it has to do.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tracing::{info, warn};

use super::{circuit::Circuit, latency::Latency};
use crate::{EngineUrl, status};

/// An engine in the same network that takes longer is as good as gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// With the interval of the probes (`engines.probe_ms`), a process that hangs is left within a second.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// A process that hangs, or a network that swallows everything, keeps connections open. Pings end
/// them, so that the next probe makes a new one.
const PING_INTERVAL: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// HTTP/2's default of 64 KiB in flight would make a large answer wait for round trips.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// One engine. Connects with the first call and again after every loss.
pub(super) struct Engine {
    pub(super) address: SocketAddr,
    channel: Channel,
    is_ready: AtomicBool,
    in_flight: AtomicUsize,
    record: Mutex<Record>,
}

/// How an engine has done lately.
struct Record {
    latency: Latency,
    circuit: Circuit,
}

impl Engine {
    /// Not ready until a probe has said so. `url` is what clients of the engine call it.
    pub(super) fn new(address: SocketAddr, url: &EngineUrl, tls: Option<&ClientTlsConfig>) -> Self {
        let parse = |uri: String| uri.parse().expect("an address is a valid authority");
        let scheme = if url.is_encrypted() { "https" } else { "http" };
        let mut endpoint = Endpoint::from(parse(format!("{scheme}://{address}")));
        if let Some(tls) = tls.filter(|_| url.is_encrypted()) {
            // The address is one of many that the name stands for; certificates hold the name.
            let tls = tls.clone().domain_name(url.host());
            endpoint = endpoint.tls_config(tls).expect("what it is made of was read at the start");
        }
        let channel = endpoint
            .origin(parse(url.to_string()))
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .connect_lazy();
        let record = Record { latency: Latency::unknown(Instant::now()), circuit: Circuit::default() };
        Self {
            address,
            channel,
            is_ready: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            record: Mutex::new(record),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    pub(super) fn set_ready(&self, is_ready: bool, reason: &str) {
        let was_ready = self.is_ready.swap(is_ready, Ordering::Relaxed);
        match (was_ready, is_ready) {
            (false, true) => info!(engine = %self.address, "an engine is ready"),
            (true, false) => warn!(engine = %self.address, reason, "an engine is not ready"),
            _ => {}
        }
    }

    /// Asks the engine for its health, `grpc.health.v1`, and notes the answer.
    pub(super) async fn probe(&self) {
        let mut client = HealthClient::new(self.channel());
        // The empty name stands for the whole server.
        let check = client.check(HealthCheckRequest::default());
        match timeout(PROBE_TIMEOUT, check).await {
            Ok(Ok(answer)) => {
                let serving = answer.into_inner().status();
                self.set_ready(serving == ServingStatus::Serving, serving.as_str_name());
            }
            Ok(Err(answer)) => self.set_ready(false, &status::root_cause(&answer)),
            Err(_elapsed) => self.set_ready(false, "the health check was not answered in time"),
        }
    }

    /// How long a call that begins now will probably take: the fewer, the better.
    pub(super) fn cost(&self, now: Instant) -> Duration {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        self.latency(now).saturating_mul(u32::try_from(in_flight + 1).unwrap_or(u32::MAX))
    }

    /// How long a call takes, whatever else is in flight.
    pub(super) fn latency(&self, now: Instant) -> Duration {
        self.record().latency.estimate(now)
    }

    /// What to believe until it has answered.
    pub(super) fn assume_latency(&self, estimate: Duration) {
        self.record().latency.assume(estimate, Instant::now());
    }

    /// True while it is left alone because its calls have failed.
    pub(super) fn is_aside(&self, now: Instant) -> bool {
        self.record().circuit.is_open(now)
    }

    /// A call was answered in a way that another engine would answer too.
    pub(super) fn succeeded(&self) {
        self.record().circuit.succeeded();
    }

    /// A call was not answered, or in a way that another engine may not.
    pub(super) fn failed(&self) {
        if self.record().circuit.failed(Instant::now()) {
            warn!(engine = %self.address, "an engine is put aside: its calls fail one after the other");
        }
    }

    /// Counts a call until it is dropped, and then how long it has taken.
    pub(super) fn begin(self: &Arc<Self>) -> Call {
        let started = Instant::now();
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.record().circuit.begin(started);
        Call { engine: Arc::clone(self), started }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // Plain numbers are whole whatever happened while it was locked.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call that has not been answered.
pub(super) struct Call {
    engine: Arc<Engine>,
    started: Instant,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.engine.in_flight.fetch_sub(1, Ordering::Relaxed);
        let now = Instant::now();
        // Also when it was given up: it would have taken longer still.
        self.engine.record().latency.observe(now - self.started, now);
    }
}
