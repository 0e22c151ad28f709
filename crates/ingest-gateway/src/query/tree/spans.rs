//! The spans of an answer, each under its parent.

use std::{ops::Not, sync::Arc};

use otlp_codec::forest::{Forest, Link, Node, Parent, Step};
use serde::Serialize;

use super::{
    budget::Budget,
    entry::{ENTRY_BYTES, MarksView, hex, rfc_3339},
};

/// Levels of the tree. Readers of JSON commonly stop at 128 levels of objects and lists, and a level
/// of the tree is two.
pub(super) const LEVELS_MAX: usize = 60;

/// Spans under their parents.
pub(super) struct SpanTree {
    pub(super) roots: Vec<SpanView>,
    /// How many spans are in it.
    pub(super) spans: usize,
    /// How many of them stand beside their parent, which is on the last level.
    pub(super) raised: usize,
}

/// A span and those under it.
#[derive(Debug, Serialize)]
pub(super) struct SpanView {
    span_id: String,
    /// Empty when it names none.
    parent_span_id: String,
    name: String,
    /// `internal`, `server`, `client`, `producer` or `consumer`; empty when it says none.
    kind: &'static str,
    service: Arc<str>,
    start: Option<String>,
    duration_ms: f64,
    /// `unset`, `ok` or `error`.
    status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    status_message: String,
    error: bool,
    /// Its parent is not there.
    #[serde(skip_serializing_if = "Not::not")]
    parent_missing: bool,
    #[serde(flatten)]
    marks: MarksView,
    /// The first of its links.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<LinkView>,
    /// How many links it has beyond these.
    #[serde(skip_serializing_if = "is_zero")]
    links_left_out: usize,
    /// In the order of their starts.
    children: Vec<SpanView>,
}

/// A link to another span.
#[derive(Debug, Serialize)]
struct LinkView {
    trace_id: String,
    span_id: String,
    #[serde(flatten)]
    marks: MarksView,
}

impl SpanTree {
    /// Takes spans as the forest is walked through, as many as there is room for.
    pub(super) fn of(forest: &Forest<'_>, budget: &mut Budget) -> Self {
        let mut tree = Self { roots: Vec::new(), spans: 0, raised: 0 };
        // The span at hand, and those it stands under, from the root on.
        let mut open = Vec::<SpanView>::new();
        for Step { index, level, .. } in forest.walk() {
            let view = SpanView::of(&forest.nodes[index]);
            if !budget.take(view.bytes()) {
                break;
            }
            tree.spans += 1;
            tree.raised += usize::from(level >= LEVELS_MAX);
            tree.close(&mut open, level.min(LEVELS_MAX - 1));
            open.push(view);
        }
        tree.close(&mut open, 0);
        tree
    }

    /// Puts open spans under their parents until the next one may stand on `level`.
    fn close(&mut self, open: &mut Vec<SpanView>, level: usize) {
        while open.len() > level
            && let Some(done) = open.pop()
        {
            let siblings = open.last_mut().map_or(&mut self.roots, |above| &mut above.children);
            siblings.push(done);
        }
    }
}

impl SpanView {
    fn of(node: &Node<'_>) -> Self {
        let span = &node.span;
        Self {
            span_id: hex(span.span_id),
            parent_span_id: if span.is_root() { String::new() } else { hex(span.parent_span_id) },
            name: span.name.clone(),
            kind: span.kind_name(),
            service: Arc::clone(&span.service),
            start: rfc_3339(span.start_unix_nano),
            duration_ms: (span.end_unix_nano - span.start_unix_nano) as f64 / 1e6,
            status: span.status_name(),
            status_message: span.status_message.clone(),
            error: span.is_error(),
            parent_missing: node.parent == Parent::Missing,
            marks: MarksView::of(&span.marks),
            links: span.links.iter().map(LinkView::of).collect(),
            links_left_out: span.links_total - span.links.len(),
            children: Vec::new(),
        }
    }

    fn bytes(&self) -> usize {
        let texts = [&self.name, &*self.service, &self.status_message].map(str::len);
        let links = self.links.iter().map(|link| ENTRY_BYTES + link.marks.bytes());
        ENTRY_BYTES + texts.iter().sum::<usize>() + self.marks.bytes() + links.sum::<usize>()
    }
}

impl LinkView {
    fn of(link: &Link<'_>) -> Self {
        let marks = MarksView::of(&link.marks);
        Self { trace_id: hex(link.trace_id), span_id: hex(link.span_id), marks }
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}
