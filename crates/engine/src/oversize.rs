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

/// Puts [`Oversize`] around a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OversizeLayer;

/// Rewrites OUT_OF_RANGE, which only tonic itself answers here, to RESOURCE_EXHAUSTED.
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
            let out_of_range = HeaderValue::from(Code::OutOfRange as i32);
            if let Some(status) =
                response.headers_mut().get_mut(GRPC_STATUS).filter(|status| **status == out_of_range)
            {
                *status = HeaderValue::from(Code::ResourceExhausted as i32);
            }
            Ok(response)
        })
    }
}
