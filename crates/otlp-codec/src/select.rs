//! Takes some of the items of a payload and leaves the rest out.

use crate::{
    envelope::{Envelope, Heads, Item, LOGS, ScopeHead, Signal, TRACES},
    wire::DecodeError,
};

/// Takes the wanted spans out of an encoded `TracesData`, byte for byte and in their order.
///
/// `is_wanted` gets the place of each, counted from 0: that of its identity in a [`Part`](crate::Part).
///
/// # Errors
/// When a message around the spans is malformed.
pub fn select_traces(payload: &[u8], is_wanted: impl FnMut(usize) -> bool) -> Result<Vec<u8>, DecodeError> {
    select(&TRACES, payload, is_wanted)
}

/// Takes the wanted log records out of an encoded `LogsData` likewise.
///
/// # Errors
/// Like [`select_traces`].
pub fn select_logs(payload: &[u8], is_wanted: impl FnMut(usize) -> bool) -> Result<Vec<u8>, DecodeError> {
    select(&LOGS, payload, is_wanted)
}

fn select(
    signal: &'static Signal,
    payload: &[u8],
    mut is_wanted: impl FnMut(usize) -> bool,
) -> Result<Vec<u8>, DecodeError> {
    let (mut heads, mut kept, mut place) = (Heads::default(), Vec::new(), 0);
    for resource in signal.resources(payload) {
        let Envelope { head, children } = signal.open_resource(resource?)?;
        // Kept with their first item, so that empty ones cost nothing.
        let (mut resource_head, mut resource_index) = (Some(head), 0);
        for scope in children {
            let Envelope { head, children } = signal.open_scope(scope?)?;
            let mut scope_head = Some(head);
            for slice in children {
                let message = slice?.bytes;
                let is_kept = is_wanted(place);
                place += 1;
                if !is_kept {
                    continue;
                }
                if let Some(head) = resource_head.take() {
                    resource_index = heads.resources.len();
                    heads.resources.push(head);
                }
                if let Some(head) = scope_head.take() {
                    heads.scopes.push(ScopeHead { resource: resource_index, head });
                }
                kept.push(Item { scope: heads.scopes.len() - 1, message });
            }
        }
    }
    Ok(heads.encode(&kept))
}

#[cfg(test)]
mod tests {
    use otlp_proto::opentelemetry::proto::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};
    use prost::Message as _;

    use super::*;

    /// One resource for each text, one scope in it for each word, one span for each letter.
    fn traces(resources: &[&str]) -> Vec<u8> {
        let span = |name: char| Span { name: name.into(), ..Span::default() };
        let scope = |word: &str| ScopeSpans {
            spans: word.chars().map(span).collect(),
            schema_url: "scope".into(),
            ..ScopeSpans::default()
        };
        let resource = |text: &&str| ResourceSpans {
            scope_spans: text.split(' ').map(scope).collect(),
            schema_url: "resource".into(),
            ..ResourceSpans::default()
        };
        TracesData { resource_spans: resources.iter().map(resource).collect() }.encode_to_vec()
    }

    /// As it says after the heads have come to the front, where the codec puts them.
    fn decoded(payload: &[u8]) -> TracesData {
        TracesData::decode(payload).unwrap()
    }

    #[test]
    fn what_is_wanted_keeps_its_place_and_what_is_emptied_goes() {
        let whole = traces(&["ab c", "d", "ef"]);
        for (wanted, expected) in [
            (&[0, 1, 2, 3, 4, 5][..], &["ab c", "d", "ef"][..]),
            (&[1, 5], &["b", "f"]),
            (&[2, 3], &["c", "d"]),
            (&[], &[]),
        ] {
            let selected = select_traces(&whole, |place| wanted.contains(&place)).unwrap();
            assert_eq!(decoded(&selected), decoded(&traces(expected)), "{wanted:?}");
        }
    }

    #[test]
    fn a_malformed_payload_is_an_error() {
        assert!(select_traces(&[0x0a, 0x02, 0x12, 0x7f], |_| true).is_err());
        assert!(select_logs(&[0x0a, 0x02, 0x12, 0x7f], |_| true).is_err());
    }
}
