//! Queries over HTTP as JSON: what the engines answer over gRPC, for people and scripts.

mod events;
mod inject;
mod ledger;
mod parameters;
mod problem;
mod related;
mod tree;
mod union;
mod view;

use std::{future::Future, sync::Arc};

use access::Caller;
use axum::{
    Extension, Json,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use otlp_codec::json::{self, Message};
use otlp_proto::correlation::v1::{
    CountCorrelationsRequest, DeleteCorrelationRequest, GetCorrelationRequest, GetCorrelationResponse,
    correlation_service_client::CorrelationServiceClient,
};
use serde::Serialize;
use serde_json::value::RawValue;
use tonic::{Status, transport::Channel};

use crate::{
    blocking,
    engines::{Method, Seen},
    metrics,
    receive::{Media, Signal},
    server::Gateway,
};
pub(crate) use events::{Streams, events};
pub(crate) use inject::inject;
pub(crate) use ledger::ledger;
use parameters::{Form, Parameters};
use problem::Problem;
pub(crate) use related::related;
use tree::Tree;
use view::{Engine, Full, Listing, Stats, Summary};

/// Larger than any correlation by default (16 MiB of telemetry), with room for larger limits.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// `GET /api/v1/correlations`
pub(crate) async fn list(
    State(gateway): State<Arc<Gateway>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let listed = async {
        let parameters = Parameters::parse(&uri);
        let request = parameters.and_then(Parameters::into_list)?;
        let limit = request.page_size as usize;
        let call = |channel, request| async move { client(channel).list_correlations(request).await };
        let ask = gateway.engines.ask_each_state(&caller, gateway.deadline(), Method::LIST, request, call);
        let pages = ask.await.into_iter().collect::<Result<_, Status>>()?;
        Ok(Json(Listing::from(union::of_pages(pages, limit)?)))
    };
    answer("list", listed).await
}

/// `GET /api/v1/correlations/{id}`
pub(crate) async fn get(
    State(gateway): State<Arc<Gateway>>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let got = async {
        let correlation_id = parse_id(id)?;
        let form = Parameters::parse(&uri)?.into_form(Media::accepted(&headers))?;
        let request = GetCorrelationRequest { correlation_id, view: form.view().into() };
        let call = |channel, request| async move { client(channel).get_correlation(request).await };
        let ask = gateway.engines.ask_each_state(&caller, gateway.deadline(), Method::GET, request, call);
        let found = union::of_correlation(union::found(ask.await)?)?;
        match form {
            Form::Tree => tree(found).await,
            Form::Full => full(found).await,
            Form::Summary => Ok(Json(Summary::from(found.summary.unwrap_or_default())).into_response()),
            Form::Otlp(media, signal) => otlp(found, media, signal).await,
        }
    };
    answer("get", got).await
}

/// The summary, and for people what the telemetry says.
async fn tree(found: GetCorrelationResponse) -> Result<Response, Problem> {
    let bytes = found.traces_data.len() + found.logs_data.len();
    let text = blocking::run(bytes, move || {
        let tree = Tree::read(found)?;
        if tree.is_truncated() {
            metrics::tree_truncated();
        }
        to_text(&tree)
    });
    Ok(([(CONTENT_TYPE, Media::Json.content_type())], text.await?).into_response())
}

/// The summary, and all telemetry as OTLP/JSON.
async fn full(found: GetCorrelationResponse) -> Result<Response, Problem> {
    let bytes = found.traces_data.len() + found.logs_data.len();
    let text = blocking::run(bytes, move || {
        let full = Full {
            summary: Summary::from(found.summary.unwrap_or_default()),
            traces_data: to_raw_json(Message::TracesData, &found.traces_data)?,
            logs_data: to_raw_json(Message::LogsData, &found.logs_data)?,
        };
        to_text(&full)
    });
    Ok(([(CONTENT_TYPE, Media::Json.content_type())], text.await?).into_response())
}

/// The telemetry of one signal as OTLP.
async fn otlp(found: GetCorrelationResponse, media: Media, signal: Signal) -> Result<Response, Problem> {
    let (message, data) = match signal {
        Signal::Traces => (Message::TracesData, found.traces_data),
        Signal::Logs => (Message::LogsData, found.logs_data),
    };
    let body = match media {
        Media::Protobuf => data,
        Media::Json => blocking::run(data.len(), move || to_json(message, &data)).await?.into(),
    };
    Ok(([(CONTENT_TYPE, media.content_type())], body).into_response())
}

/// `DELETE /api/v1/correlations/{id}`
pub(crate) async fn delete(
    State(gateway): State<Arc<Gateway>>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    let deleted = async {
        let request = DeleteCorrelationRequest { correlation_id: parse_id(id)? };
        let call = |channel, request| async move { client(channel).delete_correlation(request).await };
        let ask = gateway.engines.ask_each_state(&caller, gateway.deadline(), Method::DELETE, request, call);
        union::done(ask.await)?;
        Ok(StatusCode::NO_CONTENT)
    };
    answer("delete", deleted).await
}

/// `GET /api/v1/stats`
pub(crate) async fn stats(
    State(gateway): State<Arc<Gateway>>,
    Extension(caller): Extension<Caller>,
) -> Response {
    let counted = async {
        demand_all_tenants(&caller)?;
        let request = CountCorrelationsRequest {};
        let call = |channel, request| async move { client(channel).count_correlations(request).await };
        let ask = gateway.engines.ask_each_state(&caller, gateway.deadline(), Method::COUNT, request, call);
        let counts: Vec<_> = ask.await.into_iter().collect::<Result<_, Status>>()?;
        let engines = gateway.engines.list().into_iter();
        let engines = engines.map(|Seen { url, pool, ready, state }| Engine { url, pool, ready, state });
        Ok(Json(Stats::new(&counts, engines.collect())))
    };
    answer("stats", counted).await
}

/// A query that is not let in.
pub(crate) fn refused(status: Status) -> Response {
    Problem::from(status).into_response()
}

/// Another method on one of these paths.
pub(crate) fn method_not_allowed(allow: &'static str) -> Response {
    Problem::method_not_allowed(allow).into_response()
}

/// A path under `/api/` that does not exist.
pub(crate) fn not_found(path: &str) -> Response {
    let detail = format!(
        "there is no {path}; there are /api/v1/correlations, /api/v1/events, /api/v1/ledger and /api/v1/stats"
    );
    Problem::new(StatusCode::NOT_FOUND, detail).into_response()
}

async fn answer<Answer: IntoResponse>(
    query: &'static str,
    answering: impl Future<Output = Result<Answer, Problem>>,
) -> Response {
    let response = answering.await.into_response();
    metrics::query_answered(query, response.status().as_u16());
    response
}

fn client(channel: Channel) -> CorrelationServiceClient<Channel> {
    CorrelationServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// Refuses a caller that is confined to a tenant what concerns all of them. It goes to the engine as this
/// gateway's own question, so it is decided here.
fn demand_all_tenants(caller: &Caller) -> Result<(), Problem> {
    if caller.is_confined {
        let detail = "this concerns all tenants, and the credential is confined to one";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(())
}

fn parse_id(id: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    let refused = |rejection: PathRejection| {
        let detail =
            format!("the correlation id in the path is not percent-encoded UTF-8: {}", rejection.body_text());
        Problem::new(StatusCode::BAD_REQUEST, detail)
    };
    id.map(|Path(id)| id).map_err(refused)
}

fn to_text(answer: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(answer).map_err(|error| Problem::internal(error.to_string()))
}

fn to_json(message: Message, protobuf: &[u8]) -> Result<Vec<u8>, Problem> {
    json::from_protobuf(message, protobuf).map_err(invalid)
}

fn to_raw_json(message: Message, protobuf: &[u8]) -> Result<Box<RawValue>, Problem> {
    let text = String::from_utf8(to_json(message, protobuf)?).map_err(invalid)?;
    RawValue::from_string(text).map_err(invalid)
}

fn invalid(error: impl std::fmt::Display) -> Problem {
    Problem::internal(format!("the stored telemetry is not valid OTLP: {error}"))
}
