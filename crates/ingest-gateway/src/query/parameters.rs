//! The query string of a request, read strictly: a misspelt parameter must not widen the answer.

use std::collections::BTreeMap;

use axum::{
    extract::Query,
    http::{StatusCode, Uri},
};
use chrono::{DateTime, Utc};
use otlp_proto::correlation::v1::{
    CloseCause, CorrelationKey, CorrelationStatus, ListCorrelationsRequest, ListRelatedRequest, View,
    WatchRequest,
};
use prost_types::Timestamp;

use super::problem::Problem;
use crate::receive::{Media, Signal};

/// The largest page that an engine returns.
const LIMIT_MAX: u32 = 1000;
/// The page when no size is asked for.
const LIMIT_DEFAULT: u32 = 100;

/// How far an engine walks from a correlation.
const DEPTH_MAX: u32 = 32;
/// How much it lists on the way.
const RELATED_MAX: u32 = 200;

/// What of a correlation is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// This API's own JSON: the summary, a tree of the spans, and the log records. The default.
    Tree,
    /// The summary alone, for which no telemetry is read.
    Summary,
    /// The summary, and all telemetry as OTLP/JSON.
    Full,
    /// OTLP: its spans as `TracesData`, or its log records as `LogsData`.
    Otlp(Media, Signal),
}

impl Form {
    /// What it takes from an engine.
    pub(super) fn view(self) -> View {
        match self {
            Self::Summary => View::Summary,
            Self::Tree | Self::Full | Self::Otlp(..) => View::Full,
        }
    }
}

/// Names and values, each name once.
#[derive(Debug)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Takes the query string of `uri` apart.
    ///
    /// # Errors
    /// 400 when a parameter stands there twice.
    pub(super) fn parse(uri: &Uri) -> Result<Self, Problem> {
        let pairs: Query<Vec<(String, String)>> = Query::try_from_uri(uri)
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
        let mut parameters = BTreeMap::new();
        for (name, value) in pairs.0 {
            if parameters.contains_key(&name) {
                return Err(Problem::bad_parameter(&name, &value, "expected only once"));
            }
            parameters.insert(name, value);
        }
        Ok(Self(parameters))
    }

    /// `from`, `to`, `service`, `environment`, `status`, `error`, `min_duration`, `key`, `limit`, `page_token`
    pub(super) fn into_list(mut self) -> Result<ListCorrelationsRequest, Problem> {
        let request = ListCorrelationsRequest {
            from: self.take_with("from", parse_time)?,
            to: self.take_with("to", parse_time)?,
            service: self.take("service").unwrap_or_default(),
            page_size: self.take_with("limit", parse_limit)?.unwrap_or(LIMIT_DEFAULT),
            page_token: self.take("page_token").unwrap_or_default(),
            environment: self.take("environment").unwrap_or_default(),
            status: self.take_with("status", parse_status)?.unwrap_or_default().into(),
            has_errors: self.take_with("error", parse_bool)?,
            duration_min: self.take_with("min_duration", parse_duration)?,
            key: self.take_with("key", parse_key)?,
        };
        let known = "from, to, service, environment, status, error, min_duration, key, limit and page_token";
        self.nothing_else(known)?;
        Ok(request)
    }

    /// `service`, `environment`, `cause`, `key`, `error`
    pub(super) fn into_watch(mut self) -> Result<WatchRequest, Problem> {
        let request = WatchRequest {
            service: self.take("service").unwrap_or_default(),
            environment: self.take("environment").unwrap_or_default(),
            cause: self.take_with("cause", parse_cause)?.unwrap_or_default().into(),
            key: self.take_with("key", parse_key)?,
            has_errors: self.take_with("error", parse_bool)?,
        };
        self.nothing_else("service, environment, cause, key and error")?;
        Ok(request)
    }

    /// `view`, or `signal` where OTLP is accepted and no view is asked for.
    pub(super) fn into_form(mut self, accepted: Option<Media>) -> Result<Form, Problem> {
        let view = self.take_with("view", parse_view)?;
        let form = match (view, accepted) {
            (None, Some(media)) => {
                Form::Otlp(media, self.take_with("signal", parse_signal)?.unwrap_or(Signal::Traces))
            }
            (view, _) => view.unwrap_or(Form::Tree),
        };
        self.nothing_else("view, and signal with Accept: application/x-protobuf or application/json")?;
        Ok(form)
    }

    /// `depth`, `limit`; without them the engine decides.
    pub(super) fn into_related(mut self, correlation_id: String) -> Result<ListRelatedRequest, Problem> {
        let request = ListRelatedRequest {
            correlation_id,
            depth_max: self.take_with("depth", |text| parse_up_to(text, DEPTH_MAX))?.unwrap_or_default(),
            limit: self.take_with("limit", |text| parse_up_to(text, RELATED_MAX))?.unwrap_or_default(),
        };
        self.nothing_else("depth and limit")?;
        Ok(request)
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn take_with<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let parsed = parse(&value);
        parsed.map(Some).map_err(|allowed| Problem::bad_parameter(name, &value, &allowed))
    }

    fn nothing_else(self, known: &str) -> Result<(), Problem> {
        match self.0.first_key_value() {
            None => Ok(()),
            Some((name, value)) => {
                let allowed = format!("unknown; there is {known}");
                Err(Problem::bad_parameter(name, value, &allowed))
            }
        }
    }
}

/// RFC 3339, or seconds since 1970 with or without a fraction.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    // In a query string `+` stands for a space; nobody escapes the one of `+01:00`.
    let rfc_3339 = DateTime::parse_from_rfc3339(&text.replace(' ', "+"));
    let time = rfc_3339.map(|time| time.to_utc()).ok().or_else(|| parse_unix_seconds(text));
    let time = time
        .ok_or_else(|| "expected RFC 3339, such as 2026-01-31T12:00:00Z, or seconds since 1970".to_owned())?;
    Ok(Timestamp {
        seconds: time.timestamp(),
        // A leap second counts as the end of the second before.
        nanos: time.timestamp_subsec_nanos().min(999_999_999).cast_signed(),
    })
}

/// Digit by digit: a float would lose nanoseconds.
fn parse_unix_seconds(text: &str) -> Option<DateTime<Utc>> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_decimal = |digits: &str| {
        !digits.is_empty() && digits.len() <= 12 && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_decimal(seconds) || !is_decimal(fraction) {
        return None;
    }
    let nanos = format!("{fraction:0<9}");
    DateTime::from_timestamp(seconds.parse().ok()?, nanos[..9].parse().ok()?)
}

fn parse_limit(text: &str) -> Result<u32, String> {
    parse_up_to(text, LIMIT_MAX)
}

fn parse_up_to(text: &str, max: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {max}"))
}

fn parse_status(text: &str) -> Result<CorrelationStatus, String> {
    match text {
        "active" => Ok(CorrelationStatus::Active),
        "closed" => Ok(CorrelationStatus::Closed),
        _ => Err("expected active or closed".to_owned()),
    }
}

fn parse_cause(text: &str) -> Result<CloseCause, String> {
    match text {
        "complete" => Ok(CloseCause::Complete),
        "idle" => Ok(CloseCause::Idle),
        "max_age" => Ok(CloseCause::MaxAge),
        "full" => Ok(CloseCause::Full),
        _ => Err("expected complete, idle, max_age or full".to_owned()),
    }
}

/// `name:value`; the name has no colon.
fn parse_key(text: &str) -> Result<CorrelationKey, String> {
    let parts = text.split_once(':').filter(|(name, value)| !name.is_empty() && !value.is_empty());
    let (name, value) = parts.ok_or_else(|| "expected name:value, such as order.id:7".to_owned())?;
    Ok(CorrelationKey { name: name.to_owned(), value: value.to_owned() })
}

fn parse_bool(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "expected true or false".to_owned())
}

/// A number with its unit: `250ms`, `1.5s`, `2m`.
fn parse_duration(text: &str) -> Result<prost_types::Duration, String> {
    let expected = || "expected a number with a unit of us, ms, s, m or h, such as 250ms".to_owned();
    let digits = text.find(|character: char| !character.is_ascii_digit() && character != '.');
    let (number, unit) = text.split_at(digits.ok_or_else(expected)?);
    let seconds_per_unit = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(expected()),
    };
    let seconds = number.parse::<f64>().map_err(|_| expected())? * seconds_per_unit;
    let duration = std::time::Duration::try_from_secs_f64(seconds).map_err(|_| expected())?;
    prost_types::Duration::try_from(duration).map_err(|_| expected())
}

fn parse_signal(text: &str) -> Result<Signal, String> {
    match text {
        "traces" => Ok(Signal::Traces),
        "logs" => Ok(Signal::Logs),
        _ => Err("expected traces or logs".to_owned()),
    }
}

fn parse_view(text: &str) -> Result<Form, String> {
    match text {
        "tree" => Ok(Form::Tree),
        "summary" => Ok(Form::Summary),
        "full" => Ok(Form::Full),
        _ => Err("expected tree, summary or full".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_or_seconds() {
        for (text, seconds, nanos) in [
            ("1970-01-01T00:00:01Z", 1, 0),
            ("1970-01-01T01:00:00.5+01:00", 0, 500_000_000),
            ("1970-01-01T01:00:00 01:00", 0, 0),
            ("1700000000", 1_700_000_000, 0),
            ("1700000000.000000001", 1_700_000_000, 1),
            ("0.25", 0, 250_000_000),
        ] {
            assert_eq!(parse_time(text), Ok(Timestamp { seconds, nanos }), "{text}");
        }
        for text in ["", "yesterday", "-1", "1.", ".5", "1e3", "2026-01-31", "1700000000000000"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    fn list(query: &str) -> Result<ListCorrelationsRequest, Problem> {
        let uri = format!("/?{query}").parse().unwrap();
        Parameters::parse(&uri).and_then(Parameters::into_list)
    }

    #[test]
    fn a_list_request_takes_its_parameters_and_no_others() {
        let second = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let expected = ListCorrelationsRequest {
            from: second(1),
            to: second(2),
            service: "cart v2".to_owned(),
            page_size: 7,
            page_token: "a+b".to_owned(),
            environment: "test".to_owned(),
            status: CorrelationStatus::Closed.into(),
            has_errors: Some(true),
            duration_min: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
            key: Some(CorrelationKey { name: "order.id".to_owned(), value: "7:8".to_owned() }),
        };
        let query = "from=1&to=2&service=cart%20v2&limit=7&page_token=a%2Bb&environment=test&status=closed&error=true&min_duration=1500ms&key=order.id:7:8";
        assert_eq!(list(query).unwrap(), expected);
        let default = ListCorrelationsRequest { page_size: LIMIT_DEFAULT, ..Default::default() };
        assert_eq!(list("").unwrap(), default);
        for query in [
            "form=1",
            "limit=1001",
            "limit=0",
            "from=1&from=2",
            "status=open",
            "error=1",
            "min_duration=5",
            "min_duration=ms",
            "key=order.id",
        ] {
            assert!(list(query).is_err(), "{query}");
        }
    }
}
