//! The two encodings of OTLP/HTTP and their media types.

use axum::http::{
    HeaderMap, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use tonic::Status;

use super::refusal::Refusal;

/// How a request is encoded, and so its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Protobuf,
    Json,
}

impl Media {
    /// Compares the media type alone, in any case; parameters such as `charset` do not matter.
    ///
    /// # Errors
    /// 415 when it is missing or another one.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let given = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        let essence = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        Self::named(essence).ok_or_else(|| {
            let message = "unsupported media type, supported: [application/json, application/x-protobuf]";
            Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Status::invalid_argument(message))
        })
    }

    /// The first one that a client accepts; `None` when it asks for neither by name.
    pub(crate) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut accepted = accepted.flat_map(|value| value.split(','));
        accepted.find_map(|range| Self::named(range.split(';').next().unwrap_or_default().trim()))
    }

    fn named(essence: &str) -> Option<Self> {
        [Self::Protobuf, Self::Json]
            .into_iter()
            .find(|media| essence.eq_ignore_ascii_case(media.content_type()))
    }

    /// How an error is encoded: like the request, as JSON when that is not known.
    pub(super) fn of_error(headers: &HeaderMap) -> Self {
        Self::of(headers).unwrap_or(Self::Json)
    }

    /// Exactly this, without parameters: the Collector compares the whole header.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// The name in metrics.
    pub(super) fn transport(media: Option<Self>) -> &'static str {
        match media {
            Some(Self::Protobuf) => "http_protobuf",
            Some(Self::Json) => "http_json",
            None => "http_unknown",
        }
    }
}
