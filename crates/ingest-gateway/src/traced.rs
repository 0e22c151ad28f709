//! The span of an HTTP request, where this process is traced.

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use service_lifecycle::Tracer;

/// What the spans of a port are made with.
#[derive(Clone)]
pub(crate) struct Traced {
    pub(crate) tracer: Tracer,
    pub(crate) scheme: &'static str,
}

/// Runs a request in a span that began when its head had come, and ends when its answer begins.
pub(crate) async fn trace(State(traced): State<Traced>, request: Request, next: Next) -> Response {
    let Some(span) = traced.tracer.server(request.headers()) else { return next.run(request).await };
    if span.is_recording() {
        let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        span.describe_http(request.method(), request.uri(), route, traced.scheme);
        span.describe_server(request.uri(), request.headers());
    }
    let response = span.run(next.run(request)).await;
    span.answered_http(response.status());
    response
}
