//! One engine: its connection, whether it is ready, how much it has to do.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::timeout;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tracing::{info, warn};

use crate::{EngineUrl, status};

/// An engine in the same network that takes longer is as good as gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A process that hangs keeps its connections open. Pings end them after three seconds, so that
/// requests in flight can still go to another engine within their eight.
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
    in_flight: Arc<AtomicUsize>,
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
        Self { address, channel, is_ready: AtomicBool::new(false), in_flight: Arc::default() }
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

    /// Calls that have not been answered.
    pub(super) fn load(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a call until the guard is dropped.
    pub(super) fn in_flight(&self) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(&self.in_flight))
    }
}

/// One call that has not been answered.
pub(super) struct InFlight(Arc<AtomicUsize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
