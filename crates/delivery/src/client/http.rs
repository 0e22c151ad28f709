//! OTLP/HTTP with protobuf.

use std::time::Duration;

use ::http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER},
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use prost::Message as _;
use reqwest::{Certificate, Identity, Response, Url, redirect};
use state_core::Signal;

use super::{ANSWER_BYTES_MAX, Answer, CONNECT_TIMEOUT, USER_AGENT, answer::bounded, body, root_cause};
use crate::endpoint::{Endpoint, TlsFiles};

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// A client over HTTP.
pub(super) struct Http {
    client: reqwest::Client,
    url: Url,
    headers: HeaderMap,
}

impl Http {
    pub(super) fn new(endpoint: &Endpoint, signal: Signal) -> Result<Self, String> {
        let path = match signal {
            Signal::Traces => "/v1/traces",
            Signal::Logs => "/v1/logs",
        };
        let url = format!("{}{path}", endpoint.url).parse().map_err(|error| format!("{error}"))?;
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT.min(endpoint.timeout))
            // What every endpoint speaks; one request at a time needs no more.
            .http1_only()
            // Telemetry goes where it is said that it goes.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .tls_built_in_root_certs(endpoint.is_encrypted() && endpoint.tls.ca.is_empty());
        if endpoint.is_encrypted() {
            builder = with_files(builder, &endpoint.tls)?;
        }
        let client = builder.build().map_err(|error| root_cause(&error))?;
        let mut headers = endpoint.headers.clone();
        headers.insert(CONTENT_TYPE, PROTOBUF);
        if let Some(coding) = body::coding(endpoint.compression) {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        Ok(Self { client, url, headers })
    }

    pub(super) async fn send(&self, endpoint: &Endpoint, payloads: Vec<Bytes>) -> Answer {
        let body = match body::encode(payloads, endpoint.compression, 0).await {
            Ok(body) => body,
            Err(error) => return super::not_encoded(&error),
        };
        let request = self.client.post(self.url.clone()).headers(self.headers.clone()).body(body);
        let failed = |error: reqwest::Error| {
            let reason = if error.is_connect() { "connect" } else { "transport" };
            Answer::failed(reason, root_cause(&error))
        };
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return failed(error),
        };
        match read(&mut response).await {
            Ok(body) => judge(response.status(), response.headers(), &body, Utc::now()),
            Err(error) => failed(error),
        }
    }
}

fn with_files(
    mut builder: reqwest::ClientBuilder,
    files: &TlsFiles,
) -> Result<reqwest::ClientBuilder, String> {
    if !files.ca.is_empty() {
        let pem = super::read("ca", &files.ca)?;
        let authorities = Certificate::from_pem_bundle(&pem).map_err(|error| root_cause(&error))?;
        builder = authorities.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
    }
    if !files.certificate.is_empty() {
        let mut pem = super::read("certificate", &files.certificate)?;
        pem.push(b'\n');
        pem.extend(super::read("key", &files.key)?);
        let identity = Identity::from_pem(&pem).map_err(|error| root_cause(&error))?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

/// The beginning of an answer's body: all of it, unless it is too long.
async fn read(response: &mut Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES_MAX
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES_MAX - body.len())]);
    }
    Ok(body)
}

fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8], now: DateTime<Utc>) -> Answer {
    if status.is_success() {
        return Answer::taken(body);
    }
    let (reason, message) = (reason(status), message(headers, body));
    match status.as_u16() {
        429 | 502 | 503 | 504 => Answer::Failed { reason, message, retry_after: retry_after(headers, now) },
        _ => Answer::Refused { reason, message, is_too_large: status == StatusCode::PAYLOAD_TOO_LARGE },
    }
}

/// What the endpoint says: a `Status` in protobuf by OTLP, a text by many others.
fn message(headers: &HeaderMap, body: &[u8]) -> String {
    if headers.get(CONTENT_TYPE) == Some(&PROTOBUF) {
        let status = tonic_types::Status::decode(body).unwrap_or_default();
        return bounded(&status.message);
    }
    bounded(String::from_utf8_lossy(body).trim())
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(value).ok()?;
    Some((date.to_utc() - now).to_std().unwrap_or_default())
}

/// A label for each code that is of use to tell apart.
fn reason(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "http_400",
        401 => "http_401",
        403 => "http_403",
        404 => "http_404",
        413 => "http_413",
        415 => "http_415",
        429 => "http_429",
        500 => "http_500",
        502 => "http_502",
        503 => "http_503",
        504 => "http_504",
        other => match other / 100 {
            3 => "http_3xx",
            4 => "http_4xx",
            5 => "http_5xx",
            _ => "http_other",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: ::http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    fn code(status: u16) -> StatusCode {
        StatusCode::from_u16(status).unwrap()
    }

    #[test]
    fn the_table_of_otlp_says_what_may_be_sent_again() {
        for status in [429, 502, 503, 504] {
            let answer = judge(code(status), &HeaderMap::new(), b"", Utc::now());
            assert!(matches!(answer, Answer::Failed { retry_after: None, .. }), "{status}: {answer:?}");
        }
        for status in [301, 400, 401, 404, 413, 418, 500, 501] {
            let answer = judge(code(status), &HeaderMap::new(), b"", Utc::now());
            let too_large = status == 413;
            let Answer::Refused { is_too_large, .. } = answer else { panic!("{status}: {answer:?}") };
            assert_eq!(is_too_large, too_large, "{status}");
        }
        for status in [200, 202, 204] {
            let answer = judge(code(status), &HeaderMap::new(), b"", Utc::now());
            assert_eq!(answer, Answer::Taken { rejected: 0, message: String::new() }, "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::parse_from_rfc3339("2026-11-26T08:00:00Z").unwrap().to_utc();
        for (value, seconds) in [
            ("7", Some(7)),
            ("Thu, 26 Nov 2026 08:00:09 GMT", Some(9)),
            ("Thu, 26 Nov 2026 07:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let asked = retry_after(&with(RETRY_AFTER, value), now);
            assert_eq!(asked, seconds.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn the_message_is_read_out_of_a_status_or_a_text() {
        let status = tonic_types::Status { message: "no such tenant".to_owned(), ..Default::default() };
        let of_status = message(&with(CONTENT_TYPE, "application/x-protobuf"), &status.encode_to_vec());
        assert_eq!(of_status, "no such tenant");
        assert_eq!(message(&with(CONTENT_TYPE, "text/plain"), b"bad gateway\n"), "bad gateway");
    }
}
