//! The errors of OTLP/HTTP: an HTTP code and a `google.rpc.Status` in the request's encoding.

use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{ALLOW, CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use prost::Message;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use super::{body::Limit, media::Media};
use crate::status;

/// The Collector reads 64 KiB of an answer; a message must not fill it.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Why a request is not accepted.
#[derive(Debug)]
pub(super) struct Refusal {
    http: StatusCode,
    status: Status,
    allow: Option<&'static str>,
}

impl Refusal {
    pub(super) fn new(http: StatusCode, status: Status) -> Self {
        Self { http, status, allow: None }
    }

    /// What an engine has answered.
    pub(super) fn from_engine(status: Status) -> Self {
        Self::new(status::to_http(&status), status)
    }

    /// 400: the body is not what its headers say. The client must not send it again.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        let message = bounded(message.into());
        let details = ErrorDetails::with_bad_request_violation("body", message.clone());
        let status = Status::with_error_details(Code::InvalidArgument, message, details);
        Self::new(StatusCode::BAD_REQUEST, status)
    }

    /// 413, permanent.
    pub(super) fn too_large(Limit { bytes, key }: Limit) -> Self {
        let message = format!(
            "the body is larger than {bytes} bytes ({key}), which also counts after \
             decompression; send smaller batches"
        );
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Status::resource_exhausted(message))
    }

    /// Names the methods that a 405 must name.
    pub(super) fn allow(mut self, methods: &'static str) -> Self {
        self.allow = Some(methods);
        self
    }

    /// The reason as a metric label.
    pub(super) fn reason(&self) -> &'static str {
        status::label(self.status.code())
    }

    /// The same for an API whose errors have another form.
    pub(super) fn into_status(self) -> Status {
        self.status
    }

    /// The answer in the encoding of the request.
    pub(super) fn answer(self, media: Media) -> Response {
        let body = match media {
            Media::Protobuf => to_protobuf(&self.status),
            Media::Json => to_json(&self.status).to_string().into_bytes(),
        };
        let mut response = (self.http, [(CONTENT_TYPE, media.content_type())], body).into_response();
        let headers = response.headers_mut();
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if let Some(seconds) = status::retry_after_seconds(self.http, &self.status) {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn to_protobuf(status: &Status) -> Vec<u8> {
    // What an engine added travels as a whole `google.rpc.Status`.
    let added = pb::Status::decode(status.details()).unwrap_or_default();
    let message = pb::Status {
        code: i32::from(status.code()),
        message: bounded(status.message().to_owned()),
        details: added.details,
    };
    message.encode_to_vec()
}

/// `details` hold the two kinds that concern an OTLP client.
fn to_json(status: &Status) -> Value {
    let mut object = json!({
        "code": i32::from(status.code()),
        "message": bounded(status.message().to_owned()),
    });
    let added = status.get_error_details();
    let mut details = Vec::new();
    if let Some(bad_request) = added.bad_request() {
        let violations = bad_request
            .field_violations
            .iter()
            .map(|violation| json!({ "field": violation.field, "description": violation.description }));
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": violations.collect::<Vec<_>>(),
        }));
    }
    if let Some(delay) = added.retry_info().and_then(|info| info.retry_delay) {
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{}.{:03}s", delay.as_secs(), delay.subsec_millis()),
        }));
    }
    if !details.is_empty() {
        object["details"] = Value::from(details);
    }
    object
}

fn bounded(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let whole = (0..=MESSAGE_BYTES_MAX).rev().find(|&end| message.is_char_boundary(end));
        message.truncate(whole.unwrap_or_default());
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn details_are_written_as_protobuf_maps_them_to_json() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1500)));
        let status = Status::with_error_details(Code::Unavailable, "later", details);
        let expected = json!({
            "code": 14,
            "message": "later",
            "details": [{
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": "1.500s",
            }],
        });
        assert_eq!(to_json(&status), expected);
        assert_eq!(to_json(&Status::internal("x")), json!({ "code": 13, "message": "x" }));
    }

    #[test]
    fn a_message_stays_short_and_whole_characters() {
        let status = Status::invalid_argument("ü".repeat(MESSAGE_BYTES_MAX));
        let decoded = pb::Status::decode(to_protobuf(&status).as_slice()).unwrap();
        assert!(decoded.message.len() <= MESSAGE_BYTES_MAX + '…'.len_utf8());
        assert!(decoded.message.ends_with("ü…"));
    }
}
