//! J: OTLP/JSON, sent to the gateway and read back over the query API.

use serde_json::{Value, json};

use crate::{
    doors::Doors,
    http1::{Answer, JSON, Request},
    stored::Stored,
    telemetry::Trace,
};

const SPAN_ID: &str = "00000000000000ab";

/// A request with one span: valid ids, and what else is given.
fn request_with(trace: Trace, more: Value) -> Value {
    let mut span = json!({ "traceId": trace.hex(), "spanId": SPAN_ID });
    for (name, value) in more.as_object().unwrap() {
        span[name] = value.clone();
    }
    json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] })
}

async fn post(doors: &Doors, path: &str, body: &Value) -> Answer {
    Request::post(path, JSON, body.to_string()).send(doors.open.gateway.http()).await.unwrap()
}

/// Sends a request that must be accepted with nothing to say about it.
async fn accept(doors: &Doors, request: &Value) {
    let answer = post(doors, "/v1/traces", request).await;
    assert_eq!((answer.status, answer.text()), (200, "{}"), "{request}");
}

/// Sends a span with these fields and returns it as it is read back.
async fn kept(doors: &Doors, more: Value) -> Value {
    let trace = Trace::new();
    accept(doors, &request_with(trace, more)).await;
    Stored::get(&doors.open.gateway, &trace.hex()).await.span()
}

/// Sends one attribute's value and returns it as it is read back.
async fn kept_value(doors: &Doors, value: Value) -> Value {
    let span = kept(doors, json!({ "attributes": [{ "key": "k", "value": value }] })).await;
    assert_eq!(span["attributes"][0]["key"], "k", "{span}");
    span["attributes"][0]["value"].clone()
}

/// Checks that a span with these ids makes the whole request a bad one.
async fn assert_400(doors: &Doors, ids: Value) {
    let trace = Trace::new();
    let valid = request_with(trace, json!({ "name": "the valid one" }));
    let mut request = request_with(trace, ids.clone());
    let spans = &mut request["resourceSpans"][0]["scopeSpans"][0]["spans"];
    spans.as_array_mut().unwrap().push(valid["resourceSpans"][0]["scopeSpans"][0]["spans"][0].clone());
    let answer = post(doors, "/v1/traces", &request).await;
    assert_eq!((answer.status, answer.content_type()), (400, JSON), "{ids}: {}", answer.text());
    assert_eq!(answer.json()["code"], 3, "{}", answer.text());
    assert!(Stored::find(&doors.open.gateway, &trace.hex()).await.is_none(), "nothing of it is kept");
}

pub(super) async fn j1_ids_in_either_case_are_the_same(doors: &Doors) {
    let trace = Trace::new();
    let mixed = format!("{}{}", &trace.hex()[..16].to_uppercase(), &trace.hex()[16..]);
    for (trace_id, span_id) in [
        (trace.hex(), "00000000000000ab"),
        (trace.hex().to_uppercase(), "00000000000000AB"),
        (mixed, "00000000000000aB"),
    ] {
        let ids = json!({ "traceId": trace_id, "spanId": span_id, "parentSpanId": "ABCDEF0123456789" });
        accept(doors, &request_with(trace, ids)).await;
    }
    let span = Stored::get(&doors.open.gateway, &trace.hex()).await.span();
    let expected = json!({
        "traceId": trace.hex(), "spanId": SPAN_ID, "parentSpanId": "abcdef0123456789",
    });
    assert_eq!(span, expected, "one span, in lower case");
}

pub(super) async fn j2_base64_ids_are_refused(doors: &Doors) {
    assert_400(doors, json!({ "traceId": "W47/95gDgQPSabYzgT/GDA==" })).await;
    assert_400(doors, json!({ "spanId": "7uKXLmyPYbY=" })).await;
    // 32 letters as base64 of 24 bytes: not hexadecimal.
    assert_400(doors, json!({ "traceId": "W47/95gDgQPSabYzgT/GDAW47/95gDgQ" })).await;
}

pub(super) async fn j3_enums_are_integers(doors: &Doors) {
    for kind in [1, 2, 5, 99] {
        assert_eq!(kept(doors, json!({ "kind": kind })).await["kind"], json!(kind));
    }
    let span = kept(doors, json!({ "status": { "code": 2, "message": "no" } })).await;
    assert_eq!(span["status"], json!({ "message": "no", "code": 2 }));
}

pub(super) async fn j4_enum_names_are_accepted(doors: &Doors) {
    let names = json!({ "kind": "SPAN_KIND_SERVER", "status": { "code": "STATUS_CODE_ERROR" } });
    let span = kept(doors, names).await;
    assert_eq!((&span["kind"], &span["status"]), (&json!(2), &json!({ "code": 2 })));
    let answer = post(doors, "/v1/traces", &request_with(Trace::new(), json!({ "kind": "SERVER" }))).await;
    assert_eq!(answer.status, 400, "a name that there is not");
}

pub(super) async fn j5_unknown_fields_are_ignored(doors: &Doors) {
    let trace = Trace::new();
    let unknown = json!({ "deep": [{ "er": [1, "two", null, { "x": true }] }] });
    let mut request = request_with(
        trace,
        json!({
            "name": "known",
            "fromTheFuture": unknown,
            "events": [{ "name": "event", "fromTheFuture": unknown }],
            "attributes": [{ "key": "k", "value": { "stringValue": "v", "fromTheFuture": 1 }, "x": unknown }],
        }),
    );
    request["fromTheFuture"] = unknown.clone();
    request["resourceSpans"][0]["fromTheFuture"] = unknown.clone();
    request["resourceSpans"][0]["scopeSpans"][0]["fromTheFuture"] = unknown;
    accept(doors, &request).await;
    let span = Stored::get(&doors.open.gateway, &trace.hex()).await.span();
    let expected = json!({
        "traceId": trace.hex(), "spanId": SPAN_ID, "name": "known",
        "events": [{ "name": "event" }],
        "attributes": [{ "key": "k", "value": { "stringValue": "v" } }],
    });
    assert_eq!(span, expected);
}

pub(super) async fn j6_snake_case_names_are_unknown(doors: &Doors) {
    let trace = Trace::new();
    let span = json!({ "trace_id": trace.hex(), "span_id": SPAN_ID, "name": "of no ids" });
    let request = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] });
    let answer = post(doors, "/v1/traces", &request).await;
    assert_eq!(answer.status, 200);
    // 64-bit integers are written as text.
    assert_eq!(answer.json()["partialSuccess"]["rejectedSpans"], json!("1"), "{}", answer.text());
    assert!(Stored::find(&doors.open.gateway, &trace.hex()).await.is_none());
    let answer = post(doors, "/v1/traces", &json!({ "resource_spans": [{ "scope_spans": 7 }] })).await;
    assert_eq!((answer.status, answer.text()), (200, "{}"));
}

pub(super) async fn j7_64_bit_integers_are_text_or_numbers(doors: &Doors) {
    for (given, read) in [
        (json!("1700000000000000001"), json!("1700000000000000001")),
        (json!(1_700_000_000_000_000_001_u64), json!("1700000000000000001")),
        (json!(u64::MAX), json!("18446744073709551615")),
    ] {
        let span = kept(doors, json!({ "startTimeUnixNano": given, "endTimeUnixNano": given })).await;
        assert_eq!((&span["startTimeUnixNano"], &span["endTimeUnixNano"]), (&read, &read));
    }
    for (given, read) in [
        (json!("-9223372036854775808"), json!("-9223372036854775808")),
        (json!(i64::MAX), json!("9223372036854775807")),
        (json!(0), json!("0")),
    ] {
        assert_eq!(kept_value(doors, json!({ "intValue": given })).await, json!({ "intValue": read }));
    }
    for wrong in [json!("18446744073709551616"), json!(-1), json!(1.5), json!("1x")] {
        let request = request_with(Trace::new(), json!({ "startTimeUnixNano": wrong }));
        assert_eq!(post(doors, "/v1/traces", &request).await.status, 400, "{wrong}");
    }
}

pub(super) async fn j8_32_bit_integers_are_text_or_numbers(doors: &Doors) {
    for (flags, dropped) in [(json!("1"), json!("3")), (json!(1), json!(3))] {
        let more = json!({
            "flags": flags, "droppedAttributesCount": dropped, "droppedEventsCount": dropped,
            "droppedLinksCount": dropped,
        });
        let span = kept(doors, more).await;
        for (name, expected) in
            [("flags", 1), ("droppedAttributesCount", 3), ("droppedEventsCount", 3), ("droppedLinksCount", 3)]
        {
            assert_eq!(span[name], json!(expected), "{name}");
        }
    }
    let request = request_with(Trace::new(), json!({ "flags": "4294967296" }));
    assert_eq!(post(doors, "/v1/traces", &request).await.status, 400, "it does not fit");
}

pub(super) async fn j9_null_is_unset(doors: &Doors) {
    let names = [
        "traceState",
        "parentSpanId",
        "flags",
        "name",
        "kind",
        "startTimeUnixNano",
        "endTimeUnixNano",
        "attributes",
        "droppedAttributesCount",
        "events",
        "droppedEventsCount",
        "links",
        "droppedLinksCount",
        "status",
    ];
    let nulls: Value = names.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
    let span = kept(doors, nulls).await;
    assert_eq!(span.as_object().unwrap().len(), 2, "the two ids: {span}");

    let trace = Trace::new();
    let mut request = request_with(
        trace,
        json!({
            "events": [{ "name": null, "attributes": null, "timeUnixNano": null }],
            "attributes": [{ "key": "k", "value": null }],
        }),
    );
    let resource = &mut request["resourceSpans"][0];
    resource["resource"] = json!(null);
    resource["schemaUrl"] = json!(null);
    resource["scopeSpans"][0]["scope"] = json!({ "name": null, "version": null, "attributes": null });
    accept(doors, &request).await;
    assert_eq!(Stored::get(&doors.open.gateway, &trace.hex()).await.spans().len(), 1);

    for empty in [
        json!({ "resourceSpans": null, "resourceLogs": null }),
        json!({ "resourceSpans": [{ "scopeSpans": null }], "resourceLogs": [{ "scopeLogs": null }] }),
    ] {
        for path in ["/v1/traces", "/v1/logs"] {
            let answer = post(doors, path, &empty).await;
            assert_eq!((answer.status, answer.text()), (200, "{}"), "{empty}");
        }
    }
}

pub(super) async fn j10_doubles_are_numbers_or_text(doors: &Doors) {
    for (given, read) in [
        (json!(1.5), json!(1.5)),
        (json!("1.5"), json!(1.5)),
        (json!("1e300"), json!(1e300)),
        (json!("NaN"), json!("NaN")),
        (json!("Infinity"), json!("Infinity")),
        (json!("-Infinity"), json!("-Infinity")),
    ] {
        assert_eq!(kept_value(doors, json!({ "doubleValue": given })).await, json!({ "doubleValue": read }));
    }
    // A whole number may be read back with or without a fraction.
    for given in [json!(1), json!("1"), json!(1.0)] {
        let value = kept_value(doors, json!({ "doubleValue": given })).await;
        assert_eq!(value["doubleValue"].as_f64(), Some(1.0), "{given}");
    }
}

pub(super) async fn j11_empty_lists_may_be_left_out(doors: &Doors) {
    for name in ["arrayValue", "kvlistValue"] {
        for empty in [json!({}), json!({ "values": [] }), json!({ "values": null })] {
            let value = kept_value(doors, json!({ name: empty })).await;
            assert_eq!(value, json!({ name: {} }), "{empty}");
        }
    }
}

pub(super) async fn j12_an_attribute_may_have_no_value(doors: &Doors) {
    let attributes = json!([{ "key": "empty", "value": {} }, { "key": "none" }, { "key": "k", "value": {
        "arrayValue": { "values": [{}, { "stringValue": "" }] },
    } }]);
    let span = kept(doors, json!({ "attributes": attributes })).await;
    assert_eq!(span["attributes"], attributes);
}

pub(super) async fn j13_an_attribute_may_have_no_key(doors: &Doors) {
    let without = json!([{ "value": { "stringValue": "v" } }]);
    for attributes in [without.clone(), json!([{ "key": "", "value": { "stringValue": "v" } }])] {
        let span = kept(doors, json!({ "attributes": attributes })).await;
        assert_eq!(span["attributes"], without);
    }
}

pub(super) async fn j14_bytes_are_base64_in_either_alphabet(doors: &Doors) {
    for given in ["+/+/", "-_-_"] {
        assert_eq!(kept_value(doors, json!({ "bytesValue": given })).await, json!({ "bytesValue": "+/+/" }));
    }
    for given in ["AQ==", "AQ"] {
        assert_eq!(kept_value(doors, json!({ "bytesValue": given })).await, json!({ "bytesValue": "AQ==" }));
    }
    assert_eq!(kept_value(doors, json!({ "bytesValue": "" })).await, json!({ "bytesValue": "" }));
    let attributes = json!([{ "key": "k", "value": { "bytesValue": "?" } }]);
    let request = request_with(Trace::new(), json!({ "attributes": attributes }));
    assert_eq!(post(doors, "/v1/traces", &request).await.status, 400);
}

pub(super) async fn j15_an_empty_object_is_an_empty_request(doors: &Doors) {
    for path in ["/v1/traces", "/v1/logs"] {
        let answer = post(doors, path, &json!({})).await;
        assert_eq!((answer.status, answer.content_type(), answer.text()), (200, JSON, "{}"));
    }
}

pub(super) async fn j16_entity_references_need_no_schema_url(doors: &Doors) {
    let trace = Trace::new();
    let mut request = request_with(trace, json!({}));
    let references = json!([{ "type": "service", "idKeys": ["service.name"] }]);
    request["resourceSpans"][0]["resource"] = json!({ "entityRefs": references });
    accept(doors, &request).await;
    let stored = Stored::get(&doors.open.gateway, &trace.hex()).await;
    assert_eq!(stored.0["traces_data"]["resourceSpans"][0]["resource"]["entityRefs"], references);
}

pub(super) async fn j17_ids_that_are_not_hexadecimal_are_400(doors: &Doors) {
    let hex = Trace::new().hex();
    for trace_id in [&hex[1..], &hex[2..], &format!("{hex}00"), &format!("{}zz", &hex[2..])] {
        assert_400(doors, json!({ "traceId": trace_id })).await;
    }
    for span_id in ["ab", &SPAN_ID[1..], "00000000000000xy", "000000000000 ab"] {
        assert_400(doors, json!({ "spanId": span_id })).await;
        assert_400(doors, json!({ "parentSpanId": span_id })).await;
    }
}

pub(super) async fn j18_a_prefix_before_an_id_is_400(doors: &Doors) {
    let hex = Trace::new().hex();
    assert_400(doors, json!({ "traceId": format!("0x{hex}") })).await;
    assert_400(doors, json!({ "traceId": format!("0x{}", &hex[2..]) })).await;
    assert_400(doors, json!({ "spanId": format!("0x{}", &SPAN_ID[2..]) })).await;
}
