//! OTLP/HTTP: takes export requests and hands them to an engine.

mod body;
mod coding;
mod media;
mod refusal;

use std::sync::Arc;

use access::Caller;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use otlp_codec::json::{self, Message};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::{blocking, forward::Forward, metrics::Observation, server::Gateway};
use refusal::Refusal;

pub(crate) use body::Limit;
pub use coding::{Coding, CodingError};
pub(crate) use media::Media;

/// What is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Traces,
    Logs,
}

impl Signal {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
        }
    }

    fn request(self) -> Message {
        match self {
            Self::Traces => Message::ExportTraceServiceRequest,
            Self::Logs => Message::ExportLogsServiceRequest,
        }
    }

    fn response(self) -> Message {
        match self {
            Self::Traces => Message::ExportTraceServiceResponse,
            Self::Logs => Message::ExportLogsServiceResponse,
        }
    }
}

/// `POST /v1/traces`
pub(crate) async fn traces(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    receive(&gateway, Signal::Traces, request).await
}

/// `POST /v1/logs`
pub(crate) async fn logs(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    receive(&gateway, Signal::Logs, request).await
}

/// Any other method on these paths.
pub(crate) async fn method_not_allowed(request: Request) -> Response {
    let status = Status::unimplemented("use POST with an OTLP export request");
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, status).allow("POST");
    refusal.answer(Media::of_error(request.headers()))
}

/// An export request that is not let in.
pub(crate) fn refused(headers: &HeaderMap, status: Status) -> Response {
    Refusal::from_engine(status).answer(Media::of_error(headers))
}

/// Any path that no API has.
pub(crate) fn not_found(request: &Request) -> Response {
    let path = request.uri().path();
    let status = match path {
        "/v1/metrics" => Status::unimplemented(
            "metrics are not taken here, only traces and logs; send them elsewhere, or switch \
             their export off with OTEL_METRICS_EXPORTER=none",
        ),
        _ => Status::not_found(format!(
            "there is no {path}; there are /v1/traces, /v1/logs and /api/v1/correlations"
        )),
    };
    Refusal::new(StatusCode::NOT_FOUND, status).answer(Media::of_error(request.headers()))
}

/// Reads a body that is not OTLP, decompressed.
///
/// # Errors
/// As of an export request: too large, not what its headers say, or not complete before `deadline`.
pub(crate) async fn read_body(request: Request, limit: Limit, deadline: Instant) -> Result<Bytes, Status> {
    body::read(request, limit, deadline).await.map_err(Refusal::into_status)
}

async fn receive(gateway: &Gateway, signal: Signal, request: Request) -> Response {
    let deadline = gateway.deadline();
    let media = Media::of(request.headers());
    let observation = Observation::begin(signal, Media::transport(media.as_ref().ok().copied()));
    let error_media = Media::of_error(request.headers());
    let exported = match media {
        Ok(media) => export(gateway, signal, media, request, deadline, &observation).await,
        Err(refusal) => Err(refusal),
    };
    match exported {
        Ok(response) => {
            observation.accepted();
            response
        }
        Err(refusal) => {
            observation.refused(refusal.reason());
            refusal.answer(error_media)
        }
    }
}

async fn export(
    gateway: &Gateway,
    signal: Signal,
    media: Media,
    request: Request,
    deadline: Instant,
    observation: &Observation,
) -> Result<Response, Refusal> {
    let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
    let limit = Limit { bytes: gateway.http.max_body_bytes, key: "http.max_body_bytes" };
    let body = body::read(request, limit, deadline).await?;
    observation.received(body.len());
    let message = match media {
        Media::Protobuf => body,
        Media::Json => to_protobuf(signal.request(), body).await?,
    };
    let forward = Forward { engines: &gateway.engines, signal, caller: &caller, deadline };
    let answer = forward.send(message).await.map_err(Refusal::from_engine)?;
    let answer = match media {
        Media::Protobuf => answer,
        Media::Json => to_json(signal.response(), &answer)?,
    };
    Ok(([(CONTENT_TYPE, media.content_type())], answer).into_response())
}

async fn to_protobuf(message: Message, json: Bytes) -> Result<Bytes, Refusal> {
    let encoded = blocking::run(json.len(), move || json::to_protobuf(message, &json)).await;
    encoded.map(Bytes::from).map_err(|error| Refusal::bad_request(error.to_string()))
}

/// Answers are small: nothing, or how many items were refused and why.
fn to_json(message: Message, protobuf: &[u8]) -> Result<Bytes, Refusal> {
    let text = json::from_protobuf(message, protobuf).map_err(|error| {
        let message = format!("an engine's answer is not valid: {error}");
        Refusal::from_engine(Status::new(Code::Internal, message))
    })?;
    Ok(Bytes::from(text))
}
