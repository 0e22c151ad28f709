//! How the spans of a trace hang together: whether the root is there, and which parents are missing.

use std::collections::{BTreeSet, HashSet};

use crate::{
    envelope::TRACES,
    seeded::Seed,
    span::valid_id,
    wire::{DecodeError, Reader, Slice},
};

/// What can be told from ids alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Structure {
    /// Whether a span without a parent is there.
    pub has_root: bool,
    /// Ids that spans name as their parent and no span has.
    pub missing_parents: BTreeSet<[u8; 8]>,
}

impl Structure {
    /// Reads encoded `TracesData` messages: the spans of one trace, whole or in parts.
    ///
    /// # Errors
    /// When a message, or an id's field, is malformed.
    pub fn read<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, DecodeError> {
        let mut structure = Self::default();
        let (mut spans, mut parents) = (HashSet::<_, Seed>::default(), HashSet::<_, Seed>::default());
        for payload in payloads {
            for resource in TRACES.resources(payload) {
                for scope in TRACES.open_resource(resource?)?.children {
                    for span in TRACES.open_scope(scope?)?.children {
                        let Ids { span, parent } = Ids::read(span?)?;
                        spans.extend(span);
                        structure.has_root |= parent.is_none();
                        parents.extend(parent);
                    }
                }
            }
        }
        structure.missing_parents = parents.difference(&spans).copied().collect();
        Ok(structure)
    }

    /// Whether nothing is known to be missing. Spans that nobody names as a parent may be on their way.
    pub fn is_whole(&self) -> bool {
        self.has_root && self.missing_parents.is_empty()
    }
}

/// The ids of a span that its place in the trace depends on.
struct Ids {
    span: Option<[u8; 8]>,
    parent: Option<[u8; 8]>,
}

impl Ids {
    fn read(slice: Slice<'_>) -> Result<Self, DecodeError> {
        let (mut span, mut parent) = (&[][..], &[][..]);
        let mut reader = Reader::new("Span", slice);
        while let Some(field) = reader.field()? {
            match field.number {
                2 => span = field.bytes()?.bytes,
                4 => parent = field.bytes()?.bytes,
                _ => {}
            }
        }
        Ok(Self { span: valid_id(span), parent: valid_id(parent) })
    }
}

#[cfg(test)]
mod tests {
    use otlp_proto::opentelemetry::proto::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};
    use prost::Message as _;

    use super::*;

    /// Spans by id and parent; parent 0 is none.
    fn payload(spans: &[(u8, u8)]) -> Vec<u8> {
        let id = |number: u8| if number == 0 { Vec::new() } else { vec![number; 8] };
        let span = |&(span, parent): &(u8, u8)| Span {
            span_id: id(span),
            parent_span_id: id(parent),
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans { spans: spans.iter().map(span).collect(), ..Default::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
        TracesData { resource_spans }.encode_to_vec()
    }

    fn read(payloads: &[&[(u8, u8)]]) -> Structure {
        let payloads: Vec<_> = payloads.iter().map(|spans| payload(spans)).collect();
        Structure::read(payloads.iter().map(|bytes| &bytes[..])).unwrap()
    }

    #[test]
    fn a_trace_is_whole_when_root_and_parents_are_there_whatever_their_order() {
        assert!(read(&[&[(3, 2)], &[(1, 0)], &[(2, 1)]]).is_whole());
        assert!(read(&[&[(1, 0), (1, 0)]]).is_whole(), "also when spans come twice");
    }

    #[test]
    fn what_is_missing_is_named() {
        let without_root = read(&[&[(2, 1), (3, 2)]]);
        assert!(!without_root.has_root && !without_root.is_whole());
        assert_eq!(without_root.missing_parents, BTreeSet::from([[1; 8]]));
        let with_gap = read(&[&[(1, 0), (3, 2)]]);
        assert!(with_gap.has_root && !with_gap.is_whole());
        assert_eq!(with_gap.missing_parents, BTreeSet::from([[2; 8]]));
        assert!(!read(&[]).is_whole(), "nothing is no trace");
    }

    #[test]
    fn malformed_bytes_are_an_error() {
        assert!(Structure::read([&b"\x0a\x05"[..]]).is_err());
    }
}
