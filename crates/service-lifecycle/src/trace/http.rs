//! The HTTP client that traces are sent with, where the protocol is `http/protobuf`.

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::redirect;

/// Of an answer that says more, nobody reads more.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Sends on the runtime that it is called on. Whoever calls it sees to the time.
#[derive(Debug)]
pub(super) struct Client(reqwest::Client);

impl Client {
    /// # Errors
    /// When the certificates of the system cannot be read, for `is_encrypted`.
    pub(super) fn new(is_encrypted: bool) -> Result<Self, reqwest::Error> {
        let builder = reqwest::Client::builder()
            .http1_only()
            // Traces go where it is said that they go.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .tls_built_in_root_certs(is_encrypted);
        builder.build().map(Self)
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut response = self.0.execute(request.try_into()?).await?;
        let mut body = Vec::new();
        while body.len() < ANSWER_BYTES_MAX
            && let Some(chunk) = response.chunk().await?
        {
            body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES_MAX - body.len())]);
        }
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = response.status();
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        Ok(answer)
    }
}
