//! One answer out of those of several states, while engines do not all share one.
//!
//! With one state, which is the rule, everything passes through unchanged.

use std::cmp::Ordering;

use chrono::DateTime;
use otlp_codec::{Merged, merge_logs, merge_traces};
use otlp_proto::correlation::v1::{
    CorrelationStatus, CorrelationSummary, GetCorrelationResponse, ListCorrelationsResponse,
};
use prost_types::Timestamp;
use state_core::{Cursor, unite_pages};
use tonic::{Code, Status};

use super::problem::Problem;

/// The answers of the states that know what was asked for.
///
/// # Errors
/// `NOT_FOUND` when all say so; otherwise the first other failure, when none knows it.
pub(super) fn found<Answer>(answers: Vec<Result<Answer, Status>>) -> Result<Vec<Answer>, Status> {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(answer) => found.push(answer),
            Err(failure) => failures.push(failure),
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    // Where one could not be asked, it may be there.
    let decisive = failures.iter().position(|failure| failure.code() != Code::NotFound).unwrap_or_default();
    Err(failures.swap_remove(decisive))
}

/// Whether what was to be done was done by a state, and failed in none that may know of it.
///
/// # Errors
/// Like [`found`], and any failure beside a success: then some of it is left.
pub(super) fn done<Answer>(answers: Vec<Result<Answer, Status>>) -> Result<(), Status> {
    let is_failure = |answer: &Result<Answer, Status>| {
        answer.as_ref().is_err_and(|failure| failure.code() != Code::NotFound)
    };
    let failed = answers.iter().position(is_failure);
    let mut answers = answers;
    match failed {
        Some(index) => answers.swap_remove(index).map(drop),
        None => found(answers).map(drop),
    }
}

/// A page of the list over all states: newest first, at most `limit`.
///
/// A correlation that two states know of is there twice, as each knows it.
///
/// # Errors
/// A state's answer that cannot be put in order.
pub(super) fn of_pages(
    mut pages: Vec<ListCorrelationsResponse>,
    limit: usize,
) -> Result<ListCorrelationsResponse, Problem> {
    if pages.len() == 1 {
        return Ok(pages.remove(0));
    }
    let is_any_stopped = pages.iter().any(|page| page.stopped_early);
    let mut listed = Vec::new();
    for page in pages {
        let next = match page.next_page_token.as_str() {
            "" => None,
            token => Some(Cursor::from_token(token).ok_or_else(out_of_order)?),
        };
        let placed = |summary| Some((place(&summary)?, summary));
        let page: Option<Vec<_>> = page.correlations.into_iter().map(placed).collect();
        listed.push((page.ok_or_else(out_of_order)?, next));
    }
    let (listed, next) = unite_pages(listed, limit, |(place, _)| place.clone());
    Ok(ListCorrelationsResponse {
        stopped_early: is_any_stopped && next.is_some() && listed.len() < limit,
        next_page_token: next.map(|next| next.to_token()).unwrap_or_default(),
        correlations: listed.into_iter().map(|(_, summary)| summary).collect(),
    })
}

fn out_of_order() -> Problem {
    Problem::internal("an engine's list has no order that this gateway knows".to_owned())
}

fn place(summary: &CorrelationSummary) -> Option<Cursor> {
    let Timestamp { seconds, nanos } = summary.last_updated?;
    let last_updated = DateTime::from_timestamp(seconds, u32::try_from(nanos).ok()?)?;
    Some(Cursor { last_updated, correlation_id: Some(summary.correlation_id.parse().ok()?) })
}

/// A correlation as the union of what states know of it.
///
/// # Errors
/// Telemetry that cannot be read.
pub(super) fn of_correlation(
    mut known: Vec<GetCorrelationResponse>,
) -> Result<GetCorrelationResponse, Problem> {
    if known.len() == 1 {
        return Ok(known.remove(0));
    }
    let traces = merge_traces(known.iter().map(|part| &part.traces_data[..])).map_err(super::invalid)?;
    let logs = merge_logs(known.iter().map(|part| &part.logs_data[..])).map_err(super::invalid)?;
    let summaries = known.into_iter().filter_map(|part| part.summary);
    let mut summary = summaries.reduce(join).unwrap_or_default();
    // A summary alone counts what two states have twice; with the telemetry it is known better.
    let recount = |count: &mut u64, merged: &Merged| {
        if merged.items > 0 {
            *count = merged.items;
        }
    };
    recount(&mut summary.spans, &traces);
    recount(&mut summary.logs, &logs);
    summary.conflicts += traces.conflicts;
    Ok(GetCorrelationResponse {
        summary: Some(summary),
        traces_data: traces.payload.into(),
        logs_data: logs.payload.into(),
    })
}

fn join(one: CorrelationSummary, other: CorrelationSummary) -> CorrelationSummary {
    // Who has the root knows the service.
    let (main, other) = if one.root_span_name.is_empty() { (other, one) } else { (one, other) };
    let mut services = [main.services, other.services].concat();
    services.sort_unstable();
    services.dedup();
    let earlier = |one: Option<Timestamp>, other: Option<Timestamp>| pick(one, other, Ordering::Less);
    let later = |one: Option<Timestamp>, other: Option<Timestamp>| pick(one, other, Ordering::Greater);
    CorrelationSummary {
        services,
        first_seen: earlier(main.first_seen, other.first_seen),
        last_updated: later(main.last_updated, other.last_updated),
        first_event: earlier(main.first_event, other.first_event),
        last_event: later(main.last_event, other.last_event),
        spans: main.spans + other.spans,
        logs: main.logs + other.logs,
        errors: main.errors + other.errors,
        bytes: main.bytes + other.bytes,
        metadata: other.metadata.into_iter().chain(main.metadata).collect(),
        conflicts: main.conflicts + other.conflicts,
        // Active somewhere is not closed.
        status: match [main.status, other.status].contains(&CorrelationStatus::Active.into()) {
            true => CorrelationStatus::Active.into(),
            false => main.status.max(other.status),
        },
        ..main
    }
}

/// Of two times the one that the other stands in this order to; of one, that one.
fn pick(one: Option<Timestamp>, other: Option<Timestamp>, order: Ordering) -> Option<Timestamp> {
    let (Some(left), Some(right)) = (one, other) else { return one.or(other) };
    let is_one = (left.seconds, left.nanos).cmp(&(right.seconds, right.nanos)) == order;
    Some(if is_one { left } else { right })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(id: &str, seconds: i64) -> CorrelationSummary {
        let last_updated = Some(Timestamp { seconds, nanos: 0 });
        CorrelationSummary { correlation_id: id.to_owned(), last_updated, ..Default::default() }
    }

    /// A page of a state that knows `all`, newest first, after a token: what an engine does.
    fn page(all: &[CorrelationSummary], size: usize, token: &str) -> ListCorrelationsResponse {
        let after = Cursor::from_token(token);
        let is_after =
            |summary: &&CorrelationSummary| after.as_ref().is_none_or(|it| *it < place(summary).unwrap());
        let mut rest: Vec<_> = all.iter().filter(is_after).cloned().collect();
        let is_last = rest.len() <= size;
        rest.truncate(size);
        let next = rest.last().filter(|_| !is_last).map(|last| place(last).unwrap().to_token());
        let next_page_token = next.unwrap_or_default();
        ListCorrelationsResponse { correlations: rest, next_page_token, stopped_early: false }
    }

    #[test]
    fn pages_over_two_states_list_everything_once_and_in_order() {
        let one: Vec<_> = [9, 8, 7, 3, 1].map(|time| summary(&format!("a={time}"), time)).into();
        let other: Vec<_> = [6, 5, 4, 3, 2].map(|time| summary(&format!("b={time}"), time)).into();
        for (limit, engine_page) in [(1, 1), (2, 2), (3, 3), (3, 1), (100, 100), (100, 2)] {
            let (mut listed, mut token) = (Vec::new(), String::new());
            for _ in 0..30 {
                let pages = vec![page(&one, engine_page, &token), page(&other, engine_page, &token)];
                let united = of_pages(pages, limit).unwrap();
                assert!(united.correlations.len() <= limit);
                listed.extend(united.correlations.into_iter().map(|it| it.correlation_id));
                token = united.next_page_token;
                if token.is_empty() {
                    break;
                }
            }
            let expected = ["a=9", "a=8", "a=7", "b=6", "b=5", "b=4", "a=3", "b=3", "b=2", "a=1"];
            assert_eq!(listed, expected, "{limit} {engine_page}");
        }
    }

    #[test]
    fn a_page_is_stopped_early_when_that_of_a_state_cuts_it() {
        let one: Vec<_> = [9, 3, 1].map(|time| summary(&format!("a={time}"), time)).into();
        let other: Vec<_> = [8, 7].map(|time| summary(&format!("b={time}"), time)).into();
        let stopped = |page| ListCorrelationsResponse { stopped_early: true, ..page };
        for (limit, stopped_early) in [
            // The others fill the page before it matters where the first has stopped.
            (3, false),
            (5, true),
        ] {
            let pages = vec![stopped(page(&one, 2, "")), page(&other, limit, "")];
            assert_eq!(of_pages(pages, limit).unwrap().stopped_early, stopped_early, "{limit}");
        }
        assert!(!of_pages(vec![page(&one, 5, ""), page(&other, 5, "")], 5).unwrap().stopped_early);
        assert!(of_pages(vec![stopped(page(&one, 1, ""))], 2).unwrap().stopped_early, "with one state too");
    }

    #[test]
    fn a_correlation_of_two_states_is_their_union() {
        let part = |root: &str, service: &str, seconds| GetCorrelationResponse {
            summary: Some(CorrelationSummary {
                root_span_name: root.to_owned(),
                service: service.to_owned(),
                services: vec![service.to_owned()],
                first_seen: Some(Timestamp { seconds, nanos: 0 }),
                spans: 2,
                ..summary("a=1", seconds)
            }),
            ..Default::default()
        };
        let united = of_correlation(vec![part("", "b", 5), part("GET /", "a", 7)]).unwrap();
        let summary = united.summary.unwrap();
        assert_eq!((summary.service.as_str(), summary.root_span_name.as_str()), ("a", "GET /"));
        assert_eq!(summary.services, ["a", "b"]);
        assert_eq!((summary.first_seen.unwrap().seconds, summary.last_updated.unwrap().seconds), (5, 7));
        assert_eq!(summary.spans, 4);
    }

    #[test]
    fn what_one_state_knows_is_found_and_what_could_not_be_asked_may_be_there() {
        let gone = || Err(Status::not_found("gone"));
        let down = || Err(Status::unavailable("down"));
        assert_eq!(found(vec![gone(), Ok(1), down()]).unwrap(), [1]);
        assert_eq!(found::<u8>(vec![gone(), down()]).unwrap_err().code(), Code::Unavailable);
        assert_eq!(found::<u8>(vec![gone(), gone()]).unwrap_err().code(), Code::NotFound);
        assert!(done(vec![gone(), Ok(1)]).is_ok());
        assert_eq!(done(vec![Ok(1), down()]).unwrap_err().code(), Code::Unavailable);
        assert_eq!(done::<u8>(vec![gone(), gone()]).unwrap_err().code(), Code::NotFound);
    }
}
