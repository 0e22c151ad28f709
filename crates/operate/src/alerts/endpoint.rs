//! An endpoint that everything is delivered to, and that does with it what it is told to.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use otlp_proto::raw::{
    logs::logs_service_server::{LogsService, LogsServiceServer},
    trace::trace_service_server::{TraceService, TraceServiceServer},
};
use parking_lot::Mutex;
use testbed::ports::Port;
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Request, Response, Status, transport::Server};
use tonic_types::{ErrorDetails, StatusExt as _};

/// When engines are to try again; without it they would take half a minute to see that it is back.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// What a slow endpoint takes for a request.
const SLOWLY: Duration = Duration::from_secs(1);

/// What it does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Takes,
    /// Takes one request after the other, slower than there are new ones.
    TakesSlowly,
    /// Not now: `UNAVAILABLE`.
    Refuses,
    /// Never: `INVALID_ARGUMENT`.
    Rejects,
}

/// A running endpoint over gRPC; it ends when dropped.
#[derive(Debug)]
pub(super) struct Endpoint {
    port: Port,
    mood: Arc<Mutex<Mood>>,
    _serving: JoinSet<Result<(), tonic::transport::Error>>,
}

struct Door(Arc<Mutex<Mood>>);

impl Endpoint {
    /// Starts it on a free port. Needs a tokio runtime.
    pub(super) fn start() -> anyhow::Result<Self> {
        let port = Port::free().context("failed to find a port for an endpoint")?;
        let mood = Arc::new(Mutex::new(Mood::Takes));
        let door = Arc::new(Door(Arc::clone(&mood)));
        let server = Server::builder()
            .add_service(TraceServiceServer::from_arc(Arc::clone(&door)))
            .add_service(LogsServiceServer::from_arc(door));
        let mut serving = JoinSet::new();
        serving.spawn(server.serve(port.address()));
        Ok(Self { port, mood, _serving: serving })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    pub(super) fn becomes(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }
}

impl Door {
    async fn answer(&self) -> Result<Response<Bytes>, Status> {
        let mood = *self.0.lock();
        match mood {
            Mood::Takes => {}
            Mood::TakesSlowly => sleep(SLOWLY).await,
            Mood::Refuses => {
                let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
                return Err(Status::with_error_details(Code::Unavailable, "as told", details));
            }
            Mood::Rejects => return Err(Status::invalid_argument("as told")),
        }
        Ok(Response::new(Bytes::new()))
    }
}

#[tonic::async_trait]
impl TraceService for Door {
    async fn export(&self, _: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        self.answer().await
    }
}

#[tonic::async_trait]
impl LogsService for Door {
    async fn export(&self, _: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        self.answer().await
    }
}
