//! One attempt to send one request through one door, and what a failure means.

use std::{error::Error as _, time::Duration};

use anyhow::anyhow;
use otlp_proto::{
    raw::{logs::logs_service_client::LogsServiceClient, trace::trace_service_client::TraceServiceClient},
    status,
};
use reqwest::{StatusCode, header};
use tonic::{Status, codec::CompressionEncoding};
use tonic_types::StatusExt as _;

use super::Sender;
use crate::{
    answer::{Answer, decode, is_retryable_http, read_json},
    plan::Door,
    request::{Request, Signal, gzip},
};

/// Why an attempt did not succeed, and whether another one may.
#[derive(Debug)]
pub struct Failure {
    /// For people.
    pub error: anyhow::Error,
    /// Whether another attempt may succeed.
    pub is_retryable: bool,
    /// Whether somebody has answered. Without an answer the request may or may not have arrived.
    pub is_answered: bool,
    /// How long to wait before another attempt at least, where the answer says it.
    pub retry_after: Option<Duration>,
}

impl Sender {
    /// Sends a request through a door once.
    ///
    /// # Errors
    /// When it is not answered with success.
    pub async fn attempt(&self, request: &Request, door: Door, compressed: bool) -> Result<Answer, Failure> {
        match door {
            Door::Engine(index) => self.attempt_grpc(request, index, compressed).await,
            Door::Protobuf(index) => {
                let answer = self
                    .attempt_http(request, index, "application/x-protobuf", request.protobuf(), compressed)
                    .await?;
                decode(request.signal, &answer).map_err(Failure::permanent)
            }
            Door::Json(index) => {
                let body = request.json().map_err(Failure::permanent)?;
                let answer = self.attempt_http(request, index, "application/json", body, compressed).await?;
                read_json(request.signal, &answer).map_err(Failure::permanent)
            }
        }
    }

    async fn attempt_grpc(
        &self,
        request: &Request,
        index: usize,
        compressed: bool,
    ) -> Result<Answer, Failure> {
        let channel = self.engines[index].clone();
        let body = request.protobuf();
        let answer = match (request.signal, compressed) {
            (Signal::Traces, false) => TraceServiceClient::new(channel).export(body).await,
            (Signal::Traces, true) => {
                let client = TraceServiceClient::new(channel);
                client.send_compressed(CompressionEncoding::Gzip).export(body).await
            }
            (Signal::Logs, false) => LogsServiceClient::new(channel).export(body).await,
            (Signal::Logs, true) => {
                let client = LogsServiceClient::new(channel);
                client.send_compressed(CompressionEncoding::Gzip).export(body).await
            }
        };
        let answer = answer.map_err(Failure::of_status)?.into_inner();
        decode(request.signal, &answer).map_err(Failure::permanent)
    }

    async fn attempt_http(
        &self,
        request: &Request,
        index: usize,
        content_type: &str,
        body: bytes::Bytes,
        compressed: bool,
    ) -> Result<bytes::Bytes, Failure> {
        let url = format!("{}{}", self.gateways[index], request.signal.path());
        let mut post = self.http.post(&url).header(header::CONTENT_TYPE, content_type);
        post = if compressed {
            let body = gzip(&body).map_err(|error| Failure::permanent(error.into()))?;
            post.header(header::CONTENT_ENCODING, "gzip").body(body)
        } else {
            post.body(body)
        };
        let answer = post.send().await.map_err(|error| Failure::of_http(error, &url))?;
        let status = answer.status();
        // Seconds; the other form, a date, no receiver here uses.
        let retry_after = answer.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = retry_after.map(Duration::from_secs);
        let body = answer.bytes().await.map_err(|error| Failure::of_http(error, &url))?;
        if status == StatusCode::OK {
            return Ok(body);
        }
        Err(Failure {
            error: anyhow!("{url} answered {status}: {}", String::from_utf8_lossy(&body)),
            is_retryable: is_retryable_http(status),
            is_answered: true,
            retry_after,
        })
    }
}

impl Failure {
    fn permanent(error: anyhow::Error) -> Self {
        Self { error, is_retryable: false, is_answered: true, retry_after: None }
    }

    fn of_status(status: Status) -> Self {
        // A status that came over the wire has no source.
        let is_answered = status.source().is_none();
        let is_retryable = !is_answered || status::is_retryable(&status);
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        Self { error: anyhow!(status), is_retryable, is_answered, retry_after }
    }

    /// No answer came: the request may or may not have arrived, and may be repeated.
    fn of_http(error: reqwest::Error, url: &str) -> Self {
        let error = anyhow!(error).context(format!("no answer from {url}"));
        Self { error, is_retryable: true, is_answered: false, retry_after: None }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn an_answer_says_when_to_come_back() {
        let wait = Duration::from_millis(1_500);
        let details = ErrorDetails::with_retry_info(Some(wait));
        let failure = Failure::of_status(Status::with_error_details(Code::Unavailable, "later", details));
        assert!(failure.is_answered && failure.is_retryable);
        assert_eq!(failure.retry_after, Some(wait));
    }

    #[test]
    fn what_nobody_answered_may_be_sent_again() {
        let failure = Failure::of_status(Status::from_error("connection reset".into()));
        assert!(failure.is_retryable && !failure.is_answered);
    }
}
