//! Takes apart what came out: which item of which trace each span and log record is.

use loadgen::content::{self, hex};
use otlp_proto::opentelemetry::proto::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::LogsData,
    trace::v1::{Span, TracesData},
};

use crate::{
    book::{Book, Sent},
    disguise::TraceId,
};

/// What marks telemetry that an engine has made itself.
const SYNTHETIC: &str = "correlation.synthetic";
/// Name of the span that an engine adds to a trace that it has linked to another.
const LINK: &str = "correlation.link";

/// One span or log record.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub trace_id: TraceId,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The item of this number of a trace that was sent.
    Item(u32),
    /// Made by an engine.
    Synthetic(Synthetic),
    /// Never sent, or altered; in words.
    Stranger(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synthetic {
    pub span_id: Vec<u8>,
    /// The other trace, where it is a link to one.
    pub linked: Option<Vec<u8>>,
}

/// Takes spans apart.
pub fn traces(book: &Book, mut traces: TracesData) -> Vec<Found> {
    let mut origins = Vec::new();
    let scopes = traces.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
    for span in scopes.flat_map(|scope| &mut scope.spans) {
        let trace_id = trace_id(&span.trace_id);
        let sent = book.get(&trace_id);
        let synthetic = is_synthetic(&span.attributes).then(|| synthetic_span(span));
        if let (Some(sent), None) = (&sent, &synthetic) {
            sent.disguise.take_off_span(span);
        }
        origins.push((trace_id, sent, synthetic));
    }
    let items =
        content::spans(&traces).map(|span| (format!("span {}", hex(&span.identity.span_id)), span.content));
    name(origins, items)
}

/// Takes log records apart.
pub fn logs(book: &Book, mut logs: LogsData) -> Vec<Found> {
    let mut origins = Vec::new();
    let scopes = logs.resource_logs.iter_mut().flat_map(|resource| &mut resource.scope_logs);
    for log in scopes.flat_map(|scope| &mut scope.log_records) {
        let trace_id = trace_id(&log.trace_id);
        let sent = book.get(&trace_id);
        let made = is_synthetic(&log.attributes);
        let synthetic = made.then(|| Synthetic { span_id: log.span_id.clone(), linked: None });
        if let (Some(sent), None) = (&sent, &synthetic) {
            sent.disguise.take_off_log(log);
        }
        origins.push((trace_id, sent, synthetic));
    }
    let items = content::logs(&logs).map(|log| (format!("log {:?}", log.mark.2), log.content));
    name(origins, items)
}

type Origin<'a> = (TraceId, Option<Sent<'a>>, Option<Synthetic>);

fn name(origins: Vec<Origin<'_>>, items: impl Iterator<Item = (String, Vec<u8>)>) -> Vec<Found> {
    let found = origins.into_iter().zip(items).map(|((trace_id, sent, synthetic), (words, content))| {
        let item = || sent.and_then(|sent| sent.trace.item(&content));
        let what = match synthetic {
            Some(synthetic) => What::Synthetic(synthetic),
            None => item().map_or(What::Stranger(words), What::Item),
        };
        Found { trace_id, what }
    });
    found.collect()
}

/// Zeros for what is none.
fn trace_id(bytes: &[u8]) -> TraceId {
    bytes.try_into().unwrap_or_default()
}

fn is_synthetic(attributes: &[KeyValue]) -> bool {
    let is_true = |value: &AnyValue| value.value == Some(Value::BoolValue(true));
    attributes
        .iter()
        .any(|attribute| attribute.key == SYNTHETIC && attribute.value.as_ref().is_some_and(is_true))
}

fn synthetic_span(span: &Span) -> Synthetic {
    let link = span.links.first().filter(|_| span.name == LINK);
    Synthetic { span_id: span.span_id.clone(), linked: link.map(|link| link.trace_id.clone()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use otlp_proto::opentelemetry::proto::trace::v1::span::Link;

    use super::*;
    use crate::{
        disguise::Disguise,
        recording::{Recording, Telemetry},
        sample,
    };

    fn book() -> Book {
        let requests = vec![
            Telemetry::Traces(sample::traces([sample::span(1, 1, 0), sample::span(1, 2, 1)])),
            Telemetry::Logs(sample::logs([sample::log(1, 2, "a", "x")])),
        ];
        let recording = Arc::new(Recording::new(requests).unwrap());
        let mut book = Book::default();
        book.add(&recording, Disguise::of_copy(1, 0));
        book.add(&recording, Disguise::of_copy(1, 1));
        book
    }

    /// As the copy sends it.
    fn sent(book: &Book, copy: usize) -> (TracesData, LogsData) {
        let Some([Telemetry::Traces(traces), Telemetry::Logs(logs)]) =
            book.copies[copy].recording.requests.first_chunk()
        else {
            panic!("spans come first")
        };
        let (mut traces, mut logs) = (traces.clone(), logs.clone());
        book.copies[copy].disguise.put_on_traces(&mut traces);
        book.copies[copy].disguise.put_on_logs(&mut logs);
        (traces, logs)
    }

    #[test]
    fn every_item_is_known_in_every_copy() {
        let book = book();
        for copy in 0..2 {
            let (spans, records) = sent(&book, copy);
            let trace_id = book.copies[copy].disguise.trace_id([1; 16]);
            let found = |item| Found { trace_id, what: What::Item(item) };
            assert_eq!(traces(&book, spans), [found(0), found(1)]);
            assert_eq!(logs(&book, records), [found(2)]);
        }
    }

    #[test]
    fn what_is_altered_or_was_never_sent_is_a_stranger() {
        let book = book();
        let (mut spans, mut records) = sent(&book, 0);
        spans.resource_spans[0].scope_spans[0].spans[0].name = "other".to_owned();
        spans.resource_spans[0].scope_spans[0].spans[1].trace_id = vec![9; 16];
        records.resource_logs[0].scope_logs[0].log_records[0].attributes.clear();
        let found = traces(&book, spans).into_iter().chain(logs(&book, records));
        assert!(found.map(|found| found.what).all(|what| matches!(what, What::Stranger(_))));
    }

    #[test]
    fn what_an_engine_has_made_is_no_stranger() {
        let book = book();
        let (mut spans, _) = sent(&book, 0);
        let trace_id = book.copies[0].disguise.trace_id([1; 16]);
        let bridge = &mut spans.resource_spans[0].scope_spans[0].spans[1];
        bridge.name = LINK.to_owned();
        bridge.attributes = vec![KeyValue {
            key: SYNTHETIC.to_owned(),
            value: Some(AnyValue { value: Some(Value::BoolValue(true)) }),
            ..KeyValue::default()
        }];
        bridge.links = vec![Link { trace_id: vec![7; 16], ..Link::default() }];
        let synthetic = Synthetic { span_id: bridge.span_id.clone(), linked: Some(vec![7; 16]) };
        assert_eq!(traces(&book, spans)[1], Found { trace_id, what: What::Synthetic(synthetic) });
    }
}
