//! One engine: its connection, whether it is ready, its state, how it has done lately, what it has to do.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use access::Caller;
use arc_swap::ArcSwapOption;
use otlp_proto::correlation::v1::{
    DescribeStateRequest, StateBackend, correlation_service_client::CorrelationServiceClient,
};
use tokio::time::{Instant, timeout};
use tonic::{
    Code, Request,
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tracing::{info, warn};

use super::{circuit::Circuit, latency::Latency, signature::Signature};
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
/// Of a stream of events: what one that is not read holds back of a connection with more than 250 of them.
const EVENTS_WINDOW_BYTES: u32 = 64 * 1024;

/// One engine. Connects with the first call and again after every loss.
pub(super) struct Engine {
    pub(super) address: SocketAddr,
    /// The address as text.
    name: String,
    scheme: &'static str,
    /// Name of the pool it is in.
    pub(super) pool: Arc<str>,
    channel: Channel,
    /// A connection of its own for streams of events, so that clients who do not read theirs hold up no
    /// answer to others.
    watching: Channel,
    is_ready: AtomicBool,
    in_flight: AtomicUsize,
    /// `None` until it has said so.
    state: ArcSwapOption<State>,
    record: Mutex<Record>,
}

/// Where an engine keeps correlations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// The same for all engines that share them. Empty when the engine does not tell.
    pub(super) id: String,
    /// `memory`, `redis` or `redis-cluster`.
    pub(super) backend: &'static str,
    /// By which it correlates log records without a trace id.
    pub(super) correlation_keys: Vec<String>,
    /// Id of the state that it was switched away from and that it serves besides; empty until it has reached
    /// that.
    pub(super) former_id: Option<String>,
}

/// How an engine has done lately.
struct Record {
    latency: Latency,
    circuit: Circuit,
}

impl Engine {
    /// Not ready until a probe has said so. `url` is what clients of the engine call it.
    pub(super) fn new(
        address: SocketAddr,
        url: &EngineUrl,
        pool: Arc<str>,
        tls: Option<&ClientTlsConfig>,
    ) -> Self {
        let parse = |uri: String| uri.parse().expect("an address is a valid authority");
        let scheme = if url.is_encrypted() { "https" } else { "http" };
        let mut endpoint = Endpoint::from(parse(format!("{scheme}://{address}")));
        if let Some(tls) = tls.filter(|_| url.is_encrypted()) {
            // The address is one of many that the name stands for; certificates hold the name.
            let tls = tls.clone().domain_name(url.host());
            endpoint = endpoint.tls_config(tls).expect("what it is made of was read at the start");
        }
        let endpoint = endpoint
            .origin(parse(url.to_string()))
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let channel = endpoint.clone().initial_stream_window_size(STREAM_WINDOW_BYTES).connect_lazy();
        let watching = endpoint.initial_stream_window_size(EVENTS_WINDOW_BYTES).connect_lazy();
        let record = Record { latency: Latency::unknown(Instant::now()), circuit: Circuit::default() };
        Self {
            address,
            name: address.to_string(),
            scheme,
            pool,
            channel,
            watching,
            is_ready: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            state: ArcSwapOption::empty(),
            record: Mutex::new(record),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// What rendezvous hashing knows it by, at every gateway.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where it keeps correlations; `None` until it has said so.
    pub(super) fn state(&self) -> Option<Arc<State>> {
        self.state.load_full()
    }

    pub(super) fn set_state(&self, state: State) {
        if self.state.load().as_deref() != Some(&state) {
            self.state.store(Some(Arc::new(state)));
        }
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(super) fn watching(&self) -> Channel {
        self.watching.clone()
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

    /// Asks the engine for its health, `grpc.health.v1`, and for its state, and notes the answers.
    ///
    /// Ready is who says so and has a state that is known: which engine may be asked depends on it.
    pub(super) async fn probe(&self, signature: &Signature) {
        let asking = async { tokio::try_join!(self.ask_health(), self.ask_state(signature)) };
        match timeout(PROBE_TIMEOUT, asking).await {
            Ok(Ok(((), ()))) => self.set_ready(true, ""),
            Ok(Err(reason)) => self.set_ready(false, &reason),
            Err(_elapsed) => self.set_ready(false, "the health check was not answered in time"),
        }
    }

    async fn ask_health(&self) -> Result<(), String> {
        // The empty name stands for the whole server.
        let answer = HealthClient::new(self.channel()).check(HealthCheckRequest::default()).await;
        match answer.map_err(|answer| status::root_cause(&answer))?.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            other => Err(other.as_str_name().to_owned()),
        }
    }

    async fn ask_state(&self, signature: &Signature) -> Result<(), String> {
        let mut request = Request::new(DescribeStateRequest {});
        let signed = signature.sign(request.metadata_mut(), &Caller::default());
        signed.map_err(|refused| refused.message().to_owned())?;
        match CorrelationServiceClient::new(self.channel()).describe_state(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                self.set_state(State {
                    backend: backend_name(answer.state()),
                    id: answer.state_id,
                    correlation_keys: answer.correlation_keys,
                    former_id: answer.former.map(|former| former.state_id),
                });
                Ok(())
            }
            // An engine of an older version: all of those share their state.
            Err(answer) if answer.code() == Code::Unimplemented => {
                let backend = backend_name(StateBackend::Unspecified);
                self.set_state(State {
                    id: String::new(),
                    backend,
                    correlation_keys: Vec::new(),
                    former_id: None,
                });
                Ok(())
            }
            Err(answer) => Err(format!("it does not tell its state: {}", status::root_cause(&answer))),
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

/// The name of a backend in answers to people.
pub(crate) fn backend_name(backend: StateBackend) -> &'static str {
    match backend {
        StateBackend::Unspecified => "unknown",
        StateBackend::Memory => "memory",
        StateBackend::Redis => "redis",
        StateBackend::RedisCluster => "redis-cluster",
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::EnginesConfig;

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_hangs_is_not_ready_within_a_second() {
        // It takes connections, as a process that is stopped does, and says nothing.
        let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = "http://127.0.0.1:1".to_owned().try_into().unwrap();
        let engine = Engine::new(hanging.local_addr().unwrap(), &url, "pool".into(), None);
        engine.set_ready(true, "in this test");
        let hung = Instant::now();
        // At worst it hangs right after it has said that it is well.
        tokio::time::sleep(Duration::from_millis(EnginesConfig::default().probe_ms)).await;
        engine.probe(&Signature::new("").unwrap()).await;
        assert!(!engine.is_ready());
        assert!(hung.elapsed() < Duration::from_secs(1), "{:?}", hung.elapsed());
    }
}
