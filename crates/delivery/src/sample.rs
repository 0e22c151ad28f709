//! Small correlations for tests.

use otlp_codec::{Part, SplitOptions, split_logs, split_traces};
use otlp_proto::opentelemetry::proto::{
    logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs},
    trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData},
};
use prost::Message as _;
use state_core::{
    Claim, CorrelationEntry, CorrelationId, CorrelationKey, Event, EventId, Facts, Fragment, Overrides,
    Signal, Ticket, TraceId, news,
};

/// Spans of a trace, by their ids.
pub(crate) fn traces(trace: u8, ids: &[u8]) -> Fragment {
    let span = |&id: &u8| Span { trace_id: vec![trace; 16], span_id: vec![id; 8], ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: ids.iter().map(span).collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let request = TracesData { resource_spans }.encode_to_vec();
    fragment(Signal::Traces, split_traces(&request, &SplitOptions::default()).unwrap().parts)
}

/// Log records of a trace, by their names.
pub(crate) fn logs(trace: u8, names: &[&str]) -> Fragment {
    let record = |name: &&str| LogRecord {
        trace_id: vec![trace; 16],
        event_name: (*name).to_owned(),
        ..LogRecord::default()
    };
    let scope_logs =
        vec![ScopeLogs { log_records: names.iter().map(record).collect(), ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let request = LogsData { resource_logs }.encode_to_vec();
    fragment(Signal::Logs, split_logs(&request, &SplitOptions::default()).unwrap().parts)
}

fn fragment(signal: Signal, parts: Vec<Part>) -> Fragment {
    let [part] = <[Part; 1]>::try_from(parts).unwrap();
    Fragment::new(signal, part.payload.into(), part.identities, Facts::default())
}

fn entry(trace: u8, fragments: &[Fragment]) -> CorrelationEntry {
    let id = CorrelationId::trace(TraceId::new([trace; 16]).unwrap());
    let now = chrono::Utc::now();
    let first_seen = chrono::DateTime::UNIX_EPOCH;
    CorrelationEntry::fold(id, first_seen, now, fragments.to_vec(), Overrides::default())
}

fn key(entry: &CorrelationEntry) -> CorrelationKey {
    CorrelationKey { tenant: Default::default(), id: entry.correlation_id.clone() }
}

/// The claim on fragments of which earlier generations held some.
pub(crate) fn claim(trace: u8, fragments: &[Fragment], earlier: usize) -> Claim {
    let entry = entry(trace, fragments);
    Claim {
        ticket: Ticket { key: key(&entry), fence: 1, version: fragments.len() as u64 },
        generation: if earlier == 0 { 1 } else { 2 },
        opened: entry.first_seen,
        quiet: Default::default(),
        is_full: false,
        news: news(fragments.to_vec(), earlier),
        entry,
    }
}

/// The event of the generation from one number of fragments to another.
pub(crate) fn event(trace: u8, fragments: &[Fragment], from: usize, to: usize) -> Event {
    let entry = entry(trace, fragments);
    let generation = if from == 0 { 1 } else { 2 };
    Event {
        id: EventId { key: key(&entry), first_seen: entry.first_seen, generation },
        closed: chrono::Utc::now(),
        note: String::new(),
        delivered: Vec::new(),
        news: news(fragments[..to].to_vec(), from),
        entry,
    }
}
