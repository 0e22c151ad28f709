//! The rules of merging.

use otlp_proto::opentelemetry::proto::{
    common::v1::InstrumentationScope,
    logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs},
    trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData},
};
use prost::Message;

use super::*;

fn span(id: u8, name: &str) -> Span {
    Span { trace_id: vec![1; 16], span_id: vec![id; 8], name: name.into(), ..Span::default() }
}

fn scope(name: &str, spans: Vec<Span>) -> ScopeSpans {
    let scope = Some(InstrumentationScope { name: name.into(), ..InstrumentationScope::default() });
    ScopeSpans { scope, spans, ..ScopeSpans::default() }
}

fn under(schema_url: &str, scope_spans: Vec<ScopeSpans>) -> ResourceSpans {
    ResourceSpans { scope_spans, schema_url: schema_url.into(), ..ResourceSpans::default() }
}

fn traces(resource_spans: Vec<ResourceSpans>) -> Vec<u8> {
    // The schema URL stands behind the scopes on the wire; the codec puts heads in front.
    let encoded = TracesData { resource_spans }.encode_to_vec();
    merge_traces([&encoded[..]]).unwrap().payload
}

fn logs(bodies: &[&str]) -> Vec<u8> {
    let log_records =
        bodies.iter().map(|body| LogRecord { event_name: (*body).into(), ..LogRecord::default() }).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    LogsData { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }.encode_to_vec()
}

fn counts(merged: &Merged) -> (u64, u64, u64) {
    (merged.items, merged.duplicates, merged.conflicts)
}

fn names(merged: &Merged) -> Vec<String> {
    let data = LogsData::decode(&merged.payload[..]).unwrap();
    let records =
        data.resource_logs.into_iter().flat_map(|logs| logs.scope_logs).flat_map(|logs| logs.log_records);
    records.map(|record| record.event_name).collect()
}

#[test]
fn nothing_merges_to_nothing() {
    assert_eq!(merge_traces([]), Ok(Merged::default()));
    assert_eq!(merge_logs([&[][..]]), Ok(Merged::default()));
}

#[test]
fn items_are_grouped_under_equal_resources_and_scopes() {
    let one = traces(vec![
        under("r", vec![scope("s", vec![span(1, "a")]), scope("t", vec![span(2, "b")])]),
        under("q", vec![scope("s", vec![span(3, "c")])]),
    ]);
    let two = traces(vec![
        under("r", vec![scope("s", vec![span(4, "d")])]),
        under("p", vec![scope("s", vec![span(5, "e")])]),
        under("r", vec![scope("t", vec![span(6, "f")])]),
    ]);
    let merged = merge_traces([&one[..], &two]).unwrap();
    let expected = traces(vec![
        under(
            "r",
            vec![scope("s", vec![span(1, "a"), span(4, "d")]), scope("t", vec![span(2, "b"), span(6, "f")])],
        ),
        under("q", vec![scope("s", vec![span(3, "c")])]),
        under("p", vec![scope("s", vec![span(5, "e")])]),
    ]);
    assert_eq!(merged.payload, expected);
    assert_eq!(counts(&merged), (6, 0, 0));
}

#[test]
fn a_span_resent_in_another_batch_counts_once() {
    let one = traces(vec![under("r", vec![scope("s", vec![span(1, "a"), span(2, "b")])])]);
    let two = traces(vec![under("r", vec![scope("s", vec![span(2, "b"), span(3, "c")])])]);
    let merged = merge_traces([&one[..], &two, &one]).unwrap();
    assert_eq!(counts(&merged), (3, 3, 0));
}

#[test]
fn the_same_payload_twice_changes_nothing() {
    let one = traces(vec![under("r", vec![scope("s", vec![span(1, "a"), span(2, "b")])])]);
    let merged = merge_traces([&one[..], &one[..]]).unwrap();
    assert_eq!(merged, Merged { payload: one, items: 2, duplicates: 2, conflicts: 0 });
}

#[test]
fn another_content_under_a_span_identity_is_a_conflict_and_the_first_is_kept() {
    let one = traces(vec![under("r", vec![scope("s", vec![span(1, "a")])])]);
    let others = [
        traces(vec![under("r", vec![scope("s", vec![span(1, "changed")])])]),
        traces(vec![under("r", vec![scope("changed", vec![span(1, "a")])])]),
        traces(vec![under("changed", vec![scope("s", vec![span(1, "a")])])]),
    ];
    for other in &others {
        let merged = merge_traces([&one[..], other]).unwrap();
        assert_eq!(merged, Merged { payload: one.clone(), items: 1, duplicates: 0, conflicts: 1 });
    }
}

#[test]
fn kind_and_trace_belong_to_the_identity_of_a_span() {
    let mut server = span(1, "a");
    server.kind = 2;
    let mut elsewhere = span(1, "a");
    elsewhere.trace_id = vec![2; 16];
    let payload = traces(vec![under("r", vec![scope("s", vec![span(1, "a"), server, elsewhere])])]);
    assert_eq!(counts(&merge_traces([&payload[..]]).unwrap()), (3, 0, 0));
}

#[test]
fn equal_logs_of_one_payload_are_kept_and_resent_ones_are_not() {
    let merged =
        merge_logs([&logs(&["a", "a", "b"])[..], &logs(&["a", "c"]), &logs(&["a", "a", "a"])]).unwrap();
    assert_eq!(names(&merged), ["a", "a", "b", "c", "a"]);
    assert_eq!(counts(&merged), (5, 3, 0));
}

#[test]
fn merging_what_is_merged_changes_nothing() {
    let merged = merge_logs([&logs(&["a", "b", "a"])[..], &logs(&["b", "c"])]).unwrap();
    let again = merge_logs([&merged.payload[..]]).unwrap();
    assert_eq!(again.payload, merged.payload);
    assert_eq!(counts(&again), (4, 0, 0));
}

#[test]
fn a_malformed_payload_is_an_error() {
    assert_eq!(merge_traces([&[0x0a, 0x02, 0x12, 0x7f][..]]).unwrap_err().offset(), 3);
}
