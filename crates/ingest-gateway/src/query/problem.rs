//! The errors of the query API: RFC 9457, `application/problem+json`.

use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{ALLOW, CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use serde_json::json;
use tonic::{Code, Status};

use crate::status;

/// Why a query is not answered. `detail` says what to do about it.
#[derive(Debug)]
pub(super) struct Problem {
    http: StatusCode,
    detail: String,
    retry_after_seconds: Option<u64>,
    allow: Option<&'static str>,
}

impl Problem {
    pub(super) fn new(http: StatusCode, detail: impl Into<String>) -> Self {
        Self { http, detail: detail.into(), retry_after_seconds: None, allow: None }
    }

    /// 400: names the parameter and what is allowed.
    pub(super) fn bad_parameter(name: &str, value: &str, allowed: &str) -> Self {
        let detail = format!("parameter {name} = {value:?}: {allowed}");
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 500: neither the client nor a passing fault.
    pub(super) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, format!("allowed here: {allow}"))
        }
    }
}

impl From<Status> for Problem {
    fn from(answer: Status) -> Self {
        // The only way to get there is an answer above the limit, which no retry makes smaller.
        if answer.code() == Code::OutOfRange {
            let detail = format!("the correlation is too large to be returned: {}", answer.message());
            return Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        }
        let http = status::to_http(&answer);
        Self {
            retry_after_seconds: status::retry_after_seconds(http, &answer),
            ..Self::new(http, answer.message())
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": "about:blank",
            "title": self.http.canonical_reason().unwrap_or("Error"),
            "status": self.http.as_u16(),
            "detail": self.detail,
        });
        let content_type = [(CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.http, content_type, body.to_string()).into_response();
        let headers = response.headers_mut();
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
