//! The endpoint that everything is delivered to over OTLP/gRPC, and that fails as it is told.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use futures::stream;
use loadgen::request::Signal;
use otlp_proto::raw::{
    logs::logs_service_server::{LogsService, LogsServiceServer},
    trace::trace_service_server::{TraceService, TraceServiceServer},
};
use parking_lot::Mutex;
use prost::DecodeError;
use testbed::ports::Port;
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
    time::{Instant, sleep},
};
use tonic::{Request, Response, Status, codec::CompressionEncoding::Gzip, transport::Server};

/// Connections of the last time may still be in the way of the port.
const LISTEN_DEADLINE: Duration = Duration::from_secs(10);
const LISTEN_INTERVAL: Duration = Duration::from_millis(50);

/// What keeps in mind what the endpoint takes.
pub trait Notes: fmt::Debug + Send + Sync + 'static {
    /// Notes the content of a request.
    ///
    /// # Errors
    /// When it is not OTLP.
    fn note(&self, signal: Signal, payload: Bytes) -> Result<(), DecodeError>;
}

/// What the endpoint does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Takes,
    /// Says `UNAVAILABLE`.
    Refuses,
    /// Never answers, and keeps nothing.
    Hangs,
    /// Keeps everything and says `UNAVAILABLE`, as when an answer is lost on its way.
    LosesAnswers,
    /// Its port is closed.
    IsAway,
}

/// A running endpoint; it ends when dropped.
#[derive(Debug)]
pub struct Sink {
    port: Port,
    memory: Arc<Memory>,
    /// Its own, so that its end closes connections as the end of a process does.
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Memory {
    mood: Mutex<Mood>,
    notes: Arc<dyn Notes>,
    failed: AtomicU64,
}

impl Sink {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(notes: Arc<impl Notes>) -> anyhow::Result<Self> {
        let memory = Memory { mood: Mutex::new(Mood::IsAway), notes, failed: AtomicU64::new(0) };
        let mut sink = Self { port: Port::free()?, memory: Arc::new(memory), runtime: None };
        sink.becomes(Mood::Takes).await?;
        Ok(sink)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// Requests that it has not answered with a yes.
    pub fn failed(&self) -> u64 {
        self.memory.failed.load(Ordering::Relaxed)
    }

    /// # Errors
    /// When it is to come back and its port is not free.
    pub async fn becomes(&mut self, mood: Mood) -> anyhow::Result<()> {
        *self.memory.mood.lock() = mood;
        if mood == Mood::IsAway {
            self.stop();
        } else if self.runtime.is_none() {
            self.runtime = Some(self.listen().await?);
        }
        Ok(())
    }

    async fn listen(&self) -> anyhow::Result<Runtime> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("failed to start the threads of the endpoint")?;
        let end = Instant::now() + LISTEN_DEADLINE;
        let address = self.port.address();
        let listener = loop {
            match runtime.spawn(TcpListener::bind(address)).await? {
                Ok(listener) => break listener,
                Err(error) if Instant::now() >= end => {
                    runtime.shutdown_background();
                    return Err(error).with_context(|| format!("failed to listen at {address} again"));
                }
                Err(_) => sleep(LISTEN_INTERVAL).await,
            }
        };
        let connections = stream::unfold(listener, async |listener| {
            let connection = listener.accept().await.map(|(connection, _)| connection);
            Some((connection, listener))
        });
        let router = Server::builder()
            .add_service(TraceServiceServer::from_arc(Arc::clone(&self.memory)).accept_compressed(Gzip))
            .add_service(LogsServiceServer::from_arc(Arc::clone(&self.memory)).accept_compressed(Gzip));
        runtime.spawn(router.serve_with_incoming(connections));
        Ok(runtime)
    }

    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Memory {
    async fn receive(&self, signal: Signal, payload: Bytes) -> Result<Response<Bytes>, Status> {
        let mood = *self.mood.lock();
        if matches!(mood, Mood::Takes | Mood::LosesAnswers) {
            let noted = self.notes.note(signal, payload);
            noted.map_err(|error| Status::invalid_argument(error.to_string()))?;
        }
        if mood == Mood::Takes {
            return Ok(Response::new(Bytes::new()));
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        if mood == Mood::Hangs {
            std::future::pending::<()>().await;
        }
        Err(Status::unavailable("as told"))
    }
}

#[tonic::async_trait]
impl TraceService for Memory {
    async fn export(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        self.receive(Signal::Traces, request.into_inner()).await
    }
}

#[tonic::async_trait]
impl LogsService for Memory {
    async fn export(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        self.receive(Signal::Logs, request.into_inner()).await
    }
}
