//! Cuts an export request into smaller requests, so that each subject is whole in one of them.
//!
//! This is for whoever sends requests on to several places. It reads less than a split: only what
//! says to which subject an item belongs.

use std::borrow::Cow;

use crate::{
    attributes::{FoundKey, SplitOptions, keys_of_resource, subject_of_keys},
    envelope::{Envelope, Heads, Item, LOGS, ScopeHead, Signal, TRACES},
    log_record::{self, LOG_ATTRIBUTES},
    span,
    split::Subject,
    wire::{DecodeError, Slice},
};

/// What of a request goes to one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share<'a> {
    /// As the caller has named it.
    pub place: usize,
    /// An export request; borrowed when it is the whole of what was cut.
    pub request: Cow<'a, [u8]>,
    /// Spans or log records in it.
    pub items: u64,
}

/// Cuts an encoded `ExportTraceServiceRequest` by the place of each span, which depends on its
/// subject alone.
///
/// Items keep their order and their bytes, so that splitting the shares gives the same parts as
/// splitting the request. A span without a valid trace id has [`Subject::None`]. A request without
/// spans is one share, at the place of [`Subject::None`].
///
/// # Errors
/// When a message is malformed that has to be read.
pub fn partition_traces<'a>(
    request: &'a [u8],
    place: impl FnMut(&Subject) -> usize,
) -> Result<Vec<Share<'a>>, DecodeError> {
    partition(&TRACES, request, &SplitOptions::default(), place, |slice, _| {
        Ok(span::trace_id(slice)?.map_or(Subject::None, Subject::Trace))
    })
}

/// Cuts an encoded `ExportLogsServiceRequest` likewise; a log record without a trace id belongs to
/// its first correlation key, or to what its text names, as when it is split.
///
/// # Errors
/// Like [`partition_traces`].
pub fn partition_logs<'a>(
    request: &'a [u8],
    options: &SplitOptions,
    place: impl FnMut(&Subject) -> usize,
) -> Result<Vec<Share<'a>>, DecodeError> {
    partition(&LOGS, request, options, place, |slice, resource_keys| {
        if let Some(trace_id) = log_record::trace_id(slice)? {
            return Ok(Subject::Trace(trace_id));
        }
        let mut keys = Vec::new();
        options.find_keys("LogRecord", slice, LOG_ATTRIBUTES, &mut keys)?;
        match subject_of_keys(options, &keys, resource_keys) {
            Subject::None => options.subject_in_text(slice, &mut keys),
            of_key => Ok(of_key),
        }
    })
}

/// The items for one place, in their order.
struct Draft<'a> {
    place: usize,
    items: Vec<Item<'a>>,
}

fn partition<'a>(
    signal: &'static Signal,
    request: &'a [u8],
    options: &SplitOptions,
    mut place: impl FnMut(&Subject) -> usize,
    subject: impl Fn(Slice<'a>, &[FoundKey]) -> Result<Subject, DecodeError>,
) -> Result<Vec<Share<'a>>, DecodeError> {
    let mut heads = Heads::default();
    let mut drafts: Vec<Draft<'a>> = Vec::new();
    // Neighbours mostly belong together, which spares the question.
    let mut latest: Option<(Subject, usize)> = None;
    for resource in signal.resources(request) {
        let resource = resource?;
        let keys = keys_of_resource(signal.resource, resource, options)?;
        let Envelope { head, children } = signal.open_resource(resource)?;
        // Kept with their first item, so that empty ones, of which a request may hold millions, cost nothing.
        let (mut resource_head, mut resource_index) = (Some(head), 0);
        for scope in children {
            let Envelope { head, children } = signal.open_scope(scope?)?;
            let mut scope_head = Some(head);
            for slice in children {
                let slice = slice?;
                let subject = subject(slice, &keys)?;
                let index = match &latest {
                    Some((known, index)) if *known == subject => *index,
                    _ => {
                        let index = draft_at(&mut drafts, place(&subject));
                        latest = Some((subject, index));
                        index
                    }
                };
                if let Some(head) = resource_head.take() {
                    resource_index = heads.resources.len();
                    heads.resources.push(head);
                }
                if let Some(head) = scope_head.take() {
                    heads.scopes.push(ScopeHead { resource: resource_index, head });
                }
                let scope = heads.scopes.len() - 1;
                drafts[index].items.push(Item { scope, message: slice.bytes });
            }
        }
    }
    if drafts.is_empty() {
        draft_at(&mut drafts, place(&Subject::None));
    }
    let is_whole = drafts.len() == 1;
    let share = |Draft { place, items }| Share {
        place,
        request: if is_whole { request.into() } else { heads.encode(&items).into() },
        items: items.len() as u64,
    };
    Ok(drafts.into_iter().map(share).collect())
}

/// The draft for a place; there are as many as places, which are few.
fn draft_at(drafts: &mut Vec<Draft<'_>>, place: usize) -> usize {
    drafts.iter().position(|draft| draft.place == place).unwrap_or_else(|| {
        drafts.push(Draft { place, items: Vec::new() });
        drafts.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use otlp_proto::opentelemetry::proto::{
        collector::trace::v1::ExportTraceServiceRequest,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    };
    use prost::Message as _;

    use super::*;

    fn request(trace_ids: &[u8]) -> Vec<u8> {
        let span = |&id: &u8| Span { trace_id: vec![id; 16], span_id: vec![1; 8], ..Span::default() };
        let spans = trace_ids.iter().map(span).collect();
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        // The empty one comes first: its head must not be taken for that of the other.
        let resource_spans =
            vec![ResourceSpans::default(), ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    fn parity(subject: &Subject) -> usize {
        match subject {
            Subject::Trace(id) => usize::from(id[0] % 2),
            _ => 7,
        }
    }

    #[test]
    fn a_request_for_one_place_is_not_copied() {
        for (ids, place, items) in [(&[1, 3, 1][..], 1, 3), (&[], 7, 0), (&[0], 7, 1)] {
            let request = request(ids);
            let shares = partition_traces(&request, parity).unwrap();
            assert_eq!(shares, [Share { place, request: Cow::Borrowed(&request[..]), items }]);
            assert!(matches!(shares[0].request, Cow::Borrowed(_)));
        }
    }

    #[test]
    fn spans_go_with_their_trace_and_stay_in_order() {
        let whole = request(&[1, 2, 1, 4]);
        let shares = partition_traces(&whole, parity).unwrap();
        let told: Vec<_> = shares.iter().map(|share| (share.place, share.items)).collect();
        assert_eq!(told, [(1, 2), (0, 2)]);
        let ids = |share: &Share<'_>| -> Vec<u8> {
            let request = ExportTraceServiceRequest::decode(&share.request[..]).unwrap();
            let spans = &request.resource_spans[0].scope_spans[0].spans;
            spans.iter().map(|span| span.trace_id[0]).collect()
        };
        assert_eq!(shares.iter().map(ids).collect::<Vec<_>>(), [[1, 1], [2, 4]]);
    }
}
