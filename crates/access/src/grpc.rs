//! Serves gRPC on the connections of a port, behind its door, until told to drain.

use std::{convert::Infallible, future::pending, time::Duration};

use service_lifecycle::{Listener, Tracer};
use tokio::sync::watch;
use tonic::{
    service::RoutesBuilder,
    transport::{self, Server},
};
use tonic_health::{
    ServingStatus,
    server::{HealthReporter, health_reporter},
};

use crate::{
    Door, entrance::EntranceLayer, incoming::incoming, oversize::OversizeLayer, traced::TracedLayer,
};

/// A client that went away without a word is noticed by then.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// HTTP/2's default of 64 KiB in flight would make a large request wait for round trips.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Likewise of a connection, over all its streams: as much as each client can make wait in memory
/// before anyone has looked at it, which is then not counted as in flight.
const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;
/// A request of a thousand spans comes in a few frames instead of dozens.
const FRAME_BYTES_MAX: u32 = 256 << 10;

/// What is served on a gRPC port.
pub struct GrpcServer {
    /// Lets requests in, those about health apart.
    pub door: Door,
    /// The services, without the one for health.
    pub routes: RoutesBuilder,
    /// Their names, of whose health is told.
    pub names: &'static [&'static str],
    /// Longest time from the head of a request to its answer; `None` where the services see to that.
    pub timeout: Option<Duration>,
    /// Begins a span for each call of the services.
    pub tracer: Tracer,
    /// Paths of methods that get none: what is asked for all the time, and streams without an end.
    pub untraced: &'static [&'static str],
}

impl GrpcServer {
    /// Serves until `draining` is done, then finishes the requests in flight. Health is what `ready`
    /// says: of the server as a whole, which has no name, and of each service.
    ///
    /// # Errors
    /// When the server fails.
    pub async fn serve(
        self,
        listener: Listener,
        ready: watch::Receiver<bool>,
        draining: impl Future<Output = ()>,
    ) -> Result<(), transport::Error> {
        let Self { door, mut routes, names, timeout, tracer, untraced } = self;
        let (reporter, health) = health_reporter();
        routes.add_service(health);
        let mut server = Server::builder();
        if let Some(timeout) = timeout {
            server = server.timeout(timeout);
        }
        let section = door.section();
        let serving = server
            .http2_keepalive_interval(Some(KEEPALIVE))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .layer(TracedLayer { tracer, services: names, untraced })
            .layer(EntranceLayer(door))
            .layer(OversizeLayer { section })
            .add_routes(routes.routes())
            .serve_with_incoming_shutdown(incoming(listener), draining);
        tokio::select! {
            served = serving => served,
            never = report(reporter, names, ready) => match never {},
        }
    }
}

async fn report(reporter: HealthReporter, names: &[&str], mut ready: watch::Receiver<bool>) -> Infallible {
    loop {
        let status = match *ready.borrow_and_update() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        for name in [""].iter().chain(names) {
            reporter.set_service_status(*name, status).await;
        }
        if ready.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}
