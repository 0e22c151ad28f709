//! The span of a gRPC request, where this process is traced.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use service_lifecycle::{Span, Tracer};
use tonic::body::Body;
use tower::{Layer, Service};

/// Name of the header of an answer that has no trailers: the answer of a call that failed.
const GRPC_STATUS: &str = "grpc-status";

/// Puts a [`Traced`] around a service.
#[derive(Clone)]
pub(crate) struct TracedLayer {
    pub(crate) tracer: Tracer,
    /// Names of the services whose calls are traced, and the paths that are not.
    pub(crate) services: &'static [&'static str],
    pub(crate) untraced: &'static [&'static str],
}

impl<S> Layer<S> for TracedLayer {
    type Service = Traced<S>;

    fn layer(&self, service: S) -> Traced<S> {
        Traced { layer: self.clone(), service }
    }
}

/// Runs each call in a span that began when its head had come.
#[derive(Clone)]
pub(crate) struct Traced<S> {
    layer: TracedLayer,
    service: S,
}

/// As boxed by the service beneath, so that a call which is not traced is not boxed again.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for Traced<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = Answering>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(span) = self.layer.begin(&request) else { return self.service.call(request) };
        let answering = span.run(self.service.call(request));
        Box::pin(async move {
            let answer = answering.await?;
            if span.is_recording() {
                span.answered_rpc(code(&answer));
            }
            Ok(answer)
        })
    }
}

impl TracedLayer {
    fn begin(&self, request: &Request<Body>) -> Option<Span> {
        if !self.tracer.is_on() {
            return None;
        }
        let path = request.uri().path();
        let service = path.strip_prefix('/').and_then(|path| path.split('/').next())?;
        if !self.services.contains(&service) || self.untraced.contains(&path) {
            return None;
        }
        let span = self.tracer.server(request.headers())?;
        if span.is_recording() {
            span.describe_rpc(path);
            span.describe_server(request.uri(), request.headers());
        }
        Some(span)
    }
}

/// OK stands in the trailers, which come after the answer.
fn code(answer: &Response<Body>) -> i32 {
    let status = answer.headers().get(GRPC_STATUS).and_then(|status| status.to_str().ok());
    status.and_then(|status| status.parse().ok()).unwrap_or(0)
}
