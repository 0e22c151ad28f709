//! Answers a message over the limit with RESOURCE_EXHAUSTED, as OTLP demands.
//!
//! tonic 0.14 answers OUT_OF_RANGE to an uncompressed message over the limit, which OTLP clients
//! retry: the same poison request would come again and again.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderValue, Response};
use tonic::Code;
use tower::{Layer, Service};

/// Name of the header, or trailer, that carries the status.
const GRPC_STATUS: &str = "grpc-status";
/// Name of the one that carries its text, percent-encoded.
const GRPC_MESSAGE: &str = "grpc-message";
/// Name of the one that carries its details.
const GRPC_DETAILS: &str = "grpc-status-details-bin";
/// Ends the text that is put there; percent-encoding leaves these letters as they are.
const ADVICE: &[u8] = b"batches";

/// Puts [`Oversize`] around a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OversizeLayer {
    /// The section of the configuration that holds the `max_message_bytes` of the door, for errors.
    pub(crate) section: &'static str,
}

/// Rewrites OUT_OF_RANGE, which only tonic itself answers here, to RESOURCE_EXHAUSTED, and names the limit.
#[derive(Debug, Clone)]
pub(crate) struct Oversize<S> {
    service: S,
    section: &'static str,
}

impl<S> Layer<S> for OversizeLayer {
    type Service = Oversize<S>;

    fn layer(&self, service: S) -> Oversize<S> {
        Oversize { service, section: self.section }
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
        let section = self.section;
        Box::pin(async move {
            let mut response = response.await?;
            let headers = response.headers_mut();
            let is = |code: Code| headers.get(GRPC_STATUS) == Some(&HeaderValue::from(code as i32));
            // After decompression tonic answers RESOURCE_EXHAUSTED by itself. An engine behind this door
            // says which limit of its own it was, or when to try again.
            let says_why = headers.contains_key(GRPC_DETAILS)
                || headers.get(GRPC_MESSAGE).is_some_and(|message| message.as_bytes().ends_with(ADVICE));
            if is(Code::OutOfRange) || is(Code::ResourceExhausted) && !says_why {
                headers.insert(GRPC_STATUS, HeaderValue::from(Code::ResourceExhausted as i32));
                let message =
                    format!("the message is larger than {section}.max_message_bytes; send smaller batches");
                let message = HeaderValue::try_from(message);
                headers.insert(GRPC_MESSAGE, message.expect("a section is named in ASCII"));
            }
            Ok(response)
        })
    }
}
