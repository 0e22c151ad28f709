//! One attempt to send one request through one door, and what a failure means.

use anyhow::anyhow;
use otlp_proto::{
    raw::{logs::logs_service_client::LogsServiceClient, trace::trace_service_client::TraceServiceClient},
    status,
};
use reqwest::{StatusCode, header};
use tonic::{Status, codec::CompressionEncoding};

use super::Sender;
use crate::{
    answer::{Answer, decode, is_retryable_http, read_json},
    plan::Door,
    request::{Request, Signal, gzip},
};

/// Why an attempt did not succeed, and whether another one may.
pub(super) struct Failure {
    pub(super) error: anyhow::Error,
    pub(super) is_retryable: bool,
}

impl Sender {
    pub(super) async fn attempt(
        &self,
        request: &Request,
        door: Door,
        compressed: bool,
    ) -> Result<Answer, Failure> {
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
        let body = answer.bytes().await.map_err(|error| Failure::of_http(error, &url))?;
        if status == StatusCode::OK {
            return Ok(body);
        }
        Err(Failure {
            error: anyhow!("{url} answered {status}: {}", String::from_utf8_lossy(&body)),
            is_retryable: is_retryable_http(status),
        })
    }
}

impl Failure {
    fn permanent(error: anyhow::Error) -> Self {
        Self { error, is_retryable: false }
    }

    fn of_status(status: Status) -> Self {
        let is_retryable = status::is_retryable(&status);
        Self { error: anyhow!(status), is_retryable }
    }

    /// No answer came: the request may or may not have arrived, and may be repeated.
    fn of_http(error: reqwest::Error, url: &str) -> Self {
        Self { error: anyhow!(error).context(format!("no answer from {url}")), is_retryable: true }
    }
}
