//! Forests of small correlations, and of some that somebody has made up.

use otlp_proto::opentelemetry::proto::{
    common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value},
    logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as Sent, Status, TracesData, span},
};
use prost::Message as _;

use super::*;
use crate::wire::write_bytes_field;

const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

fn any(value: Value) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: any(value), ..KeyValue::default() }
}

fn id(number: u32) -> Vec<u8> {
    if number == 0 { Vec::new() } else { u64::from(number).to_be_bytes().to_vec() }
}

/// A span that is named after its number.
fn span(number: u32, parent: u32, kind: i32, start: u64) -> Sent {
    Sent {
        span_id: id(number),
        parent_span_id: id(parent),
        name: number.to_string(),
        kind,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1,
        ..Sent::default()
    }
}

fn traces(spans: Vec<Sent>) -> Vec<u8> {
    let resource =
        Resource { attributes: vec![attribute("service.name", text("shop"))], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    TracesData { resource_spans }.encode_to_vec()
}

fn logs(log_records: Vec<LogRecord>) -> Vec<u8> {
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    LogsData { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }.encode_to_vec()
}

/// Names and levels of the spans as they are walked through.
fn walked(spans: Vec<Sent>) -> String {
    let traces = traces(spans);
    let forest = Forest::read(&traces, &[]).unwrap();
    let line = |step: Step| format!("{}{}", ">".repeat(step.level), forest.nodes[step.index].span.name);
    forest.walk().map(line).collect::<Vec<_>>().join(" ")
}

fn parents(spans: Vec<Sent>) -> Vec<Parent> {
    let traces = traces(spans);
    Forest::read(&traces, &[]).unwrap().nodes.iter().map(|node| node.parent).collect()
}

fn body(value: Value) -> String {
    let logs = logs(vec![LogRecord { body: any(value), ..LogRecord::default() }]);
    let mut forest = Forest::read(&[], &logs).unwrap();
    forest.logs.remove(0).body
}

#[test]
fn spans_stand_under_their_parents_in_the_order_of_their_starts() {
    let spans =
        vec![span(4, 3, INTERNAL, 7), span(3, 1, INTERNAL, 6), span(2, 1, INTERNAL, 2), span(1, 0, 0, 1)];
    assert_eq!(walked(spans), "1 >2 >3 >>4");
}

#[test]
fn the_two_sides_of_a_call_that_share_an_id_stand_one_under_the_other() {
    let spans = vec![
        span(2, 1, SERVER, 2),
        span(3, 2, INTERNAL, 3),
        span(1, 0, SERVER, 0),
        Sent { name: "call".to_owned(), ..span(2, 1, CLIENT, 2) },
    ];
    assert_eq!(walked(spans), "1 >call >>2 >>>3");
}

#[test]
fn a_parent_that_is_not_here_is_missing_and_one_of_zeros_is_none() {
    let of_zeros = Sent { parent_span_id: vec![0; 8], ..span(2, 0, 0, 2) };
    assert_eq!(parents(vec![span(1, 9, 0, 1), of_zeros]), [Parent::Missing, Parent::None]);
}

#[test]
fn of_spans_that_are_each_others_parents_the_first_stands_at_the_top() {
    // 5 hangs on the circle and began before it; 9 is its own parent.
    let spans =
        vec![span(5, 2, 0, 1), span(2, 3, 0, 2), span(3, 4, 0, 3), span(4, 2, 0, 4), span(9, 9, 0, 5)];
    assert_eq!(walked(spans.clone()), "2 >5 >4 >>3 9");
    assert_eq!(
        parents(spans),
        [Parent::Span(1), Parent::Circle, Parent::Span(3), Parent::Span(1), Parent::Circle]
    );
}

#[test]
fn a_chain_of_a_hundred_thousand_spans_is_walked_to_its_end() {
    let traces = traces((1..=100_000).rev().map(|number| span(number, number - 1, 0, 1)).collect());
    let forest = Forest::read(&traces, &[]).unwrap();
    let last = forest.walk().last().unwrap();
    assert_eq!((last.level, forest.nodes[last.index].span.name.as_str()), (99_999, "100000"));
}

#[test]
fn any_number_of_spans_of_one_id_is_told_apart_by_look_ups() {
    let spans = (0..50_000).map(|kind| span(1, 1, kind, 1));
    let parents = parents(spans.collect());
    assert_eq!(parents.iter().filter(|parent| matches!(parent, Parent::Span(_))).count(), 49_999);
}

#[test]
fn records_stand_in_the_order_of_time_and_belong_to_their_spans() {
    let record = |span, time, observed, name: &str| LogRecord {
        span_id: id(span),
        time_unix_nano: time,
        observed_time_unix_nano: observed,
        body: any(text(name)),
        ..LogRecord::default()
    };
    let traces = traces(vec![span(1, 0, CLIENT, 1), span(1, 0, SERVER, 2)]);
    let logs = logs(vec![record(1, 9, 1, "late"), record(7, 4, 0, "stray"), record(1, 0, 3, "observed")]);
    let forest = Forest::read(&traces, &logs).unwrap();
    let names =
        |places: &[usize]| places.iter().map(|place| &forest.logs[*place].body[..]).collect::<Vec<_>>();
    assert_eq!(names(&[0, 1, 2]), ["observed", "stray", "late"]);
    assert_eq!(names(&forest.stray_logs), ["stray"]);
    assert!(forest.nodes[0].logs.is_empty(), "of two sides the server's has it");
    assert_eq!(names(&forest.nodes[1].logs), ["observed", "late"]);
}

#[test]
fn what_the_engine_made_is_marked_and_its_links_are_kept() {
    let keys = Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(text("order.id=7")) }] });
    let attributes = vec![
        attribute("correlation.synthetic", Value::BoolValue(true)),
        attribute("correlation.confidence", Value::DoubleValue(0.75)),
        attribute("correlation.keys", keys),
    ];
    let link = span::Link {
        trace_id: vec![7; 16],
        span_id: vec![8; 8],
        attributes: attributes.clone(),
        ..span::Link::default()
    };
    let links = vec![link; LINKS_MAX + 1];
    let traces = traces(vec![Sent { attributes, links, ..span(1, 0, 0, 1) }]);
    let forest = Forest::read(&traces, &[]).unwrap();
    let span = &forest.nodes[0].span;
    for marks in [&span.marks, &span.links[0].marks] {
        assert_eq!((marks.synthetic, marks.confidence), (true, Some(0.75)));
        assert_eq!(marks.keys, ["order.id=7"]);
    }
    assert_eq!((span.links.len(), span.links_total), (LINKS_MAX, LINKS_MAX + 1));
    assert_eq!((span.links[0].trace_id, span.links[0].span_id), (&[7; 16][..], &[8; 8][..]));
}

#[test]
fn a_status_is_read_in_words() {
    let status = Status { code: 2, message: "declined".to_owned() };
    let traces = traces(vec![Sent { status: Some(status), ..span(1, 0, SERVER, 1) }]);
    let forest = Forest::read(&traces, &[]).unwrap();
    let span = &forest.nodes[0].span;
    assert_eq!((span.status_name(), span.is_error(), &span.status_message[..]), ("error", true, "declined"));
    assert_eq!((span.kind_name(), &*span.service), ("server", "shop"));
}

#[test]
fn a_severity_without_a_text_has_the_name_of_its_number() {
    let record = |severity_number, severity_text: &str| LogRecord {
        severity_number,
        severity_text: severity_text.to_owned(),
        ..LogRecord::default()
    };
    let cases =
        [(0, "", ""), (9, "", "INFO"), (18, "", "ERROR2"), (24, "", "FATAL4"), (25, "", ""), (9, "n", "n")];
    for (number, text, expected) in cases {
        let logs = logs(vec![record(number, text)]);
        assert_eq!(Forest::read(&[], &logs).unwrap().logs[0].severity, expected, "{number}");
    }
}

#[test]
fn bodies_of_every_kind_are_texts_of_bounded_length() {
    let entry = |value| AnyValue { value: Some(value) };
    let list = Value::ArrayValue(ArrayValue { values: vec![entry(text("a")), entry(Value::IntValue(-1))] });
    let map =
        Value::KvlistValue(KeyValueList { values: vec![attribute("list", list), attribute("b", text("c"))] });
    for (value, expected) in [
        (map, "{list: [a, -1], b: c}"),
        (Value::BoolValue(true), "true"),
        (Value::DoubleValue(1.5), "1.5"),
        (Value::BytesValue(vec![1, 255]), "01ff"),
    ] {
        assert_eq!(body(value), expected);
    }
    let long = |value| body(value).len();
    let many = |value: Value| Value::ArrayValue(ArrayValue { values: vec![entry(value); 10_000] });
    for value in
        [text(&"ä".repeat(5_000)), many(text("")), many(text("abc")), Value::BytesValue(vec![1; 10_000])]
    {
        let length = long(value);
        assert!((4_000..=4_099).contains(&length), "{length}");
    }
    let deep =
        (0..50).fold(text("x"), |inner, _| Value::ArrayValue(ArrayValue { values: vec![entry(inner)] }));
    assert_eq!(body(deep), "[[[[[[[[…]]]]]]]]");
}

#[test]
fn what_is_malformed_inside_takes_nothing_along() {
    let field = |number, content: &[u8]| {
        let mut output = Vec::new();
        write_bytes_field(number, content, &mut output);
        output
    };
    let bad_span = [span(1, 0, 0, 1).encode_to_vec(), field(9, &[0xff]), field(13, &[0xff])].concat();
    let bad_record =
        [LogRecord { event_name: "e".to_owned(), ..LogRecord::default() }.encode_to_vec(), field(5, &[0xff])];
    let around = |item: &[u8]| field(1, &field(2, &field(2, item)));
    let (traces, logs) = (around(&bad_span), around(&bad_record.concat()));
    let forest = Forest::read(&traces, &logs).unwrap();
    assert_eq!((&forest.nodes[0].span.name[..], &forest.logs[0].event_name[..]), ("1", "e"));
}
