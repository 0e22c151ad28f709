//! The OTLP endpoint that everything is delivered to: it knows of each trace how many spans have come.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use bytes::Bytes;
use otlp_codec::{SplitOptions, Subject, split_traces};
use otlp_proto::raw::trace::trace_service_server::{TraceService, TraceServiceServer};
use parking_lot::Mutex;
use testbed::{eventually, ports::Port};
use tokio::{task::JoinSet, time::Instant};
use tonic::{
    Response, Status,
    codec::CompressionEncoding::{Gzip, Zstd},
    transport::Server,
};

use crate::load::{Request, TraceId};

/// Forwarders send more at once than the 4 MiB that servers take by default.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running endpoint over gRPC; it ends when dropped.
pub struct Sink {
    port: Port,
    memory: Arc<Memory>,
    _serving: JoinSet<Result<(), tonic::transport::Error>>,
}

/// What came of a trace.
#[derive(Debug, Clone, Copy)]
struct Seen {
    spans: usize,
    last: Instant,
}

#[derive(Default)]
struct Memory {
    seen: Mutex<HashMap<TraceId, Seen>>,
    spans: AtomicUsize,
}

impl Sink {
    /// Starts it on a free port. Needs a tokio runtime.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start() -> anyhow::Result<Self> {
        let (port, memory) = (Port::free()?, Arc::new(Memory::default()));
        let service = TraceServiceServer::from_arc(Arc::clone(&memory))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .accept_compressed(Gzip)
            .accept_compressed(Zstd);
        let mut serving = JoinSet::new();
        serving.spawn(Server::builder().add_service(service).serve(port.address()));
        Ok(Self { port, memory, _serving: serving })
    }

    /// Where it takes OTLP over gRPC.
    pub fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// Waits until all spans of some requests have come.
    ///
    /// # Errors
    /// When they have not after a minute.
    pub async fn wait_for(&self, requests: &[Request]) -> anyhow::Result<()> {
        let expected = spans(requests);
        let come = async || self.come(requests) >= expected;
        eventually(&format!("{expected} spans delivered"), PATIENCE, come).await?;
        Ok(())
    }

    /// How many spans of these requests came more than once.
    ///
    /// # Errors
    /// When one has not come.
    pub fn repeated(&self, requests: &[Request]) -> anyhow::Result<usize> {
        let seen = self.memory.seen.lock();
        for request in requests {
            let expected = request.spans / request.traces.len();
            let is_whole = |trace| seen.get(trace).is_some_and(|seen| seen.spans >= expected);
            ensure!(request.traces.iter().all(is_whole), "spans of a trace were not delivered");
        }
        drop(seen);
        Ok(self.come(requests) - spans(requests))
    }

    /// How long after its request was sent the last span of each trace came.
    pub fn delays(&self, requests: &[Request], sent: &[Instant]) -> Vec<Duration> {
        let seen = self.memory.seen.lock();
        let of_request = |(request, sent): (&Request, &Instant)| -> Vec<Duration> {
            let came = request.traces.iter().filter_map(|trace| seen.get(trace));
            came.map(|seen| seen.last.saturating_duration_since(*sent)).collect()
        };
        requests.iter().zip(sent).flat_map(of_request).collect()
    }

    /// How many spans have come, of whichever traces.
    pub fn spans(&self) -> usize {
        self.memory.spans.load(Ordering::Relaxed)
    }

    /// How many spans of these requests have come.
    pub fn come<'a>(&self, requests: impl IntoIterator<Item = &'a Request>) -> usize {
        let seen = self.memory.seen.lock();
        let traces = requests.into_iter().flat_map(|request| &request.traces);
        traces.filter_map(|trace| seen.get(trace)).map(|seen| seen.spans).sum()
    }
}

fn spans(requests: &[Request]) -> usize {
    requests.iter().map(|request| request.spans).sum()
}

#[tonic::async_trait]
impl TraceService for Memory {
    async fn export(&self, request: tonic::Request<Bytes>) -> Result<Response<Bytes>, Status> {
        let last = Instant::now();
        let split = split_traces(&request.into_inner(), &SplitOptions::default())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut seen = self.seen.lock();
        for part in split.parts {
            if let Subject::Trace(trace) = part.subject {
                let seen = seen.entry(trace).or_insert(Seen { spans: 0, last });
                seen.spans += part.identities.len();
                self.spans.fetch_add(part.identities.len(), Ordering::Relaxed);
                seen.last = last;
            }
        }
        Ok(Response::new(Bytes::new()))
    }
}
