//! An event as it is posted, read strictly, and as it is answered.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    super::problem::Problem,
    otlp::{SEVERITIES, SYNTHETIC},
    subject::Subject,
};

/// What is posted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Posted {
    correlation_id: String,
    name: String,
    time: Option<String>,
    severity: Option<String>,
    #[serde(default)]
    body: Value,
    #[serde(default)]
    attributes: BTreeMap<String, Value>,
    service: Option<String>,
    span_id: Option<String>,
}

/// An event that may be sent. Its JSON can be posted again, and is the same event then.
#[derive(Debug, Serialize)]
pub(super) struct Event {
    #[serde(rename = "correlation_id")]
    pub(super) subject: Subject,
    pub(super) name: String,
    pub(super) time: DateTime<Utc>,
    /// One of [`SEVERITIES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) severity: Option<&'static str>,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub(super) body: Value,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) attributes: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service: Option<String>,
    /// In lower-case hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) span_id: Option<String>,
}

impl Event {
    /// Reads an event; `now` is when it happened unless it says so itself.
    ///
    /// # Errors
    /// 400: names the field and what is allowed.
    pub(super) fn parse(json: &[u8], now: DateTime<Utc>) -> Result<Self, Problem> {
        let posted: Posted = serde_json::from_slice(json).map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, format!("the body is not a JSON event: {error}"))
        })?;
        let Posted { correlation_id, name, time, severity, body, attributes, service, span_id } = posted;
        let subject = Subject::parse(&correlation_id)
            .ok_or_else(|| bad_field("correlation_id", "expected a trace id of 32 digits, or key=value"))?;
        if name.is_empty() {
            return Err(bad_field("name", "expected what has happened, such as deploy.finished"));
        }
        let time = time.map(|text| {
            parse_time(&text).ok_or_else(|| {
                bad_field("time", "expected RFC 3339 after 1970, such as 2026-01-31T12:00:00Z")
            })
        });
        let severity = severity.map(|text| {
            let known = SEVERITIES.iter().find(|(known, _)| text.eq_ignore_ascii_case(known));
            let expected = "expected TRACE, DEBUG, INFO, WARN, ERROR or FATAL";
            known.map(|(name, _)| *name).ok_or_else(|| bad_field("severity", expected))
        });
        let span_id = span_id.map(|text| {
            let is_id = text.len() == 16
                && text.bytes().all(|byte| byte.is_ascii_hexdigit())
                && text.bytes().any(|byte| byte != b'0');
            let expected = "expected 16 hexadecimal digits, not all zero, beside a trace id";
            let fits = is_id && matches!(subject, Subject::Trace(_));
            fits.then(|| text.to_ascii_lowercase()).ok_or_else(|| bad_field("span_id", expected))
        });
        if attributes.contains_key(SYNTHETIC) {
            return Err(bad_field("attributes", "correlation.synthetic is set of itself"));
        }
        if let Subject::Key { name, value } = &subject
            && attributes.get(name).is_some_and(|given| given != value.as_str())
        {
            return Err(bad_field("attributes", &format!("{name} has another value in correlation_id")));
        }
        Ok(Self {
            name,
            time: time.transpose()?.unwrap_or(now),
            severity: severity.transpose()?,
            body,
            attributes,
            service,
            span_id: span_id.transpose()?,
            subject,
        })
    }
}

/// What OTLP can say: nanoseconds since 1970, where zero would be none.
fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    time.timestamp_nanos_opt().filter(|nanos| *nanos > 0).map(|_| time)
}

/// 400: names the field and what is allowed.
pub(super) fn bad_field(field: &str, allowed: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("{field}: {allowed}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 123_456_789).unwrap()
    }

    fn parse(event: &Value) -> Result<Event, String> {
        Event::parse(event.to_string().as_bytes(), now()).map_err(|problem| format!("{problem:?}"))
    }

    fn trace_id() -> String {
        "AB".repeat(16)
    }

    #[test]
    fn what_is_answered_is_the_same_event_when_it_is_posted() {
        let posted = json!({
            "correlation_id": trace_id(), "name": "deploy.finished", "severity": "warn",
            "body": { "version": 7 }, "attributes": { "region": "eu", "nothing": null }, "service": "shop",
            "span_id": "00000000000000AB",
        });
        let event = serde_json::to_value(parse(&posted).unwrap()).unwrap();
        assert_eq!(event["correlation_id"], trace_id().to_lowercase());
        assert_eq!(event["time"], "2023-11-14T22:13:20.123456789Z");
        assert_eq!((&event["severity"], &event["span_id"]), (&json!("WARN"), &json!("00000000000000ab")));
        let again = Event::parse(event.to_string().as_bytes(), Utc::now()).unwrap();
        assert_eq!(serde_json::to_value(again).unwrap(), event);
        let least = json!({ "correlation_id": "order.id=7", "name": "paid" });
        let event = serde_json::to_value(parse(&least).unwrap()).unwrap();
        let time = "2023-11-14T22:13:20.123456789Z";
        assert_eq!(event, json!({ "correlation_id": "order.id=7", "name": "paid", "time": time }));
    }

    #[test]
    fn a_field_that_is_wrong_is_named() {
        for (field, value) in [
            ("correlation_id", json!("7")),
            ("correlation_id", json!("=7")),
            ("name", json!("")),
            ("time", json!("yesterday")),
            ("time", json!("1970-01-01T00:00:00Z")),
            ("time", json!("2600-01-01T00:00:00Z")),
            ("severity", json!("loud")),
            ("span_id", json!("0000000000000000")),
            ("span_id", json!("ab")),
            ("attributes", json!({ "correlation.synthetic": false })),
            ("colour", json!("red")),
        ] {
            let mut event = json!({ "correlation_id": trace_id(), "name": "paid" });
            event[field] = value;
            let refused = parse(&event).unwrap_err();
            assert!(refused.contains(field) && refused.contains("400"), "{event}: {refused}");
        }
        let of_key = |field: &str, value: Value| {
            let mut event = json!({ "correlation_id": "order.id=7", "name": "paid" });
            event[field] = value;
            parse(&event).unwrap_err()
        };
        assert!(of_key("span_id", json!("00000000000000ab")).contains("beside a trace id"));
        assert!(of_key("attributes", json!({ "order.id": "8" })).contains("order.id has another value"));
        assert!(parse(&json!({ "name": "paid" })).unwrap_err().contains("missing field `correlation_id`"));
    }
}
