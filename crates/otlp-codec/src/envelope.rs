//! The two outer levels every OTLP payload has: resource and scope, around spans or log records.
//!
//! Traces and logs use the same field numbers, so one walk serves both.

use std::borrow::Cow;

use crate::wire::{DecodeError, Reader, Slice, field_len, write_bytes_field, write_key, write_varint};

/// Field of the resource messages in a request or in `TracesData` and `LogsData`.
const RESOURCES: u32 = 1;
/// Field of the scope messages in a resource message, and of the items in a scope message.
const CHILDREN: u32 = 2;

/// The names of the message types of a signal, for errors.
pub(crate) struct Signal {
    request: &'static str,
    pub(crate) resource: &'static str,
    scope: &'static str,
}

pub(crate) const TRACES: Signal =
    Signal { request: "TracesData", resource: "ResourceSpans", scope: "ScopeSpans" };

pub(crate) const LOGS: Signal = Signal { request: "LogsData", resource: "ResourceLogs", scope: "ScopeLogs" };

impl Signal {
    /// Walks the resource messages of a request; other fields of the request are not kept.
    pub(crate) fn resources<'a>(&self, request: &'a [u8]) -> Children<'a> {
        Children { reader: Reader::new(self.request, Slice::whole(request)), number: RESOURCES }
    }

    /// Opens a resource message; its children are scope messages.
    pub(crate) fn open_resource<'a>(&self, slice: Slice<'a>) -> Result<Envelope<'a>, DecodeError> {
        Envelope::open(self.resource, slice)
    }

    /// Opens a scope message; its children are spans or log records.
    pub(crate) fn open_scope<'a>(&self, slice: Slice<'a>) -> Result<Envelope<'a>, DecodeError> {
        Envelope::open(self.scope, slice)
    }
}

/// A resource or scope message taken apart.
pub(crate) struct Envelope<'a> {
    /// Every field but the children, byte for byte in their order: unknown fields survive.
    pub(crate) head: Cow<'a, [u8]>,
    pub(crate) children: Children<'a>,
}

impl<'a> Envelope<'a> {
    /// Reads the head, which may lie on both sides of the children.
    fn open(name: &'static str, slice: Slice<'a>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(name, slice);
        let mut head = Cow::Borrowed(&[][..]);
        let mut head_range = 0..0;
        while let Some(field) = reader.field()? {
            let range = field.range();
            if field.number == CHILDREN {
                continue;
            } else if head.is_empty() || head_range.end == range.start {
                // Without a copy as long as the head is in one piece, which is the common case.
                let start = if head.is_empty() { range.start } else { head_range.start };
                head_range = start..range.end;
                head = Cow::Borrowed(&slice.bytes[head_range.clone()]);
            } else {
                head.to_mut().extend_from_slice(&slice.bytes[range]);
                // Nothing ends here: from now on every piece is appended.
                head_range.end = usize::MAX;
            }
        }
        Ok(Self { head, children: Children { reader: Reader::new(name, slice), number: CHILDREN } })
    }
}

/// Walks the messages in one field.
///
/// Nothing is collected: an empty child takes two bytes on the wire, and any entry in a list more.
pub(crate) struct Children<'a> {
    reader: Reader<'a>,
    number: u32,
}

impl<'a> Iterator for Children<'a> {
    type Item = Result<Slice<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.reader.field() {
                Ok(Some(field)) if field.number == self.number => return Some(field.bytes()),
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// A span or log record and the scope it belongs to, as an index into [`Heads::scopes`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item<'a> {
    pub(crate) scope: usize,
    pub(crate) message: &'a [u8],
}

/// The heads that items refer to.
#[derive(Default)]
pub(crate) struct Heads<'a> {
    pub(crate) resources: Vec<Cow<'a, [u8]>>,
    pub(crate) scopes: Vec<ScopeHead<'a>>,
}

pub(crate) struct ScopeHead<'a> {
    /// Index into [`Heads::resources`].
    pub(crate) resource: usize,
    pub(crate) head: Cow<'a, [u8]>,
}

impl<'a> Heads<'a> {
    pub(crate) fn resource_of(&self, item: &Item<'_>) -> usize {
        self.scopes[item.scope].resource
    }

    /// Cuts `items` where the resource changes.
    pub(crate) fn by_resource<'i>(&self, items: &'i [Item<'a>]) -> impl Iterator<Item = &'i [Item<'a>]> {
        items.chunk_by(|left, right| self.resource_of(left) == self.resource_of(right))
    }

    /// Encodes `items` under their heads as one `TracesData` or `LogsData`.
    ///
    /// Neighbours of the same scope share one scope message, likewise with the resource.
    /// The lengths come first, so that the bytes are written once, into a buffer of the exact size.
    pub(crate) fn encode(&self, items: &[Item<'a>]) -> Vec<u8> {
        let mut lengths = Vec::new();
        let mut total = 0;
        for resource in self.by_resource(items) {
            let slot = lengths.len();
            lengths.push(self.resources[self.resource_of(&resource[0])].len());
            for scope in by_scope(resource) {
                let spans: usize = scope.iter().map(|item| field_len(item.message.len())).sum();
                let length = self.scopes[scope[0].scope].head.len() + spans;
                lengths.push(length);
                lengths[slot] += field_len(length);
            }
            total += field_len(lengths[slot]);
        }

        let mut output = Vec::with_capacity(total);
        let mut lengths = lengths.into_iter();
        let mut open = |number, head: &[u8], output: &mut Vec<u8>| {
            write_key(number, 2, output);
            write_varint(lengths.next().unwrap_or_default() as u64, output);
            output.extend_from_slice(head);
        };
        for resource in self.by_resource(items) {
            open(RESOURCES, &self.resources[self.resource_of(&resource[0])], &mut output);
            for scope in by_scope(resource) {
                open(CHILDREN, &self.scopes[scope[0].scope].head, &mut output);
                for item in scope {
                    write_bytes_field(CHILDREN, item.message, &mut output);
                }
            }
        }
        output
    }
}

fn by_scope<'a, 'i>(items: &'i [Item<'a>]) -> impl Iterator<Item = &'i [Item<'a>]> {
    items.chunk_by(|left, right| left.scope == right.scope)
}
