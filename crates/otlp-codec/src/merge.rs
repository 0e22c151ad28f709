//! Reads payloads back as one message in which every span and log record occurs once.

use std::{borrow::Cow, collections::hash_map::Entry};

use crate::{
    envelope::{Heads, Item, LOGS, ScopeHead, Signal, TRACES},
    seeded::SeededMap,
    span::Span,
    wire::{DecodeError, Slice},
};

/// The union of several payloads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    /// A `TracesData` or `LogsData` with every item once, in order of first appearance, grouped
    /// under equal resources and scopes. Byte for byte as received.
    pub payload: Vec<u8>,
    /// Number of items in the payload.
    pub items: u64,
    /// Items left out because they are there already.
    pub duplicates: u64,
    /// Spans left out because another content is there already under the same identity.
    pub conflicts: u64,
}

/// Merges encoded `TracesData`, first come, first kept.
///
/// A span is the same by trace id, span id and kind. If it comes again with other bytes, or under
/// another resource or scope, that is a conflict.
///
/// # Errors
///
/// When a payload is malformed; the offset counts from the beginning of that payload.
pub fn merge_traces<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Merged, DecodeError> {
    let mut known = SeededMap::<_, Item<'a>>::default();
    merge(&TRACES, payloads, |_, item, slice| {
        let span = Span::read(slice)?;
        Ok(match known.entry((span.trace_id, span.span_id, span.kind)) {
            Entry::Vacant(entry) => {
                entry.insert(item);
                Verdict::Keep
            }
            Entry::Occupied(first) if *first.get() == item => Verdict::Duplicate,
            Entry::Occupied(_) => Verdict::Conflict,
        })
    })
}

/// Merges encoded `LogsData`, first come, first kept.
///
/// A log record is the same by resource, scope and content. Equal records of one payload are
/// different ones, so the union holds as many of them as the payload with most of them.
///
/// # Errors
///
/// Like [`merge_traces`].
pub fn merge_logs<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Merged, DecodeError> {
    /// How often a record is kept, and how often the payload at hand has shown it.
    #[derive(Default)]
    struct Copies {
        kept: u64,
        payload: usize,
        seen: u64,
    }
    let mut known = SeededMap::<_, Copies>::default();
    merge(&LOGS, payloads, |payload, item, _| {
        let copies = known.entry((item.scope, item.message)).or_default();
        if copies.payload != payload {
            copies.payload = payload;
            copies.seen = 0;
        }
        copies.seen += 1;
        if copies.seen > copies.kept {
            copies.kept = copies.seen;
            Ok(Verdict::Keep)
        } else {
            Ok(Verdict::Duplicate)
        }
    })
}

enum Verdict {
    Keep,
    Duplicate,
    Conflict,
}

/// Walks the payloads, asks `judge` about each item (with the payload's number), encodes the rest.
fn merge<'a>(
    signal: &Signal,
    payloads: impl IntoIterator<Item = &'a [u8]>,
    mut judge: impl FnMut(usize, Item<'a>, Slice<'a>) -> Result<Verdict, DecodeError>,
) -> Result<Merged, DecodeError> {
    let mut directory = Directory::default();
    let mut kept = Vec::new();
    let mut merged = Merged::default();
    for (payload, bytes) in payloads.into_iter().enumerate() {
        for resource in signal.resources(bytes) {
            let resource = signal.open_resource(resource?)?;
            let resource_index = directory.resource(resource.head);
            for scope in resource.children {
                let scope = signal.open_scope(scope?)?;
                let scope_index = directory.scope(resource_index, scope.head);
                for slice in scope.children {
                    let slice = slice?;
                    let item = Item { scope: scope_index, message: slice.bytes };
                    match judge(payload, item, slice)? {
                        Verdict::Keep => kept.push(item),
                        Verdict::Duplicate => merged.duplicates += 1,
                        Verdict::Conflict => merged.conflicts += 1,
                    }
                }
            }
        }
    }
    let heads = directory.heads;
    // Stable: within a scope the order of arrival stays.
    kept.sort_by_key(|item| (heads.resource_of(item), item.scope));
    merged.items = kept.len() as u64;
    merged.payload = heads.encode(&kept);
    Ok(merged)
}

/// Numbers equal heads equally, in order of first appearance.
#[derive(Default)]
struct Directory<'a> {
    heads: Heads<'a>,
    resources: SeededMap<Cow<'a, [u8]>, usize>,
    scopes: SeededMap<(usize, Cow<'a, [u8]>), usize>,
}

impl<'a> Directory<'a> {
    fn resource(&mut self, head: Cow<'a, [u8]>) -> usize {
        let resources = &mut self.heads.resources;
        *self.resources.entry(head).or_insert_with_key(|head| {
            resources.push(head.clone());
            resources.len() - 1
        })
    }

    fn scope(&mut self, resource: usize, head: Cow<'a, [u8]>) -> usize {
        let scopes = &mut self.heads.scopes;
        *self.scopes.entry((resource, head)).or_insert_with_key(|(resource, head)| {
            scopes.push(ScopeHead { resource: *resource, head: head.clone() });
            scopes.len() - 1
        })
    }
}

#[cfg(test)]
mod tests;
