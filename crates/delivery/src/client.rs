//! Sends telemetry of one signal to one endpoint, over either protocol, and says what came of it.

mod answer;
mod body;
mod grpc;
mod http;

use std::{error::Error, fs, io, time::Duration};

use bytes::Bytes;
use state_core::Signal;
use tokio::time::timeout;

use crate::{
    Protocol,
    endpoint::{Endpoint, EndpointError},
};
pub(crate) use answer::Answer;

/// What this process is called in requests.
const USER_AGENT: &str = concat!("correlation-engine/", env!("CARGO_PKG_VERSION"));
/// An endpoint that cannot be reached by then is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of an answer that are read; a longer one tells nothing more.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Somewhere to send telemetry to.
pub(crate) trait Transport: Send + 'static {
    /// Sends encoded messages as one request.
    fn send(&mut self, payloads: Vec<Bytes>) -> impl Future<Output = Answer> + Send;
}

/// A client of an endpoint for one signal.
pub(crate) struct Client {
    endpoint: Endpoint,
    wire: Wire,
}

enum Wire {
    Grpc(Box<grpc::Grpc>),
    Http(http::Http),
}

impl Client {
    /// Prepares everything but the connection.
    ///
    /// # Errors
    /// Files for TLS that cannot be used.
    pub(crate) fn new(endpoint: &Endpoint, signal: Signal) -> Result<Self, EndpointError> {
        let wire = match endpoint.protocol {
            Protocol::Grpc => grpc::Grpc::new(endpoint, signal).map(|grpc| Wire::Grpc(Box::new(grpc))),
            Protocol::HttpProtobuf => http::Http::new(endpoint, signal).map(Wire::Http),
        };
        let wire =
            wire.map_err(|reason| EndpointError::Client { endpoint: endpoint.name.clone(), reason })?;
        Ok(Self { endpoint: endpoint.clone(), wire })
    }
}

impl Transport for Client {
    async fn send(&mut self, payloads: Vec<Bytes>) -> Answer {
        let Self { endpoint, wire } = self;
        let send = async {
            match wire {
                Wire::Grpc(grpc) => grpc.send(endpoint, payloads).await,
                Wire::Http(http) => http.send(endpoint, payloads).await,
            }
        };
        if let Ok(answer) = timeout(endpoint.timeout, send).await {
            return answer;
        }
        // A connection that a network has swallowed would have the next request wait as long.
        if let Wire::Grpc(grpc) = wire {
            grpc.reconnect();
        }
        Answer::failed("timeout", format!("no answer within {:?}", endpoint.timeout))
    }
}

/// Reads one of the files for TLS.
fn read(key: &str, file: &str) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("failed to read {file} (tls.{key}): {error}"))
}

/// The innermost cause, which says what happened on the wire: `connection refused`.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause| (*cause).source())
}

/// Nothing could be sent because it could not be encoded: memory is short.
fn not_encoded(error: &io::Error) -> Answer {
    Answer::failed("encoding", error.to_string())
}
