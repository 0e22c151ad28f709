//! What is sent, once: the requests, and the items that must come out, by trace.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::Path,
};

use anyhow::{Context as _, bail, ensure};
use loadgen::{
    content::{self, LogItem, SpanItem, hex},
    dataset::{Dataset, StatedTrace},
    request::{Request, Signal},
};
use otlp_proto::opentelemetry::proto::{
    logs::v1::LogsData,
    trace::v1::{Span, TracesData},
};
use prost::Message as _;
use xxhash_rust::xxh3::xxh3_128;

use crate::disguise::{self, Disguise, TraceId};

/// Requests and what must come out of them.
#[derive(Debug, Default)]
pub struct Recording {
    pub requests: Vec<Telemetry>,
    pub traces: Vec<RecordedTrace>,
    /// Which traces carry a correlation key, by name and value.
    pub keys: BTreeMap<(String, String), BTreeSet<usize>>,
    by_id: HashMap<TraceId, usize>,
}

/// The content of a request.
#[derive(Debug, Clone)]
pub enum Telemetry {
    Traces(TracesData),
    Logs(LogsData),
}

/// One trace of it.
#[derive(Debug)]
pub struct RecordedTrace {
    pub id: TraceId,
    /// A number of an item is its place here.
    pub items: Vec<Item>,
    /// Of a span that was recorded with several contents any may be kept.
    by_content: HashMap<u128, u32>,
    by_span: HashMap<content::SpanIdentity, u32>,
}

/// A span or log record.
#[derive(Debug)]
pub struct Item {
    pub signal: Signal,
    /// What `expected.json` tells items apart by: of a span its id, of a record its time, span id and body.
    pub mark: u128,
    /// Of the span, or that the record belongs to.
    pub span_id: Vec<u8>,
    /// Of a span; empty for a root.
    pub parent: Vec<u8>,
    /// Places of the requests that hold it.
    pub requests: Vec<usize>,
}

impl Recording {
    /// Reads a directory as `loadgen replay` takes it.
    ///
    /// # Errors
    /// When it cannot be read, contradicts its `expected.json`, or holds what cannot be told apart.
    pub fn read(directory: &Path) -> anyhow::Result<Self> {
        let dataset = Dataset::read(directory)?;
        let requests = dataset.requests.iter().map(Telemetry::decode);
        let recording = Self::new(requests.collect::<anyhow::Result<_>>()?)?;
        if let Some(stated) = &dataset.stated {
            recording.compare(stated).context("expected.json is not about these requests")?;
        }
        Ok(recording)
    }

    /// # Errors
    /// When an item has no trace, or equal log records in one request make two items of one content.
    pub fn new(requests: Vec<Telemetry>) -> anyhow::Result<Self> {
        let mut recording = Self::default();
        for (place, request) in requests.iter().enumerate() {
            match request {
                Telemetry::Traces(traces) => recording.add_traces(place, traces)?,
                Telemetry::Logs(logs) => recording.add_logs(place, logs)?,
            }
        }
        Ok(Self { requests, ..recording })
    }

    /// Items over all requests, those that occur twice included.
    pub fn rows(&self) -> usize {
        self.requests.iter().map(Telemetry::rows).sum()
    }

    fn add_traces(&mut self, request: usize, traces: &TracesData) -> anyhow::Result<()> {
        let scopes = traces.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let spans = scopes.flat_map(|scope| &scope.spans);
        for (span, item) in spans.zip(content::spans(traces)) {
            let index = self.trace(&span.trace_id)?;
            self.traces[index].add_span(request, item, span.parent_span_id.clone());
            self.add_keys(index, disguise::keys(&span.attributes));
        }
        Ok(())
    }

    fn add_logs(&mut self, request: usize, logs: &LogsData) -> anyhow::Result<()> {
        let scopes = logs.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
        let records = scopes.flat_map(|scope| &scope.log_records);
        let mut here = HashSet::new();
        for (record, item) in records.zip(content::logs(logs)) {
            let index = self.trace(&record.trace_id)?;
            let content = xxh3_128(&item.content);
            ensure!(here.insert((index, content)), "a request holds two equal log records");
            self.traces[index].add_log(request, item, content);
            self.add_keys(index, disguise::keys(&record.attributes));
        }
        Ok(())
    }

    fn trace(&mut self, id: &[u8]) -> anyhow::Result<usize> {
        let Ok(id) = TraceId::try_from(id) else { bail!("something belongs to no trace") };
        Ok(*self.by_id.entry(id).or_insert_with(|| {
            self.traces.push(RecordedTrace::new(id));
            self.traces.len() - 1
        }))
    }

    fn add_keys(&mut self, trace: usize, keys: impl Iterator<Item = (String, String)>) {
        for key in keys {
            self.keys.entry(key).or_default().insert(trace);
        }
    }

    fn compare(&self, stated: &BTreeMap<String, StatedTrace>) -> anyhow::Result<()> {
        ensure!(stated.len() == self.traces.len(), "it names {} traces", stated.len());
        for trace in &self.traces {
            let id = hex(&trace.id);
            let stated = stated.get(&id).with_context(|| format!("it does not name trace {id}"))?;
            let all = 0..trace.items.len() as u32;
            let here = (trace.distinct(Signal::Traces, all.clone()), trace.distinct(Signal::Logs, all));
            ensure!(
                here == (stated.spans, stated.logs),
                "trace {id} has {} spans and {} logs, and {} and {} are expected",
                here.0,
                here.1,
                stated.spans,
                stated.logs
            );
        }
        Ok(())
    }
}

impl Telemetry {
    pub fn decode(request: &Request) -> anyhow::Result<Self> {
        Ok(match request.signal {
            Signal::Traces => Self::Traces(TracesData::decode(request.protobuf())?),
            Signal::Logs => Self::Logs(LogsData::decode(request.protobuf())?),
        })
    }

    /// The request of a copy.
    pub fn disguised(&self, disguise: &Disguise) -> Request {
        match self.clone() {
            Self::Traces(mut traces) => {
                disguise.put_on_traces(&mut traces);
                Request::traces(&traces)
            }
            Self::Logs(mut logs) => {
                disguise.put_on_logs(&mut logs);
                Request::logs(&logs)
            }
        }
    }

    /// The same, and in its first trace a span that belongs to no recording.
    pub fn with_a_span_more(&self) -> Self {
        let mut changed = self.clone();
        if let Self::Traces(traces) = &mut changed {
            let scopes = traces.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
            if let Some(spans) = scopes.map(|scope| &mut scope.spans).find(|spans| !spans.is_empty()) {
                let more = Span { span_id: vec![0xee; 8], ..spans[0].clone() };
                spans.push(more);
            }
        }
        changed
    }

    /// How many traces it holds something of.
    pub fn traces(&self) -> usize {
        let ids: HashSet<&[u8]> = match self {
            Self::Traces(traces) => {
                let scopes = traces.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
                scopes.flat_map(|scope| &scope.spans).map(|span| &span.trace_id[..]).collect()
            }
            Self::Logs(logs) => {
                let scopes = logs.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
                scopes.flat_map(|scope| &scope.log_records).map(|record| &record.trace_id[..]).collect()
            }
        };
        ids.len()
    }

    fn rows(&self) -> usize {
        match self {
            Self::Traces(traces) => {
                let scopes = traces.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
                scopes.map(|scope| scope.spans.len()).sum()
            }
            Self::Logs(logs) => {
                let scopes = logs.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
                scopes.map(|scope| scope.log_records.len()).sum()
            }
        }
    }
}

impl RecordedTrace {
    fn new(id: TraceId) -> Self {
        Self { id, items: Vec::new(), by_content: HashMap::new(), by_span: HashMap::new() }
    }

    fn add_span(&mut self, request: usize, span: SpanItem, parent: Vec<u8>) {
        let new = self.items.len() as u32;
        let span_id = span.identity.span_id.clone();
        let number = *self.by_span.entry(span.identity).or_insert(new);
        self.by_content.insert(xxh3_128(&span.content), number);
        if number == new {
            let mark = xxh3_128(&span_id);
            self.items.push(Item { signal: Signal::Traces, mark, span_id, parent, requests: Vec::new() });
        }
        self.items[number as usize].requests.push(request);
    }

    fn add_log(&mut self, request: usize, log: LogItem, content: u128) {
        let new = self.items.len() as u32;
        let number = *self.by_content.entry(content).or_insert(new);
        if number == new {
            let (time, span_id, body) = log.mark;
            let mark = xxh3_128(&[&time.to_le_bytes(), &span_id[..], body.as_bytes()].concat());
            let parent = Vec::new();
            self.items.push(Item { signal: Signal::Logs, mark, span_id, parent, requests: Vec::new() });
        }
        self.items[number as usize].requests.push(request);
    }

    /// The number of the item with this content.
    pub fn item(&self, content: &[u8]) -> Option<u32> {
        self.by_content.get(&xxh3_128(content)).copied()
    }

    /// How many items of a signal there are by the measure of `expected.json`.
    pub fn distinct(&self, signal: Signal, items: impl IntoIterator<Item = u32>) -> usize {
        let items = items.into_iter().map(|number| &self.items[number as usize]);
        items.filter(|item| item.signal == signal).map(|item| item.mark).collect::<HashSet<_>>().len()
    }

    /// Whether a root and every parent are among the spans of these items.
    pub fn is_whole(&self, items: &BTreeSet<u32>) -> bool {
        let spans = || {
            let items = items.iter().map(|number| &self.items[*number as usize]);
            items.filter(|item| item.signal == Signal::Traces)
        };
        let ids: HashSet<&[u8]> = spans().map(|span| &span.span_id[..]).collect();
        let is_there = |span: &Item| span.parent.is_empty() || ids.contains(&span.parent[..]);
        spans().any(|span| span.parent.is_empty()) && spans().all(is_there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn recording() -> Recording {
        let traces = sample::traces([sample::span(1, 1, 0), sample::span(1, 2, 1), sample::span(2, 1, 0)]);
        let again = sample::traces([sample::span(1, 2, 1)]);
        let logs = sample::logs([sample::log(1, 2, "a", "x"), sample::log(1, 2, "b", "x")]);
        Recording::new(vec![Telemetry::Traces(traces), Telemetry::Traces(again), Telemetry::Logs(logs)])
            .unwrap()
    }

    #[test]
    fn what_comes_twice_is_one_item() {
        let recording = recording();
        assert_eq!((recording.rows(), recording.traces.len()), (6, 2));
        assert_eq!(recording.requests.iter().map(Telemetry::traces).collect::<Vec<_>>(), [2, 1, 1]);
        let trace = &recording.traces[0];
        assert_eq!(trace.items.len(), 4);
        assert_eq!((trace.distinct(Signal::Traces, 0..4), trace.distinct(Signal::Logs, 0..4)), (2, 2));
        let keys: Vec<_> = recording.keys.into_iter().collect();
        assert_eq!(keys, [(("order.id".to_owned(), "x".to_owned()), BTreeSet::from([0]))]);
    }

    #[test]
    fn other_numbers_than_the_stated_ones_are_an_error() {
        let stated = |spans| {
            let id = |number: u8| hex(&[number; 16]);
            let one = StatedTrace { spans, logs: 2 };
            BTreeMap::from([(id(1), one), (id(2), StatedTrace { spans: 1, logs: 0 })])
        };
        assert!(recording().compare(&stated(2)).is_ok());
        assert!(recording().compare(&stated(3)).is_err());
    }

    #[test]
    fn a_trace_is_whole_with_its_root_and_all_parents() {
        let trace = &recording().traces[0];
        assert!(trace.is_whole(&BTreeSet::from([0, 1])));
        assert!(trace.is_whole(&BTreeSet::from([0])));
        assert!(!trace.is_whole(&BTreeSet::from([1])), "the root is missing");
    }

    #[test]
    fn equal_records_of_one_request_cannot_be_told_apart() {
        let log = sample::log(1, 2, "a", "x");
        assert!(Recording::new(vec![Telemetry::Logs(sample::logs([log.clone(), log]))]).is_err());
    }
}
