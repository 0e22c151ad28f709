//! What is counted of a correlation: by service, and by parent that is missing.

use std::collections::BTreeMap;

use otlp_codec::forest::{Forest, Parent};
use serde::Serialize;

use super::entry::hex;

/// A span that is not there.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct MissingParent {
    span_id: String,
    /// Spans that name it as their parent.
    children: usize,
}

/// What a service has sent.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ServiceCount {
    service: String,
    spans: usize,
    logs: usize,
    /// Spans with status ERROR and log records of severity ERROR and above.
    errors: usize,
}

/// In the order of their ids.
pub(super) fn missing_parents(forest: &Forest<'_>) -> Vec<MissingParent> {
    let mut children = BTreeMap::<&[u8], usize>::new();
    for node in forest.nodes.iter().filter(|node| node.parent == Parent::Missing) {
        *children.entry(node.span.parent_span_id).or_default() += 1;
    }
    let missing = |(id, children)| MissingParent { span_id: hex(id), children };
    children.into_iter().map(missing).collect()
}

/// In the order of their names.
pub(super) fn by_service(forest: &Forest<'_>) -> Vec<ServiceCount> {
    let mut counts = BTreeMap::<&str, [usize; 3]>::new();
    for span in forest.nodes.iter().map(|node| &node.span) {
        let [spans, _, errors] = counts.entry(&span.service).or_default();
        *spans += 1;
        *errors += usize::from(span.is_error());
    }
    for log in &forest.logs {
        let [_, logs, errors] = counts.entry(&log.service).or_default();
        *logs += 1;
        *errors += usize::from(log.is_error);
    }
    let count = |(service, [spans, logs, errors]): (&str, [usize; 3])| {
        let service = service.to_owned();
        ServiceCount { service, spans, logs, errors }
    };
    counts.into_iter().map(count).collect()
}
