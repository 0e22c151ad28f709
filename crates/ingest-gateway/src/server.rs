//! Routes, and the two things that run: the HTTP server and the watch over the engines.

use std::{sync::Arc, time::Duration};

use access::{Admission, Door, Guard};
use anyhow::Context as _;
use axum::{
    Router,
    extract::Request,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::FutureExt as _;
use service_lifecycle::{Listener, Process, Tls, Tracer, bind, serve_http};
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::{
    EventsConfig, GatewayConfig, HttpConfig,
    announce::announce,
    door,
    engines::Engines,
    grpc, query,
    query::Streams,
    receive,
    traced::{Traced, trace},
};

/// What the HTTP port is called in metrics, and its section in the configuration.
const DOOR: &str = "http";

/// What every handler needs.
pub(crate) struct Gateway {
    pub(crate) engines: Arc<Engines>,
    pub(crate) http: HttpConfig,
    pub(crate) events: EventsConfig,
    pub(crate) streams: Streams,
    pub(crate) door: Door,
}

impl Gateway {
    /// When a request that arrives now must have been answered.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.http.timeout_ms)
    }
}

/// Serves until told to drain, then finishes the requests in flight.
///
/// # Errors
/// When the address is not free.
pub async fn serve(process: Process<GatewayConfig>) -> anyhow::Result<()> {
    let Process { config, readiness, shutdown, files, tracer } = process;
    announce(&config, &tracer);
    let engines = Arc::new(Engines::new(config.engines, readiness.check("engines"), &files, tracer.clone())?);
    let guard = Guard::open(&files, &config.auth)?;
    let tls = Tls::open(&files, &config.http.tls, &["h2", "http/1.1"])?;
    let listener = bind(config.http.listen, "http.listen").await?;
    let listener = Listener::new(listener, DOOR, config.http.limits.connections_max, tls);
    let otlp_grpc = config.otlp_grpc;
    let grpc_tls = Tls::open(&files, &otlp_grpc.tls, &["h2"])?;
    let grpc_listener = bind(otlp_grpc.listen, "otlp_grpc.listen").await?;
    let connections_max = otlp_grpc.limits.connections_max;
    let grpc_listener = Listener::new(grpc_listener, grpc::DOOR, connections_max, grpc_tls);
    let door = Door::new(guard.clone(), Admission::new(&config.http.limits, DOOR, DOOR));
    let streams = Streams::new(config.events.streams_max, shutdown.clone());
    let (http, events) = (config.http, config.events);
    let gateway = Arc::new(Gateway { engines: Arc::clone(&engines), http, events, streams, door });
    let grpc = grpc::server(Arc::clone(&gateway), &otlp_grpc, guard, tracer.clone());
    let over_grpc = grpc.serve(grpc_listener, readiness.subscribe(), shutdown.draining());
    let over_http = serve_http(listener, router(gateway, tracer), shutdown.draining());
    let grace = Duration::from_millis(config.shutdown.grace_ms);
    let unread = shutdown.draining().then(|()| sleep(grace / 2));
    tokio::select! {
        // A stream of events, above all, ends only when its client reads.
        () = unread => {
            warn!("clients that do not read their answers are not waited for");
            Ok(())
        }
        // Each ends when it has finished what was in flight.
        ((), served) = async { tokio::join!(over_http, over_grpc) } => served.context("failed to serve gRPC"),
        // The engines are watched for as long as requests may need them.
        never = engines.watch() => match never {},
    }
}

fn router(gateway: Arc<Gateway>, tracer: Tracer) -> Router {
    let export = receive::method_not_allowed;
    let read = || async { query::method_not_allowed("GET, HEAD") };
    let read_or_inject = || async { query::method_not_allowed("GET, HEAD, POST") };
    let read_or_delete = || async { query::method_not_allowed("GET, HEAD, DELETE") };
    let is_encrypted = !gateway.http.tls.certificate.is_empty();
    let router = Router::new()
        .route("/v1/traces", post(receive::traces).fallback(export))
        .route("/v1/logs", post(receive::logs).fallback(export))
        .route("/api/v1/correlations", get(query::list).fallback(read))
        .route("/api/v1/correlations/{id}", get(query::get).delete(query::delete).fallback(read_or_delete))
        .route("/api/v1/ledger", get(query::ledger).fallback(read))
        .route("/api/v1/correlations/{id}/related", get(query::related).fallback(read))
        .route("/api/v1/events", get(query::events).post(query::inject).fallback(read_or_inject))
        .route("/api/v1/stats", get(query::stats).fallback(read))
        .fallback(not_found)
        .layer(from_fn_with_state(Arc::clone(&gateway), door::enter))
        .with_state(gateway);
    if !tracer.is_on() {
        return router;
    }
    let scheme = if is_encrypted { "https" } else { "http" };
    router.layer(from_fn_with_state(Traced { tracer, scheme }, trace))
}

/// The form of an error is that of the API whose path it is.
async fn not_found(request: Request) -> Response {
    match door::is_query(request.uri().path()) {
        true => query::not_found(request.uri().path()).into_response(),
        false => receive::not_found(&request),
    }
}
