//! D: what the telemetry itself may hold, sent through both doors.

use otlp_proto::opentelemetry::proto::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, KeyValueList, any_value::Value},
    logs::v1::LogRecord,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status},
};
use prost::Message as _;
use serde_json::json;

use super::{Door, SIGNALS};
use crate::{
    doors::Doors,
    grpc::{Call, TRACES},
    http1::{JSON, PROTOBUF, Request},
    stored::Stored,
    telemetry::{SECOND_NANOS, START_UNIX_NANO, Trace, attribute, hex, log, logs, span_id, text, traces},
};

/// Sends one span through a door, which must accept it, and reads its trace.
async fn kept(doors: &Doors, door: Door, trace: Trace, span: Span) -> Stored {
    let response = door.traces(&doors.open, &traces(vec![span])).await;
    assert_eq!(response.partial_success, None, "{door:?}");
    Stored::get(&doors.open.gateway, &trace.hex()).await
}

pub(super) async fn d1_a_span_without_valid_ids_is_rejected_alone(doors: &Doors) {
    for door in Door::BOTH {
        let trace = Trace::new();
        let with = |trace_id: &[u8], span_id: &[u8]| Span {
            trace_id: trace_id.to_vec(),
            span_id: span_id.to_vec(),
            ..trace.span(2)
        };
        let valid = trace.bytes();
        let bad = [
            with(&[], &span_id(2)),
            with(&[0; 16], &span_id(2)),
            with(&valid[1..], &span_id(2)),
            with(&[&valid[..], &[1]].concat(), &span_id(2)),
            with(&valid, &[]),
            with(&valid, &[0; 8]),
            with(&valid, &[1; 7]),
            with(&valid, &[1; 9]),
        ];
        let spans = [&[trace.span(1)], &bad[..]].concat();
        let partial = door.traces(&doors.open, &traces(spans)).await.partial_success.unwrap();
        assert_eq!(partial.rejected_spans, bad.len() as i64, "{door:?}: {partial:?}");
        for id in ["trace_id", "span_id"] {
            assert!(partial.error_message.contains(id), "{partial:?}");
        }
        let span = Stored::get(&doors.open.gateway, &trace.hex()).await.span();
        assert_eq!(span["spanId"], hex(&span_id(1)), "{door:?}");
    }
}

pub(super) async fn d2_a_log_record_without_valid_ids_is_accepted(doors: &Doors) {
    for door in Door::BOTH {
        let trace = Trace::new();
        let with = |trace_id: &[u8], span_id: &[u8]| LogRecord {
            trace_id: trace_id.to_vec(),
            span_id: span_id.to_vec(),
            ..log("a log record")
        };
        let valid = trace.bytes();
        let unassociated =
            [with(&[], &[]), with(&[0; 16], &[0; 8]), with(&valid[..8], &[]), with(&[1; 17], &span_id(1))];
        let response = door.logs(&doors.open, &logs(unassociated.to_vec())).await;
        assert_eq!(response.partial_success, None, "{door:?}");
        assert!(Stored::find(&doors.open.gateway, &trace.hex()).await.is_none(), "{door:?}");
        // A bad span id takes nothing away from the trace id.
        let response = door.logs(&doors.open, &logs(vec![with(&valid, &[1; 3])])).await;
        assert_eq!(response.partial_success, None, "{door:?}");
        let stored = Stored::get(&doors.open.gateway, &trace.hex()).await;
        assert_eq!(stored.logs().len(), 1, "{door:?}");
    }
}

pub(super) async fn d3_a_span_without_a_parent_is_the_root(doors: &Doors) {
    for door in Door::BOTH {
        for no_parent in [vec![], vec![0; 8]] {
            let trace = Trace::new();
            let root = Span { parent_span_id: no_parent.clone(), name: "root".to_owned(), ..trace.span(7) };
            let spans = traces(vec![trace.span(2), root]);
            assert_eq!(door.traces(&doors.open, &spans).await.partial_success, None);
            let stored = Stored::get(&doors.open.gateway, &trace.hex()).await;
            assert_eq!(stored.0["root_span_name"], "root", "{door:?} {no_parent:?}");
        }
        let trace = Trace::new();
        let short = Span { parent_span_id: vec![1; 7], ..trace.span(2) };
        let partial =
            door.traces(&doors.open, &traces(vec![short, trace.span(1)])).await.partial_success.unwrap();
        assert_eq!(partial.rejected_spans, 1);
        assert!(partial.error_message.contains("parent_span_id"), "{partial:?}");
    }
}

pub(super) async fn d4_every_kind_is_kept(doors: &Doors) {
    for door in Door::BOTH {
        for kind in [0, 1, 5, 6, 77, i32::MAX, -1] {
            let trace = Trace::new();
            let span = kept(doors, door, trace, Span { kind, ..trace.span(1) }).await.span();
            assert_eq!(span.get("kind").cloned().unwrap_or(json!(0)), json!(kind), "{door:?}");
        }
    }
}

pub(super) async fn d5_flags_are_kept_with_all_their_bits(doors: &Doors) {
    for door in Door::BOTH {
        for flags in [0x01, 0x100, 0x301, 0xffff_ffff] {
            let trace = Trace::new();
            let span = kept(doors, door, trace, Span { flags, ..trace.span(1) }).await.span();
            assert_eq!(span["flags"], json!(flags), "{door:?}");
            assert_eq!(span["spanId"], hex(&span_id(1)), "{door:?}");
        }
    }
}

pub(super) async fn d6_a_log_record_without_a_time_has_the_time_it_was_observed(doors: &Doors) {
    for door in Door::BOTH {
        let trace = Trace::new();
        let record = LogRecord {
            time_unix_nano: 0,
            observed_time_unix_nano: START_UNIX_NANO + SECOND_NANOS,
            ..trace.log()
        };
        assert_eq!(door.logs(&doors.open, &logs(vec![record])).await.partial_success, None);
        let stored = Stored::get(&doors.open.gateway, &trace.hex()).await;
        assert_eq!(stored.0["first_event"], "2023-11-14T22:13:21Z", "{door:?}");
        assert_eq!(stored.logs()[0].get("timeUnixNano"), None, "what was not sent is not invented");
    }
}

pub(super) async fn d7_times_in_any_order_are_accepted(doors: &Doors) {
    let (early, late) = (START_UNIX_NANO, START_UNIX_NANO + SECOND_NANOS);
    let (at_early, at_late) = (json!("2023-11-14T22:13:20Z"), json!("2023-11-14T22:13:21Z"));
    for door in Door::BOTH {
        for (start, end, first, last) in [
            (early, late, &at_early, &at_late),
            // Its duration counts as none.
            (late, early, &at_late, &at_late),
            (0, late, &at_late, &at_late),
            (early, 0, &at_early, &at_early),
            (0, 0, &json!(null), &json!(null)),
        ] {
            let trace = Trace::new();
            let span = Span { start_time_unix_nano: start, end_time_unix_nano: end, ..trace.span(1) };
            let stored = kept(doors, door, trace, span).await;
            let found = (&stored.0["first_event"], &stored.0["last_event"]);
            assert_eq!(found, (first, last), "{door:?}: {start} to {end}");
        }
        let trace = Trace::new();
        let span = Span { start_time_unix_nano: u64::MAX, end_time_unix_nano: 1, ..trace.span(1) };
        let span = kept(doors, door, trace, span).await.span();
        assert_eq!(span["startTimeUnixNano"], json!(u64::MAX.to_string()));
    }
}

pub(super) async fn d8_repeated_attributes_and_empty_names_are_accepted(doors: &Doors) {
    for door in Door::BOTH {
        let trace = Trace::new();
        let attributes =
            vec![attribute("twice", text("1")), attribute("twice", text("2")), attribute("", text("3"))];
        let span = Span { name: String::new(), attributes, ..trace.span(1) };
        let span = kept(doors, door, trace, span).await.span();
        let expected = json!([
            { "key": "twice", "value": { "stringValue": "1" } },
            { "key": "twice", "value": { "stringValue": "2" } },
            // A key that is empty is left out, as any default is.
            { "value": { "stringValue": "3" } },
        ]);
        assert_eq!((&span["attributes"], span.get("name")), (&expected, None), "{door:?}");
    }
}

pub(super) async fn d9_string_table_references_are_kept_and_not_followed(doors: &Doors) {
    for door in Door::BOTH {
        let trace = Trace::new();
        let attributes = vec![
            attribute("by.index", AnyValue { value: Some(Value::StringValueStrindex(4)) }),
            KeyValue { key_strindex: 7, value: Some(text("of no key")), ..KeyValue::default() },
            attribute("plain", text("value")),
        ];
        let span = kept(doors, door, trace, Span { attributes, ..trace.span(1) }).await.span();
        let expected = json!([
            { "key": "by.index", "value": { "stringValueStrindex": 4 } },
            { "value": { "stringValue": "of no key" }, "keyStrindex": 7 },
            { "key": "plain", "value": { "stringValue": "value" } },
        ]);
        assert_eq!(span["attributes"], expected, "{door:?}");
    }
    // A service that is named by an index is not known.
    let trace = Trace::new();
    let mut request = trace.request();
    request.resource_spans[0].resource.as_mut().unwrap().attributes =
        vec![attribute("service.name", AnyValue { value: Some(Value::StringValueStrindex(1)) })];
    assert_eq!(Door::Grpc.traces(&doors.open, &request).await.partial_success, None);
    let stored = Stored::get(&doors.open.gateway, &trace.hex()).await;
    assert_eq!(stored.0["service"], "unknown_service");
}

pub(super) async fn d10_resource_scope_and_status_are_optional(doors: &Doors) {
    for door in Door::BOTH {
        let trace = Trace::new();
        let bare = |status| Span { status, ..trace.span(1) };
        let scope_spans = vec![ScopeSpans { spans: vec![bare(None)], ..ScopeSpans::default() }];
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
        };
        assert_eq!(door.traces(&doors.open, &request).await.partial_success, None);
        let stored = Stored::get(&doors.open.gateway, &trace.hex()).await;
        assert_eq!(stored.0["service"], "unknown_service", "{door:?}");
        assert_eq!((&stored.0["errors"], stored.span().get("status")), (&json!(0), None), "{door:?}");

        let trace = Trace::new();
        let failed = Span { status: Some(Status { code: 2, message: "no".to_owned() }), ..trace.span(1) };
        assert_eq!(kept(doors, door, trace, failed).await.0["errors"], json!(1), "{door:?}");
    }
}

pub(super) async fn d11_a_severity_of_zero_is_allowed(doors: &Doors) {
    for door in Door::BOTH {
        let trace = Trace::new();
        let of = |severity_number| LogRecord { severity_number, ..trace.log() };
        let response = door.logs(&doors.open, &logs(vec![of(0), of(17), of(24)])).await;
        assert_eq!(response.partial_success, None, "{door:?}");
        let stored = Stored::get(&doors.open.gateway, &trace.hex()).await;
        let severities: Vec<_> =
            stored.logs().iter().map(|record| record.get("severityNumber").cloned()).collect();
        assert_eq!(severities, [None, Some(json!(17)), Some(json!(24))], "{door:?}");
        assert_eq!(stored.0["errors"], json!(2), "{door:?}");
    }
}

/// A value inside as many lists of one pair.
fn nested(depth: usize) -> AnyValue {
    (0..depth).fold(text("innermost"), |value, _| {
        let values = vec![attribute("deeper", value)];
        AnyValue { value: Some(Value::KvlistValue(KeyValueList { values })) }
    })
}

/// The same encoded, for depths at which an encoder would need as deep a stack.
fn nested_bytes(depth: usize) -> Vec<u8> {
    let field = |number: u8, bytes: Vec<u8>| {
        let mut framed = vec![number << 3 | 2];
        prost::encoding::encode_varint(bytes.len() as u64, &mut framed);
        [framed, bytes].concat()
    };
    // AnyValue.kvlist_value, KeyValueList.values, KeyValue.value
    let value = (0..depth).fold(Vec::new(), |value, _| field(6, field(1, field(2, value))));
    // Span.attributes, KeyValue.value
    field(9, field(2, value))
}

/// A span with more bytes after it, in one request.
fn request_with(trace: Trace, more: &[u8]) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let mut framed = vec![number << 3 | 2];
        prost::encoding::encode_varint(bytes.len() as u64, &mut framed);
        [&framed, bytes].concat()
    };
    let span = [&trace.span(1).encode_to_vec(), more].concat();
    field(1, &field(2, &field(2, &span)))
}

pub(super) async fn d12_deep_nesting_is_bounded(doors: &Doors) {
    // Deeper than anything that an SDK writes, and within the limit of protobuf's decoders.
    for door in Door::BOTH {
        let trace = Trace::new();
        let span = Span { attributes: vec![attribute("deep", nested(20))], ..trace.span(1) };
        let span = kept(doors, door, trace, span).await.span();
        assert!(span["attributes"].to_string().contains("innermost"), "{door:?}");
    }
    // Attributes are copied and not decoded, so any depth is kept; as JSON it is printed to the limit.
    let request = |trace| request_with(trace, &nested_bytes(10_000));
    let (through_grpc, through_http) = (Trace::new(), Trace::new());
    let call = Call::new(TRACES, &request(through_grpc));
    assert!(call.send(doors.open.engine.grpc()).await.unwrap().message().is_empty());
    let post = Request::post("/v1/traces", PROTOBUF, request(through_http));
    assert_eq!(post.send(doors.open.gateway.http()).await.unwrap().status, 200);
    for trace in [through_grpc, through_http] {
        let span = Stored::get(&doors.open.gateway, &trace.hex()).await.span();
        assert_eq!(span["name"], "operation 1");
        let levels = span["attributes"].to_string().matches("kvlistValue").count();
        assert!((20..=50).contains(&levels), "{levels} levels");
    }
    for (_, path) in SIGNALS {
        for open in ["[", r#"{"a":"#, r#"{"resourceSpans":["#] {
            let text = open.repeat(100_000);
            let answer = Request::post(path, JSON, text).send(doors.open.gateway.http()).await.unwrap();
            assert_eq!(answer.status, 400, "{answer:?}");
        }
    }
}
