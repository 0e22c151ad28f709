//! What there is to send of an event: each new span and log record once, and nothing that an earlier
//! generation held.

use std::{collections::HashSet, error::Error};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use foldhash::quality::RandomState;
use otlp_codec::{select_logs, select_traces};
use state_core::{Claim, Event, EventId, Fragment, Identity, Receiver, Signal};
use tracing::warn;

/// An event, ready to be sent.
pub(crate) struct Outgoing {
    pub(crate) id: EventId,
    /// When it was closed.
    pub(crate) closed: DateTime<Utc>,
    /// Who has it already.
    pub(crate) had: Vec<Receiver>,
    traces: Telemetry,
    logs: Telemetry,
}

/// What there is of one signal.
#[derive(Default)]
pub(crate) struct Telemetry {
    /// Encoded `TracesData` or `LogsData`; one behind the other they are their union.
    pub(crate) payloads: Vec<Bytes>,
    pub(crate) bytes: usize,
    /// Spans or log records.
    pub(crate) items: u64,
}

impl Outgoing {
    /// That of a generation that was closed just now.
    pub(crate) fn of_claim(claim: &Claim, closed: DateTime<Utc>) -> Self {
        let Claim { ticket, generation, entry, news, .. } = claim;
        let id = EventId { key: ticket.key.clone(), first_seen: entry.first_seen, generation: *generation };
        let telemetry = |signal, all| new_items(&id, signal, all, news);
        let (traces, logs) = (telemetry(Signal::Traces, &entry.spans), telemetry(Signal::Logs, &entry.logs));
        Self { id, closed, had: Vec::new(), traces, logs }
    }

    /// That of an event from the outbox.
    pub(crate) fn of_event(event: Event) -> Self {
        let Event { id, closed, delivered, entry, news, .. } = event;
        let telemetry = |signal, all| new_items(&id, signal, all, &news);
        let (traces, logs) = (telemetry(Signal::Traces, &entry.spans), telemetry(Signal::Logs, &entry.logs));
        Self { id, closed, had: delivered, traces, logs }
    }

    /// Signals of which there is something to send.
    pub(crate) fn signals(&self) -> impl Iterator<Item = Signal> {
        [Signal::Traces, Signal::Logs].into_iter().filter(|signal| self.telemetry(*signal).items > 0)
    }

    pub(crate) fn telemetry(&self, signal: Signal) -> &Telemetry {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Logs => &self.logs,
        }
    }
}

/// Takes the items whose identities are new out of a generation's news. `all` are the fragments of the
/// correlation with this signal, in order of arrival.
fn new_items(id: &EventId, signal: Signal, all: &[Fragment], news: &[Fragment]) -> Telemetry {
    let mut telemetry = Telemetry::default();
    let news = || news.iter().filter(|fragment| fragment.signal() == signal);
    let count = news().map(|fragment| fragment.identities().len()).sum();
    let mut known = HashSet::<Identity, RandomState>::with_capacity_and_hasher(count, RandomState::default());
    if id.generation > 1 {
        // Before the first news are earlier generations, and what is known from them.
        let first = news().next().and_then(|first| all.iter().position(|one| one.id() == first.id()));
        known.extend(all[..first.unwrap_or_default()].iter().flat_map(Fragment::identities));
    }
    let mut is_new = Vec::new();
    for fragment in news() {
        is_new.clear();
        is_new.extend(fragment.identities().iter().map(|identity| known.insert(*identity)));
        let items = is_new.iter().filter(|is_new| **is_new).count();
        if items > 0 {
            let payload = if items == is_new.len() {
                fragment.payload().clone()
            } else {
                select(id, fragment, &is_new)
            };
            telemetry.bytes += payload.len();
            telemetry.items += items as u64;
            telemetry.payloads.push(payload);
        }
    }
    telemetry
}

/// The items of a fragment at the places that are new.
fn select(id: &EventId, fragment: &Fragment, is_new: &[bool]) -> Bytes {
    let is_wanted = |place: usize| is_new.get(place).copied().unwrap_or_default();
    let selected = match fragment.signal() {
        Signal::Traces => select_traces(fragment.payload(), is_wanted),
        Signal::Logs => select_logs(fragment.payload(), is_wanted),
    };
    selected.map(Bytes::from).unwrap_or_else(|error| {
        // It was not split by an engine: the endpoint may say what is wrong with it.
        let error = &error as &dyn Error;
        warn!(key = %id.key, error, "a fragment cannot be read and is delivered as it is");
        fragment.payload().clone()
    })
}

#[cfg(test)]
mod tests {
    use otlp_proto::opentelemetry::proto::{logs::v1::LogsData, trace::v1::TracesData};
    use prost::Message as _;

    use super::*;
    use crate::sample::{claim, event, logs, traces};

    fn outgoing(fragments: &[Fragment], earlier: usize) -> Outgoing {
        Outgoing::of_claim(&claim(1, fragments, earlier), DateTime::UNIX_EPOCH)
    }

    fn spans_of(outgoing: &Outgoing) -> Vec<u8> {
        let traces = outgoing.telemetry(Signal::Traces);
        let data = TracesData::decode(&traces.payloads.concat()[..]).unwrap();
        let scopes = data.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        let ids: Vec<_> = scopes.flat_map(|scope| scope.spans).map(|span| span.span_id[0]).collect();
        assert_eq!(ids.len() as u64, traces.items);
        ids
    }

    fn logs_of(outgoing: &Outgoing) -> Vec<String> {
        let logs = outgoing.telemetry(Signal::Logs);
        let data = LogsData::decode(&logs.payloads.concat()[..]).unwrap();
        let scopes = data.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        let names: Vec<_> = scopes.flat_map(|scope| scope.log_records).map(|log| log.event_name).collect();
        assert_eq!(names.len() as u64, logs.items);
        names
    }

    #[test]
    fn what_is_all_new_goes_out_without_a_copy() {
        let fragments = [traces(1, &[1, 2]), logs(1, &["a"]), traces(1, &[3])];
        let outgoing = outgoing(&fragments, 0);
        assert_eq!(spans_of(&outgoing), [1, 2, 3]);
        assert_eq!(logs_of(&outgoing), ["a"]);
        let sent = &outgoing.telemetry(Signal::Traces).payloads;
        assert_eq!(sent[0].as_ptr(), fragments[0].payload().as_ptr(), "the payload itself");
        assert_eq!(outgoing.telemetry(Signal::Traces).bytes, sent.iter().map(Bytes::len).sum::<usize>());
    }

    #[test]
    fn what_came_twice_in_other_batches_goes_out_once() {
        let fragments =
            [traces(1, &[1, 2]), traces(1, &[2, 3, 3]), logs(1, &["a", "a"]), logs(1, &["a", "b", "a", "a"])];
        let outgoing = outgoing(&fragments, 0);
        assert_eq!(spans_of(&outgoing), [1, 2, 3]);
        // As many as the batch with most of them.
        assert_eq!(logs_of(&outgoing), ["a", "a", "b", "a"]);
    }

    #[test]
    fn what_an_earlier_generation_held_does_not_go_out_again() {
        let fragments = [
            traces(1, &[1, 2]),
            logs(1, &["a"]),
            traces(1, &[2, 1]),
            traces(1, &[2, 3]),
            logs(1, &["a", "b"]),
            traces(1, &[3, 4]),
        ];
        let outgoing = outgoing(&fragments, 2);
        assert_eq!(spans_of(&outgoing), [3, 4]);
        assert_eq!(logs_of(&outgoing), ["b"]);
    }

    #[test]
    fn an_event_is_read_without_what_came_after_it() {
        let fragments = [traces(1, &[1]), traces(1, &[1, 2]), traces(1, &[3])];
        let first = Outgoing::of_event(event(1, &fragments, 0, 1));
        assert_eq!(spans_of(&first), [1]);
        let second = Outgoing::of_event(event(1, &fragments, 1, 2));
        assert_eq!(spans_of(&second), [2]);
    }

    #[test]
    fn a_claim_and_its_event_are_one_and_the_same() {
        let fragments = [traces(1, &[1]), traces(1, &[1, 2]), logs(1, &["a"])];
        let (claimed, read) = (outgoing(&fragments, 1), Outgoing::of_event(event(1, &fragments, 1, 3)));
        assert_eq!(claimed.id, read.id);
        for signal in [Signal::Traces, Signal::Logs] {
            assert_eq!(claimed.telemetry(signal).payloads, read.telemetry(signal).payloads);
        }
    }
}
