//! Clients: requests sent to an engine by gRPC and to a gateway by HTTP, each answer checked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use bench_kit::statistics::micros;
use bytes::Bytes;
use otlp_proto::raw::trace::trace_service_client::TraceServiceClient;
use reqwest::{StatusCode, header::CONTENT_TYPE};
use tokio::{task::JoinSet, time::Instant};
use tonic::transport::{Channel, Endpoint};

/// Requests on their way at once.
const AT_ONCE: usize = 16;
/// gRPC connections that they share, as several clients would have.
const CONNECTIONS: usize = 4;
/// What an exporter waits: OpenTelemetry specification, `OTEL_EXPORTER_OTLP_TIMEOUT`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where gRPC has it.
pub(crate) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Where requests go, over a connection that stays open.
#[derive(Debug, Clone)]
pub(crate) enum Door {
    Grpc(TraceServiceClient<Channel>),
    Http { client: reqwest::Client, url: String, content_type: &'static str },
}

impl Door {
    /// Several connections to an engine.
    pub(crate) fn of_engine(url: &str) -> anyhow::Result<Vec<Self>> {
        let connect = || {
            let endpoint = Endpoint::from_shared(url.to_owned())?.timeout(TIMEOUT).tcp_nodelay(true);
            Ok(Self::Grpc(TraceServiceClient::new(endpoint.connect_lazy())))
        };
        (0..CONNECTIONS).map(|_| connect()).collect()
    }

    /// A gateway; it gets as many connections as there are requests at once.
    pub(crate) fn of_gateway(url: &str, content_type: &'static str) -> anyhow::Result<Self> {
        // A proxy of the environment cannot know our loopback.
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).tcp_nodelay(true).build()?;
        Ok(Self::Http { client, url: format!("{url}/v1/traces"), content_type })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When anything but success is answered.
    pub(crate) async fn send(&mut self, request: Bytes) -> anyhow::Result<()> {
        match self {
            Self::Grpc(client) => {
                let answer = client.export(request).await?.into_inner();
                ensure!(answer.is_empty(), "the engine refused spans");
            }
            Self::Http { client, url, content_type } => {
                let answer = client.post(&*url).header(CONTENT_TYPE, *content_type).body(request);
                let answer = answer.send().await?;
                let status = answer.status();
                let body = answer.bytes().await?;
                let is_success = status == StatusCode::OK && matches!(&body[..], b"" | b"{}");
                ensure!(is_success, "the gateway answered {status}: {}", String::from_utf8_lossy(&body));
            }
        }
        Ok(())
    }

    /// Sends a request and tells how long the answer took.
    pub(crate) async fn send_timed(&mut self, request: Bytes) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        self.send(request).await?;
        Ok(begin.elapsed())
    }
}

/// Sends all requests, 16 at once; answers how long that took.
///
/// # Errors
/// The first that fails.
pub(crate) async fn send_all(doors: &[Door], requests: &Arc<Vec<Bytes>>) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for index in 0..AT_ONCE {
        let mut door = doors[index % doors.len()].clone();
        let (requests, next) = (Arc::clone(requests), Arc::clone(&next));
        tasks.spawn(async move {
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                door.send(request.clone()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    Ok(begin.elapsed())
}

/// A cost of so many spans: CPU of each in microseconds, and spans per second of wall time.
pub(crate) fn per_span(cpu: Duration, wall: Duration, spans: usize) -> (f64, f64) {
    (micros(cpu) / spans as f64, spans as f64 / wall.as_secs_f64())
}
