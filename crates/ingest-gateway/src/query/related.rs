//! `GET /api/v1/correlations/{id}/related`: what is linked with a correlation, over any number of links.

use std::sync::Arc;

use access::Caller;
use axum::{
    Extension, Json,
    extract::{Path, State, rejection::PathRejection},
    http::Uri,
    response::Response,
};
use otlp_proto::correlation::v1::{ListRelatedResponse, RelatedCorrelation, RelatedDirection};
use serde::Serialize;

use super::{Parameters, answer, client, parse_id, union, view::Summary};
use crate::{engines::Method, server::Gateway};

/// `depth` and `limit` bound the answer.
pub(crate) async fn related(
    State(gateway): State<Arc<Gateway>>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Response {
    let listed = async {
        let correlation_id = parse_id(id)?;
        let request = Parameters::parse(&uri)?.into_related(correlation_id.clone())?;
        let limit = request.limit as usize;
        let call = |channel, request| async move { client(channel).list_related(request).await };
        let ask =
            gateway.engines.ask_each_state(&caller, gateway.deadline(), Method::LIST_RELATED, request, call);
        let found = of_states(union::found(ask.await)?, limit);
        Ok(Json(Listing {
            correlation_id,
            related: found.related.into_iter().map(Related::from).collect(),
            truncated: found.truncated,
        }))
    };
    answer("related", listed).await
}

/// What several states know, each correlation once: each walks only the links that it holds.
fn of_states(answers: Vec<ListRelatedResponse>, limit: usize) -> ListRelatedResponse {
    let mut united = ListRelatedResponse::default();
    for answer in answers {
        united.truncated |= answer.truncated;
        for related in answer.related {
            match united.related.iter_mut().find(|known| id(known) == id(&related)) {
                None => united.related.push(related),
                // Who has it knows more of it.
                Some(known) if known.summary.is_none() && related.summary.is_some() => *known = related,
                Some(_) => {}
            }
        }
    }
    united.related.sort_by_key(|related| related.depth);
    if limit > 0 && united.related.len() > limit {
        united.related.truncate(limit);
        united.truncated = true;
    }
    united
}

/// Which of the two correlations of a link is the one that is listed.
fn id(related: &RelatedCorrelation) -> &str {
    match related.direction() {
        RelatedDirection::Down => &related.to,
        RelatedDirection::Up | RelatedDirection::Unspecified => &related.from,
    }
}

#[derive(Debug, Serialize)]
struct Listing {
    correlation_id: String,
    related: Vec<Related>,
    /// There is more than was asked for.
    truncated: bool,
}

/// A `RelatedCorrelation`: its fields under their own names.
#[derive(Debug, Serialize)]
struct Related {
    correlation_id: String,
    depth: u32,
    /// `up` when it led to the other one, `down` when the other one led to it.
    direction: &'static str,
    from: String,
    to: String,
    confidence: f64,
    keys: Vec<String>,
    synthetic: bool,
    /// `null` when it is not stored.
    summary: Option<Summary>,
}

impl From<RelatedCorrelation> for Related {
    fn from(related: RelatedCorrelation) -> Self {
        let direction = match related.direction() {
            RelatedDirection::Unspecified => "",
            RelatedDirection::Up => "up",
            RelatedDirection::Down => "down",
        };
        Self {
            correlation_id: id(&related).to_owned(),
            depth: related.depth,
            direction,
            from: related.from,
            to: related.to,
            confidence: related.confidence,
            keys: related.keys,
            synthetic: related.synthetic,
            summary: related.summary.map(Summary::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use otlp_proto::correlation::v1::CorrelationSummary;

    use super::*;

    fn related(from: &str, to: &str, depth: u32, is_stored: bool) -> RelatedCorrelation {
        RelatedCorrelation {
            depth,
            direction: RelatedDirection::Up.into(),
            from: from.to_owned(),
            to: to.to_owned(),
            summary: is_stored.then(CorrelationSummary::default),
            ..RelatedCorrelation::default()
        }
    }

    fn answer(related: &[RelatedCorrelation], truncated: bool) -> ListRelatedResponse {
        ListRelatedResponse { related: related.to_vec(), truncated }
    }

    #[test]
    fn what_two_states_know_is_listed_once_by_the_one_that_has_it_nearest_first() {
        let one = answer(&[related("b", "a", 1, false), related("d", "a", 2, true)], false);
        let other = answer(&[related("b", "a", 1, true), related("c", "a", 1, true)], true);
        let expected = [related("b", "a", 1, true), related("c", "a", 1, true), related("d", "a", 2, true)];
        assert_eq!(of_states(vec![one.clone(), other.clone()], 0), answer(&expected, true));
        assert_eq!(of_states(vec![one, other], 2).related, expected[..2]);
    }
}
