//! OTLP/gRPC: the same services as an engine's, balanced per request.
//!
//! A client keeps its one connection for hours; here each of its requests may go to another engine.

use std::{sync::Arc, time::Duration};

use access::{Admission, Caller, Door, GrpcServer, Guard, InFlight};
use bytes::Bytes;
use otlp_proto::raw::{
    logs::logs_service_server::{LogsService, LogsServiceServer},
    trace::trace_service_server::{TraceService, TraceServiceServer},
};
use service_lifecycle::Tracer;
use tokio::time::Instant;
use tonic::{
    Request, Response, Status,
    codec::CompressionEncoding::{Gzip, Zstd},
    server::NamedService,
    service::Routes,
};

use crate::{
    OtlpGrpcConfig, forward::Forward, metrics::Observation, receive::Signal, server::Gateway, status,
};

/// What the gRPC port is called in metrics.
pub(crate) const DOOR: &str = "grpc";
/// Its section in the configuration. Not `grpc`: an engine beside the gateway may share the environment.
const SECTION: &str = "otlp_grpc";

type Traces = TraceServiceServer<Receiver>;
type Logs = LogsServiceServer<Receiver>;

/// What is served on the port.
pub(crate) fn server(
    gateway: Arc<Gateway>,
    config: &OtlpGrpcConfig,
    guard: Guard,
    tracer: Tracer,
) -> GrpcServer {
    let receiver = Receiver { gateway, timeout: Duration::from_millis(config.timeout_ms) };
    let limit = config.max_message_bytes;
    let traces = Traces::new(receiver.clone()).max_decoding_message_size(limit);
    let logs = Logs::new(receiver).max_decoding_message_size(limit);
    let mut routes = Routes::builder();
    routes
        .add_service(traces.accept_compressed(Gzip).accept_compressed(Zstd).send_compressed(Gzip))
        .add_service(logs.accept_compressed(Gzip).accept_compressed(Zstd).send_compressed(Gzip));
    GrpcServer {
        door: Door::new(guard, Admission::new(&config.limits, DOOR, SECTION)),
        routes,
        names: &[Traces::NAME, Logs::NAME],
        // The receiver keeps to its own: it tells engines how much time is left.
        timeout: None,
        tracer,
        untraced: &[],
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
        let in_flight = request.extensions().get::<InFlight>().cloned();
        let message = request.into_inner();
        if let Some(in_flight) = in_flight
            && let Err(status) = in_flight.grow_to(message.len())
        {
            observation.refused(status::label(status.code()));
            return Err(status);
        }
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
