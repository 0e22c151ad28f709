//! What of a trace a link to another trace needs: the span it hangs on, and the traces that are linked already.

use std::collections::{BTreeSet, HashSet};

use crate::{
    envelope::TRACES,
    seeded::Seed,
    span::{last_id, valid_id},
    wire::{DecodeError, Reader, Slice},
};

/// The top of a trace, and the other traces that its spans name in links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// The span that everything else is below of; `None` when there is no span with an id.
    pub top: Option<Top>,
    /// Trace ids in the links of its spans.
    pub linked: BTreeSet<[u8; 16]>,
}

/// The span that begins a trace, as far as it has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Top {
    /// Its id.
    pub span_id: [u8; 8],
    /// When it began; zero when it carries no time.
    pub start_unix_nano: u64,
}

impl Outline {
    /// Reads encoded `TracesData` messages: the spans of one trace, whole or in parts, in any order.
    ///
    /// The top is a span without a parent, else one whose parent is missing, else any; of several the one that
    /// began first, then the one with the lowest id.
    ///
    /// # Errors
    /// When a message, or a field that is read, is malformed.
    pub fn read<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, DecodeError> {
        let (mut outline, mut spans) = (Self::default(), Vec::new());
        for payload in payloads {
            for resource in TRACES.resources(payload) {
                for scope in TRACES.open_resource(resource?)?.children {
                    for span in TRACES.open_scope(scope?)?.children {
                        spans.extend(read_span(span?, &mut outline.linked)?);
                    }
                }
            }
        }
        let known: HashSet<_, Seed> = spans.iter().map(|span| span.top.span_id).collect();
        let order = |span: &Node| {
            let is_below = span.parent.map(|parent| known.contains(&parent));
            let Top { span_id, start_unix_nano } = span.top;
            (is_below, start_unix_nano == 0, start_unix_nano, span_id)
        };
        outline.top = spans.iter().min_by_key(|span| order(span)).map(|span| span.top);
        Ok(outline)
    }
}

struct Node {
    top: Top,
    parent: Option<[u8; 8]>,
}

/// Reads a span; `None` when it has no id.
fn read_span(slice: Slice<'_>, linked: &mut BTreeSet<[u8; 16]>) -> Result<Option<Node>, DecodeError> {
    let (mut id, mut parent, mut start_unix_nano) = (&[][..], &[][..], 0);
    let mut reader = Reader::new("Span", slice);
    while let Some(field) = reader.field()? {
        match field.number {
            2 => id = field.bytes()?.bytes,
            4 => parent = field.bytes()?.bytes,
            7 => start_unix_nano = field.fixed64()?,
            13 => linked.extend(last_id("Link", field.bytes()?, 1)?),
            _ => {}
        }
    }
    let node = |span_id| Node { top: Top { span_id, start_unix_nano }, parent: valid_id(parent) };
    Ok(valid_id(id).map(node))
}

#[cfg(test)]
mod tests {
    use otlp_proto::opentelemetry::proto::trace::v1::{
        ResourceSpans, ScopeSpans, Span, TracesData, span::Link,
    };
    use prost::Message as _;

    use super::*;

    /// A payload with one span: id, parent (0 is none), start.
    fn payload((id, parent, start): (u8, u8, u64)) -> Vec<u8> {
        let bytes = |number: u8| if number == 0 { Vec::new() } else { vec![number; 8] };
        let link = Link { trace_id: vec![id; 16], span_id: vec![1; 8], ..Link::default() };
        let span = Span {
            span_id: bytes(id),
            parent_span_id: bytes(parent),
            start_time_unix_nano: start,
            links: if id > 7 { vec![link] } else { Vec::new() },
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        TracesData { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
            .encode_to_vec()
    }

    fn read(spans: &[(u8, u8, u64)]) -> Outline {
        let payloads: Vec<_> = spans.iter().copied().map(payload).collect();
        let outline = |payloads: &[Vec<u8>]| Outline::read(payloads.iter().map(|bytes| &bytes[..])).unwrap();
        let backward: Vec<_> = payloads.iter().rev().cloned().collect();
        assert_eq!(outline(&payloads), outline(&backward), "the order is no matter");
        outline(&payloads)
    }

    fn top(spans: &[(u8, u8, u64)]) -> Option<(u8, u64)> {
        read(spans).top.map(|top| (top.span_id[0], top.start_unix_nano))
    }

    #[test]
    fn the_top_is_the_root_even_when_another_span_began_earlier() {
        assert_eq!(top(&[(2, 1, 5), (1, 0, 9), (3, 6, 1)]), Some((1, 9)));
    }

    #[test]
    fn without_a_root_the_top_is_the_earliest_span_whose_parent_is_missing() {
        assert_eq!(top(&[(2, 1, 7), (3, 6, 5), (4, 2, 1)]), Some((3, 5)));
        assert_eq!(top(&[(3, 6, 0), (2, 1, 7)]), Some((2, 7)), "one without a time comes last");
        assert_eq!(top(&[(3, 1, 7), (2, 1, 7)]), Some((2, 7)), "of equals the lowest id");
    }

    #[test]
    fn a_circle_has_a_top_and_nothing_has_none() {
        assert_eq!(top(&[(1, 2, 4), (2, 1, 3)]), Some((2, 3)));
        assert_eq!(top(&[]), None);
        assert_eq!(top(&[(0, 0, 1)]), None, "a span without an id");
    }

    #[test]
    fn linked_traces_are_named_once() {
        assert_eq!(read(&[(8, 0, 1), (9, 8, 1), (8, 0, 2)]).linked, BTreeSet::from([[8; 16], [9; 16]]));
    }

    #[test]
    fn malformed_bytes_are_an_error() {
        assert!(Outline::read([&b"\x0a\x05"[..]]).is_err());
    }
}
