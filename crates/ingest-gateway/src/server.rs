//! Routes, and the two things that run: the HTTP server and the watch over the engines.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use service_lifecycle::{Process, bind};
use tokio::time::Instant;

use crate::{GatewayConfig, HttpConfig, engines::Engines, query, receive};

/// What every handler needs.
pub(crate) struct Gateway {
    pub(crate) engines: Arc<Engines>,
    pub(crate) http: HttpConfig,
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
    let Process { config, readiness, shutdown } = process;
    let engines = Arc::new(Engines::new(config.engines, readiness.check("engines")));
    let listener = bind(config.http.listen, "http.listen").await?;
    let gateway = Arc::new(Gateway { engines: Arc::clone(&engines), http: config.http });
    let server = axum::serve(listener, router(gateway)).with_graceful_shutdown(shutdown.draining());
    tokio::select! {
        served = async { server.await } => served.context("failed to serve HTTP"),
        // The engines are watched for as long as requests may need them.
        never = engines.watch() => match never {},
    }
}

fn router(gateway: Arc<Gateway>) -> Router {
    let export = receive::method_not_allowed;
    let read = || async { query::method_not_allowed("GET, HEAD") };
    let read_or_delete = || async { query::method_not_allowed("GET, HEAD, DELETE") };
    Router::new()
        .route("/v1/traces", post(receive::traces).fallback(export))
        .route("/v1/logs", post(receive::logs).fallback(export))
        .route("/api/v1/correlations", get(query::list).fallback(read))
        .route("/api/v1/correlations/{id}", get(query::get).delete(query::delete).fallback(read_or_delete))
        .route("/api/v1/stats", get(query::stats).fallback(read))
        .fallback(not_found)
        .with_state(gateway)
}

/// The form of an error is that of the API whose path it is.
async fn not_found(request: Request) -> Response {
    match request.uri().path().starts_with("/api/") {
        true => query::not_found(request.uri().path()).into_response(),
        false => receive::not_found(&request),
    }
}
