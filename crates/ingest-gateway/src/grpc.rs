//! OTLP/gRPC: the same services as an engine's, balanced per request.
//!
//! A client keeps its one connection for hours; here each of its requests may go to another engine.

use std::{sync::Arc, time::Duration};

use access::{Admission, Caller, Door, EntranceLayer, Guard, OversizeLayer, incoming};
use bytes::Bytes;
use otlp_proto::raw::{
    logs::logs_service_server::{LogsService, LogsServiceServer},
    trace::trace_service_server::{TraceService, TraceServiceServer},
};
use service_lifecycle::{Listener, Shutdown};
use tokio::{sync::watch, time::Instant};
use tonic::{
    Request, Response, Status,
    codec::CompressionEncoding::{Gzip, Zstd},
    server::NamedService,
    service::Routes,
    transport::Server,
};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    OtlpGrpcConfig, forward::Forward, metrics::Observation, receive::Signal, server::Gateway, status,
};

/// A client that went away without a word is noticed by then.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// HTTP/2's default of 64 KiB in flight would make a large request wait for round trips.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// What the gRPC port is called in metrics.
pub(crate) const DOOR: &str = "grpc";
/// Its section in the configuration. Not `grpc`: an engine beside the gateway may share the environment.
const SECTION: &str = "otlp_grpc";

type Traces = TraceServiceServer<Receiver>;
type Logs = LogsServiceServer<Receiver>;

/// Serves until told to drain, then finishes the requests in flight.
///
/// # Errors
/// When the server fails.
pub(crate) async fn serve(
    gateway: Arc<Gateway>,
    config: OtlpGrpcConfig,
    listener: Listener,
    guard: Guard,
    ready: watch::Receiver<bool>,
    shutdown: Shutdown,
) -> Result<(), tonic::transport::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let door = Door::new(guard, Admission::new(&config.limits, DOOR, SECTION));
    let receiver = Receiver { gateway, timeout: Duration::from_millis(config.timeout_ms) };
    let limit = config.max_message_bytes;
    let traces = Traces::new(receiver.clone()).max_decoding_message_size(limit);
    let logs = Logs::new(receiver).max_decoding_message_size(limit);
    let routes = Routes::new(traces.accept_compressed(Gzip).accept_compressed(Zstd).send_compressed(Gzip))
        .add_service(logs.accept_compressed(Gzip).accept_compressed(Zstd).send_compressed(Gzip))
        .add_service(health);
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .layer(EntranceLayer(door))
        .layer(OversizeLayer { section: SECTION })
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming(listener), shutdown.draining());
    tokio::select! {
        served = server => served,
        never = report_health(reporter, ready) => match never {},
    }
}

/// Says over gRPC what the readiness checks say.
async fn report_health(
    reporter: HealthReporter,
    mut ready: watch::Receiver<bool>,
) -> std::convert::Infallible {
    loop {
        let status = match *ready.borrow_and_update() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        for service in ["", Traces::NAME, Logs::NAME] {
            reporter.set_service_status(service, status).await;
        }
        if ready.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Receives both signals.
#[derive(Clone)]
struct Receiver {
    gateway: Arc<Gateway>,
    timeout: Duration,
}

impl Receiver {
    async fn receive(&self, signal: Signal, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        let deadline = Instant::now() + self.timeout;
        let observation = Observation::begin(signal, "grpc");
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
        let message = request.into_inner();
        observation.received(message.len());
        let forward = Forward { engines: &self.gateway.engines, signal, caller: &caller, deadline };
        match forward.send(message).await {
            Ok(answer) => {
                observation.accepted();
                Ok(Response::new(answer))
            }
            Err(answer) => {
                observation.refused(status::label(answer.code()));
                // As the engine has said it, without the headers of its connection.
                let details = Bytes::copy_from_slice(answer.details());
                Err(Status::with_details(answer.code(), answer.message(), details))
            }
        }
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        self.receive(Signal::Traces, request).await
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        self.receive(Signal::Logs, request).await
    }
}
