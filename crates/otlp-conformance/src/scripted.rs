//! An engine that answers every export with the status that the request asks for, so that the
//! gateway's answer to each of them can be seen.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use otlp_proto::raw::{
    logs::logs_service_server::{LogsService, LogsServiceServer},
    trace::trace_service_server::{TraceService, TraceServiceServer},
};
use prost::Message as _;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, transport::Server};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A running engine; it ends when dropped.
#[derive(Debug)]
pub(crate) struct ScriptedEngine {
    url: String,
    server: JoinHandle<()>,
}

/// The status that a request asks for. As a message its fields have numbers that no export request
/// knows, so a gateway must pass them on.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Script {
    #[prost(int32, tag = "1001")]
    pub(crate) code: i32,
    /// Carried as `RetryInfo`; none when 0.
    #[prost(uint64, tag = "1002")]
    pub(crate) retry_after_ms: u64,
}

impl ScriptedEngine {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("failed to bind a scripted engine")?;
        let url = format!("http://{}", listener.local_addr()?);
        // The empty name, the server as a whole, is serving from the start.
        let (_health, health) = tonic_health::server::health_reporter();
        let server = Server::builder()
            .add_service(health)
            .add_service(TraceServiceServer::new(Answers))
            .add_service(LogsServiceServer::new(Answers))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move {
            server.await.expect("a bound listener accepts");
        });
        Ok(Self { url, server })
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }
}

impl Drop for ScriptedEngine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Answers;

fn answer(request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let script = Script::decode(request.into_inner())
        .map_err(|error| Status::internal(format!("this is no script: {error}")))?;
    let code = Code::from(script.code);
    let message = "as the script says";
    match script.retry_after_ms {
        _ if code == Code::Ok => Ok(Response::new(Bytes::new())),
        0 => Err(Status::new(code, message)),
        delay => {
            let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(delay)));
            Err(Status::with_error_details(code, message, details))
        }
    }
}

#[tonic::async_trait]
impl TraceService for Answers {
    async fn export(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        answer(request)
    }
}

#[tonic::async_trait]
impl LogsService for Answers {
    async fn export(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        answer(request)
    }
}
