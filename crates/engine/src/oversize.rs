//! Answers a message over the limit with RESOURCE_EXHAUSTED, as OTLP demands.
//!
//! tonic 0.14 answers OUT_OF_RANGE to an uncompressed message over the limit, which OTLP clients
//! retry: the same poison request would come again and again.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tonic::{
    Code,
    codegen::http::{HeaderValue, Response},
};
use tower::{Layer, Service};

/// Name of the header, or trailer, that carries the status.
const GRPC_STATUS: &str = "grpc-status";
/// Name of the one that carries its text, percent-encoded.
const GRPC_MESSAGE: &str = "grpc-message";
const MESSAGE: &str = "the message is larger than grpc.max_message_bytes; send smaller batches";

/// Puts [`Oversize`] around a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OversizeLayer;

/// Rewrites OUT_OF_RANGE, which only tonic itself answers here, to RESOURCE_EXHAUSTED, and names the limit.
#[derive(Debug, Clone)]
pub(crate) struct Oversize<S> {
    service: S,
}

impl<S> Layer<S> for OversizeLayer {
    type Service = Oversize<S>;

    fn layer(&self, service: S) -> Oversize<S> {
        Oversize { service }
    }
}

impl<S, Request, Body> Service<Request> for Oversize<S>
where
    S: Service<Request, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let response = self.service.call(request);
        Box::pin(async move {
            let mut response = response.await?;
            let headers = response.headers_mut();
            let is = |code: Code| headers.get(GRPC_STATUS) == Some(&HeaderValue::from(code as i32));
            // After decompression tonic answers RESOURCE_EXHAUSTED by itself; no service of the engine does.
            if is(Code::OutOfRange) || is(Code::ResourceExhausted) {
                headers.insert(GRPC_STATUS, HeaderValue::from(Code::ResourceExhausted as i32));
                headers.insert(GRPC_MESSAGE, HeaderValue::from_static(MESSAGE));
            }
            Ok(response)
        })
    }
}
