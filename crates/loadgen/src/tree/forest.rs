//! Who is whose parent, and which log was written during which span.

use std::collections::{BTreeMap, BTreeSet};

use otlp_proto::opentelemetry::proto::{
    logs::v1::{LogRecord, LogsData},
    resource::v1::Resource,
    trace::v1::{Span, TracesData, span::SpanKind},
};

use crate::content::text;

/// Spans and logs of a correlation where they belong, all in the order of time.
pub(super) struct Forest<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    /// Those whose span is not here.
    pub(super) stray_logs: Vec<Log<'a>>,
    /// Earliest time in nanoseconds since 1970.
    pub(super) start: u64,
    /// Latest time in nanoseconds since 1970.
    pub(super) end: u64,
}

pub(super) struct Node<'a> {
    pub(super) service: String,
    pub(super) span: &'a Span,
    pub(super) parent: Option<usize>,
    pub(super) children: Vec<usize>,
    pub(super) logs: Vec<Log<'a>>,
}

pub(super) struct Log<'a> {
    pub(super) service: String,
    pub(super) record: &'a LogRecord,
}

/// Indices of the spans with an id; more than one when client and server share it.
type ById<'a> = BTreeMap<&'a [u8], Vec<usize>>;

impl<'a> Forest<'a> {
    pub(super) fn grow(traces: &'a TracesData, logs: &'a LogsData) -> Self {
        let (mut nodes, logs) = (nodes(traces), records(logs));
        let starts = nodes.iter().map(|node| node.span.start_time_unix_nano);
        let ends = nodes.iter().map(|node| node.span.end_time_unix_nano);
        let times = logs.iter().map(|log| time(log.record));
        let start = starts.chain(times.clone()).filter(|time| *time > 0).min().unwrap_or(0);
        let end = ends.chain(times).max().unwrap_or(0);

        let mut by_id = ById::new();
        for (index, node) in nodes.iter().enumerate() {
            by_id.entry(&node.span.span_id).or_default().push(index);
        }
        for index in 0..nodes.len() {
            let parent = parent(&nodes, &by_id, index);
            nodes[index].parent = parent;
            if let Some(parent) = parent {
                nodes[parent].children.push(index);
            }
        }
        let mut stray_logs = Vec::new();
        for log in logs {
            let span = by_id.get(log.record.span_id.as_slice()).and_then(|spans| spans.last());
            match span {
                Some(span) => nodes[*span].logs.push(log),
                None => stray_logs.push(log),
            }
        }
        Self { nodes, stray_logs, start, end }
    }

    /// Every span whose parent is not here, and one of every circle of parents.
    pub(super) fn roots(&self) -> Vec<usize> {
        let parentless = (0..self.nodes.len()).filter(|index| self.nodes[*index].parent.is_none());
        let mut roots: Vec<usize> = parentless.collect();
        let mut reached = BTreeSet::new();
        for root in &roots {
            self.reach(*root, &mut reached);
        }
        for index in 0..self.nodes.len() {
            if !reached.contains(&index) {
                roots.push(index);
                self.reach(index, &mut reached);
            }
        }
        roots
    }

    fn reach(&self, from: usize, reached: &mut BTreeSet<usize>) {
        let mut open = vec![from];
        while let Some(index) = open.pop() {
            if reached.insert(index) {
                open.extend(&self.nodes[index].children);
            }
        }
    }
}

/// When a record was written, or else when it was observed: in OTLP a time of 0 is unknown.
pub(super) fn time(record: &LogRecord) -> u64 {
    match record.time_unix_nano {
        0 => record.observed_time_unix_nano,
        time => time,
    }
}

fn nodes(traces: &TracesData) -> Vec<Node<'_>> {
    let mut nodes = Vec::new();
    for resource_spans in &traces.resource_spans {
        let service = service_name(resource_spans.resource.as_ref());
        for span in resource_spans.scope_spans.iter().flat_map(|scope| &scope.spans) {
            let service = service.clone();
            nodes.push(Node { service, span, parent: None, children: Vec::new(), logs: Vec::new() });
        }
    }
    // Of two spans that start at once the client's is the one that called.
    nodes.sort_by_key(|node| (node.span.start_time_unix_nano, node.span.kind() != SpanKind::Client));
    nodes
}

fn records(logs: &LogsData) -> Vec<Log<'_>> {
    let mut records = Vec::new();
    for resource_logs in &logs.resource_logs {
        let service = service_name(resource_logs.resource.as_ref());
        for record in resource_logs.scope_logs.iter().flat_map(|scope| &scope.log_records) {
            records.push(Log { service: service.clone(), record });
        }
    }
    records.sort_by_key(|log| time(log.record));
    records
}

fn parent(nodes: &[Node<'_>], by_id: &ById<'_>, index: usize) -> Option<usize> {
    let span = nodes[index].span;
    let is_kind = |other: &usize, kind| nodes[*other].span.kind() == kind;
    let same_id = by_id.get(span.span_id.as_slice())?;
    // The two sides of a call may share an id: the server's side stands under the client's.
    if span.kind() == SpanKind::Server
        && let Some(client) = same_id.iter().find(|other| is_kind(other, SpanKind::Client))
    {
        return Some(*client);
    }
    let candidates = by_id.get(span.parent_span_id.as_slice())?;
    let others = || candidates.iter().filter(|other| **other != index);
    // Of the two sides of a call the server's is the one that goes on.
    others().find(|other| is_kind(other, SpanKind::Server)).or_else(|| others().next()).copied()
}

fn service_name(resource: Option<&Resource>) -> String {
    let attributes = resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default();
    let name = attributes.iter().find(|attribute| attribute.key == "service.name");
    name.map_or_else(|| "unknown".to_owned(), |name| text(name.value.as_ref()))
}
