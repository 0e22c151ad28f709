//! Events that are put into correlations from outside: each becomes an OTLP log record and goes its way.

mod event;
mod otlp;
mod subject;

use std::sync::Arc;

use access::Caller;
use axum::{
    Json,
    extract::{Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_TYPE, LOCATION},
    },
    response::{IntoResponse as _, Response},
};
use chrono::Utc;
use otlp_proto::opentelemetry::proto::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;

use super::{answer, problem::Problem};
use crate::{
    forward::Forward,
    receive::{Limit, Media, Signal, read_body},
    server::Gateway,
};
use event::Event;

/// `POST /api/v1/events`
pub(crate) async fn inject(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let injected = async {
        let deadline = gateway.deadline();
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
        demand_json(request.headers())?;
        let limit = Limit { bytes: gateway.events.max_body_bytes, key: "events.max_body_bytes" };
        let body = read_body(request, limit, deadline).await?;
        let event = Event::parse(&body, Utc::now())?;
        let export = otlp::export_request(&event).encode_to_vec();
        for keys in gateway.engines.correlation_keys_told() {
            event.subject.check(&export, keys)?;
        }
        let forward = Forward { engines: &gateway.engines, signal: Signal::Logs, caller: &caller, deadline };
        demand_all(&forward.send(export.into()).await?)?;
        let location = format!("/api/v1/correlations/{}", in_path(event.subject.id().as_str()));
        Ok((StatusCode::CREATED, [(LOCATION, location)], Json(event)).into_response())
    };
    answer("inject", injected).await
}

fn demand_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(Media::Json.content_type()) {
        let detail = format!("Content-Type = {given:?}: expected application/json");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    Ok(())
}

/// The one record has been taken, unless the engine says otherwise.
fn demand_all(answer: &[u8]) -> Result<(), Problem> {
    let answer = ExportLogsServiceResponse::decode(answer)
        .map_err(|error| Problem::internal(format!("an engine's answer is not valid: {error}")))?;
    let partial = answer.partial_success.unwrap_or_default();
    if partial.rejected_log_records > 0 {
        let detail = format!("the event cannot be kept: {}", partial.error_message);
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    Ok(())
}

/// A correlation id as a part of a path.
fn in_path(id: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~=".contains(&byte);
    let encode = |byte| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    id.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_in_a_path_is_percent_encoded() {
        assert_eq!(in_path("order.id=4/2 é%25"), "order.id=4%2F2%20%C3%A9%2525");
    }
}
