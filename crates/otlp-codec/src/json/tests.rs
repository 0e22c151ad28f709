//! The rules of OTLP/JSON, each on the smallest text that shows it.

use otlp_proto::opentelemetry::proto::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    common::v1::{AnyValue, ArrayValue, EntityRef, KeyValue, KeyValueList, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status},
};
use prost::Message as _;

use super::*;
use crate::wire::write_bytes_field;

/// Reads a request whose only span has these members.
fn try_span(members: &str) -> Result<Span, JsonError> {
    let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{members}}}]}}]}}]}}"#);
    let bytes = to_protobuf(Message::ExportTraceServiceRequest, json.as_bytes())?;
    let mut request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
    assert_eq!(request.encode_to_vec(), bytes, "canonical: {json}");
    Ok(request.resource_spans.remove(0).scope_spans.remove(0).spans.remove(0))
}

fn span(members: &str) -> Span {
    try_span(members).unwrap_or_else(|error| panic!("{error}"))
}

/// Reads an attribute value.
fn value(json: &str) -> Option<Value> {
    let mut span = span(&format!(r#""attributes":[{{"key":"k","value":{json}}}]"#));
    span.attributes.remove(0).value.unwrap().value
}

fn traces(resource_spans: Vec<ResourceSpans>) -> Vec<u8> {
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// Prints a request whose only span is this one, and returns its members.
fn printed(span: Span) -> String {
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let request = traces(vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }]);
    let json = String::from_utf8(from_protobuf(Message::TracesData, &request).unwrap()).unwrap();
    let members = json.strip_prefix(r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"#);
    members.and_then(|members| members.strip_suffix("}]}]}]}")).unwrap().to_owned()
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

const TRACE_ID: [u8; 16] =
    [0x5b, 0x8e, 0xff, 0xf7, 0x98, 3, 0x81, 3, 0xd2, 0x69, 0xb6, 0x33, 0x81, 0x3f, 0xc6, 0x0c];

#[test]
fn a_text_that_is_not_utf8_is_an_error_with_its_place() {
    let error = to_protobuf(Message::TracesData, b"{\n\"unknown\":\"\xff\"}").unwrap_err();
    assert_eq!((error.line(), error.column()), (2, 12), "{error}");
    assert!(error.to_string().contains("not UTF-8"), "{error}");
}

#[test]
fn j1_ids_are_hexadecimal_in_either_case_and_printed_in_lower_case() {
    for id in ["5B8EFFF798038103D269B633813FC60C", "5b8efff798038103d269b633813fc60c"] {
        assert_eq!(span(&format!(r#""traceId":"{id}""#)).trace_id, TRACE_ID);
    }
    let probe = Span { trace_id: TRACE_ID.into(), ..Span::default() };
    assert_eq!(printed(probe), r#""traceId":"5b8efff798038103d269b633813fc60c""#);
}

#[test]
fn j2_j17_j18_an_id_of_another_form_fails_the_request() {
    let invalid = [
        r#""traceId":"W47/95gDgQPSabYzgT/GDA==""#,
        r#""traceId":"5b8efff798038103d269b633813fc60""#,
        r#""traceId":"5b8efff798038103d269b633813fc6""#,
        r#""traceId":"5b8efff798038103d269b633813fc60g""#,
        r#""traceId":"0x5b8efff798038103d269b633813fc60c""#,
        r#""traceId":"+b8efff798038103d269b633813fc60c""#,
        r#""spanId":"5b8efff798038103d269b633813fc60c""#,
        r#""parentSpanId":"eee19b7ec3c1b17""#,
        r#""links":[{"spanId":"e"}]"#,
        r#""traceId":7"#,
    ];
    for members in invalid {
        let error = try_span(members).expect_err(members).to_string();
        assert!(error.contains("hexadecimal digits"), "{error}");
    }
}

#[test]
fn an_absent_or_empty_id_is_passed_on() {
    assert_eq!(span(r#""traceId":"","name":"n""#), span(r#""name":"n""#));
}

#[test]
fn j3_j4_enums_are_numbers_or_names() {
    assert_eq!(span(r#""kind":2"#).kind, 2);
    assert_eq!(span(r#""kind":"SPAN_KIND_SERVER""#).kind, 2);
    assert_eq!(span(r#""kind":-77"#).kind, -77);
    let status = span(r#""status":{"code":"STATUS_CODE_ERROR"}"#).status;
    assert_eq!(status, Some(Status { code: 2, message: String::new() }));
    for invalid in [r#""kind":"SERVER""#, r#""kind":2147483648"#, r#""kind":1.5"#, r#""kind":true"#] {
        assert!(try_span(invalid).is_err(), "{invalid}");
    }
}

#[test]
fn j5_j6_unknown_names_are_ignored() {
    let members = r#""new":{"deep":[1,{"a":null}]},"trace_id":"zz","name":"n","":0"#;
    assert_eq!(span(members), Span { name: "n".into(), ..Span::default() });
}

#[test]
fn j7_j8_integers_are_numbers_or_text() {
    for time in ["18446744073709551615", r#""18446744073709551615""#] {
        assert_eq!(span(&format!(r#""startTimeUnixNano":{time}"#)).start_time_unix_nano, u64::MAX);
    }
    for flags in ["257", r#""257""#, "257.0", "2.57e2", r#""2.57e2""#] {
        assert_eq!(span(&format!(r#""flags":{flags}"#)).flags, 257);
        assert_eq!(span(&format!(r#""droppedLinksCount":{flags}"#)).dropped_links_count, 257);
    }
    assert_eq!(value(r#"{"intValue":"-9223372036854775808"}"#), Some(Value::IntValue(i64::MIN)));
    for invalid in
        ["-1", "4294967296", "1.5", r#""""#, r#"" 1""#, r#""1 ""#, r#""one""#, "1e99", "true", "[]", "{}"]
    {
        assert!(try_span(&format!(r#""flags":{invalid}"#)).is_err(), "{invalid}");
    }
    assert!(try_span(r#""startTimeUnixNano":18446744073709551616"#).is_err());
    for invalid in ["-9223372036854775809", r#""-9223372036854775809""#, "9223372036854775808"] {
        let members = format!(r#""attributes":[{{"value":{{"intValue":{invalid}}}}}]"#);
        assert!(try_span(&members).is_err(), "{invalid}");
    }
}

#[test]
fn j7_64_bit_integers_are_printed_as_text() {
    let bytes = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 3,
            error_message: "no \"id\"\n".into(),
        }),
    }
    .encode_to_vec();
    let json = from_protobuf(Message::ExportTraceServiceResponse, &bytes).unwrap();
    assert_eq!(
        String::from_utf8(json).unwrap(),
        r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no \"id\"\n"}}"#
    );
}

#[test]
fn j9_null_means_unset() {
    let names = [
        "traceId",
        "spanId",
        "traceState",
        "parentSpanId",
        "name",
        "kind",
        "startTimeUnixNano",
        "attributes",
        "droppedAttributesCount",
        "events",
        "links",
        "status",
        "flags",
    ];
    for name in names {
        assert_eq!(span(&format!(r#""{name}":null"#)), Span::default(), "{name}");
    }
    assert_eq!(to_protobuf(Message::ExportTraceServiceRequest, br#"{"resourceSpans":null}"#), Ok(vec![]));
    let json = br#"{"resourceSpans":[{"resource":null,"scopeSpans":null,"schemaUrl":null}]}"#;
    assert_eq!(to_protobuf(Message::TracesData, json), Ok(traces(vec![ResourceSpans::default()])));
    assert_eq!(value(r#"{"stringValue":"s","intValue":null}"#), Some(Value::StringValue("s".into())));
}

#[test]
fn null_in_a_list_of_messages_is_an_empty_one() {
    let list = ArrayValue { values: vec![AnyValue::default()] };
    assert_eq!(value(r#"{"arrayValue":{"values":[null]}}"#), Some(Value::ArrayValue(list)));
}

#[test]
fn j10_doubles_are_numbers_or_text() {
    let cases = [
        ("1", 1.0),
        (r#""1.5""#, 1.5),
        ("-0.0", -0.0),
        ("-0", -0.0),
        ("1e308", 1e308),
        ("18446744073709551616", 18_446_744_073_709_551_616.0),
        (r#""Infinity""#, f64::INFINITY),
        (r#""-Infinity""#, f64::NEG_INFINITY),
        // Half a unit in the last place decides: not every parser gets this one right.
        ("9007199254740993.0", 9_007_199_254_740_992.0),
    ];
    for (json, expected) in cases {
        let Some(Value::DoubleValue(double)) = value(&format!(r#"{{"doubleValue":{json}}}"#)) else {
            panic!("{json}: no double")
        };
        assert_eq!(double.to_bits(), expected.to_bits(), "{json}");
    }
    assert!(matches!(value(r#"{"doubleValue":"NaN"}"#), Some(Value::DoubleValue(double)) if double.is_nan()));
    for invalid in [r#""nan""#, r#""inf""#, r#""""#, "true", r#""1.5 ""#] {
        assert!(
            try_span(&format!(r#""attributes":[{{"value":{{"doubleValue":{invalid}}}}}]"#)).is_err(),
            "{invalid}"
        );
    }
}

#[test]
fn j10_doubles_are_printed_so_that_they_read_back() {
    for (double, expected) in [
        (0.1, "0.1"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (1e300, "1e300"),
        (f64::NAN, "\"NaN\""),
        (f64::INFINITY, "\"Infinity\""),
        (f64::NEG_INFINITY, "\"-Infinity\""),
    ] {
        let probe = Span { attributes: vec![attribute("k", Value::DoubleValue(double))], ..Span::default() };
        let expected = format!(r#""attributes":[{{"key":"k","value":{{"doubleValue":{expected}}}}}]"#);
        assert_eq!(printed(probe), expected);
    }
}

#[test]
fn j11_an_omitted_list_is_empty() {
    assert_eq!(value(r#"{"arrayValue":{}}"#), Some(Value::ArrayValue(ArrayValue::default())));
    assert_eq!(value(r#"{"kvlistValue":{}}"#), Some(Value::KvlistValue(KeyValueList::default())));
}

#[test]
fn j12_j13_key_and_value_may_be_missing() {
    let attributes =
        span(r#""attributes":[{"key":"k","value":{}},{"key":"k"},{"value":{"intValue":1}},{}]"#).attributes;
    let empty_value = KeyValue { key: "k".into(), value: Some(AnyValue::default()), ..KeyValue::default() };
    let no_value = KeyValue { key: "k".into(), ..KeyValue::default() };
    assert_eq!(attributes, [empty_value, no_value, attribute("", Value::IntValue(1)), KeyValue::default()]);
}

#[test]
fn a_member_of_a_oneof_is_kept_as_its_default() {
    let cases = [
        (r#"{"stringValue":""}"#, Value::StringValue(String::new())),
        (r#"{"boolValue":false}"#, Value::BoolValue(false)),
        (r#"{"intValue":"0"}"#, Value::IntValue(0)),
        (r#"{"doubleValue":0.0}"#, Value::DoubleValue(0.0)),
        (r#"{"bytesValue":""}"#, Value::BytesValue(vec![])),
    ];
    for (json, expected) in cases {
        assert_eq!(value(json), Some(expected.clone()));
        let probe = Span { attributes: vec![attribute("", expected)], ..Span::default() };
        assert_eq!(printed(probe), format!(r#""attributes":[{{"value":{json}}}]"#));
    }
}

#[test]
fn j14_base64_is_read_in_both_alphabets_with_or_without_padding() {
    let expected = Value::BytesValue(vec![0xfb, 0xef, 0xff, 0x01]);
    for text in ["++//AQ==", "++//AQ", "--__AQ==", "--__AQ"] {
        assert_eq!(value(&format!(r#"{{"bytesValue":"{text}"}}"#)), Some(expected.clone()), "{text}");
    }
    assert!(try_span(r#""attributes":[{"value":{"bytesValue":"+-AA"}}]"#).is_err());
    let probe = Span { attributes: vec![attribute("", expected)], ..Span::default() };
    assert_eq!(printed(probe), r#""attributes":[{"value":{"bytesValue":"++//AQ=="}}]"#);
}

#[test]
fn j15_an_empty_object_is_an_empty_request() {
    for message in [Message::ExportTraceServiceRequest, Message::ExportLogsServiceRequest, Message::Status] {
        assert_eq!(to_protobuf(message, b" {} "), Ok(vec![]));
        assert_eq!(from_protobuf(message, &[]), Ok(b"{}".to_vec()));
    }
}

#[test]
fn j16_entity_refs_need_no_schema_url() {
    let json = br#"{"resourceSpans":[{"resource":{"entityRefs":[{"type":"host","idKeys":["a",""]}]}}]}"#;
    let entity =
        EntityRef { r#type: "host".into(), id_keys: vec!["a".into(), String::new()], ..EntityRef::default() };
    let resource = Some(Resource { entity_refs: vec![entity], ..Resource::default() });
    let expected = traces(vec![ResourceSpans { resource, ..ResourceSpans::default() }]);
    assert_eq!(to_protobuf(Message::ExportTraceServiceRequest, json), Ok(expected.clone()));
    assert_eq!(from_protobuf(Message::TracesData, &expected), Ok(json.to_vec()));
}

#[test]
fn d12_deep_nesting_is_an_error_and_no_overflow() {
    let nested = |depth: usize| {
        let open = r#"{"arrayValue":{"values":["#.repeat(depth);
        try_span(&format!(r#""attributes":[{{"value":{open}{}}}]"#, "]}}".repeat(depth)))
    };
    assert!(nested(35).is_ok());
    assert!(nested(1_000_000).unwrap_err().to_string().contains("recursion limit"));
    let unknown = format!(r#""unknown":{}"#, "[".repeat(1_000_000));
    assert!(try_span(&unknown).is_err());
}

#[test]
fn d12_lists_and_objects_nest_to_128_and_no_further() {
    let resource = |value: &str| {
        let lists = format!("{}{value}{}", r#"{"arrayValue":{"values":["#.repeat(40), "]}}".repeat(40));
        let json = format!(r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"value":{lists}}}]}}}}]}}"#);
        to_protobuf(Message::TracesData, json.as_bytes())
    };
    // The innermost of these is the 127th.
    assert!(resource("{}").is_ok());
    for (deep, too_deep) in [
        (r#"{"arrayValue":{}}"#, r#"{"arrayValue":{"values":[]}}"#),
        (r#"{"unknown":[]}"#, r#"{"unknown":[{}]}"#),
        (r#"{"unknown":{"a":1}}"#, r#"{"unknown":{"a":[]}}"#),
    ] {
        assert!(resource(deep).is_ok(), "{deep}");
        let error = resource(too_deep).expect_err(too_deep).to_string();
        assert!(error.contains("deeper than 128"), "{error}");
    }
}

#[test]
fn d12_deep_protobuf_is_printed_to_the_limit_and_is_no_overflow() {
    let nested = |depth| {
        let mut any = AnyValue { value: Some(Value::BoolValue(true)) };
        for _ in 0..depth {
            any = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![any] })) };
        }
        let attributes = vec![KeyValue { value: Some(any), ..KeyValue::default() }];
        let resource = Some(Resource { attributes, ..Resource::default() });
        let bytes = traces(vec![ResourceSpans { resource, ..ResourceSpans::default() }]);
        String::from_utf8(from_protobuf(Message::TracesData, &bytes).unwrap()).unwrap()
    };
    assert!(nested(35).contains("true"));
    let cut = nested(1000);
    assert!(!cut.contains("true"), "{cut}");
    // What is printed can be read, also within another text.
    assert!(to_protobuf(Message::TracesData, cut.as_bytes()).is_ok(), "{cut}");
    assert!(serde_json::from_str::<serde_json::Value>(&format!("[[[{cut}]]]")).is_ok(), "{cut}");
}

#[test]
fn of_repeated_names_the_last_one_counts() {
    assert_eq!(
        span(r#""name":"a","kind":3,"name":"b","kind":0"#),
        Span { name: "b".into(), ..Span::default() }
    );
    assert_eq!(span(r#""events":[{},{}],"events":[]"#), Span::default());
    assert_eq!(value(r#"{"stringValue":"s","boolValue":true,"intValue":1}"#), Some(Value::IntValue(1)));
    assert_eq!(
        value(r#"{"arrayValue":{"values":[{}]},"arrayValue":{}}"#),
        Some(Value::ArrayValue(ArrayValue::default()))
    );
}

#[test]
fn fields_are_written_in_ascending_order_whatever_the_order_of_the_text() {
    let sorted = span(
        r#""name":"n","attributes":[{"key":"k","value":{"intValue":1}}],"status":{"message":"m","code":2}"#,
    );
    let mixed = span(
        r#""status":{"code":2,"message":"m"},"attributes":[{"value":{"intValue":1},"key":"k"}],"name":"n""#,
    );
    assert_eq!(sorted, mixed);
}

#[test]
fn errors_say_where_and_what_and_stay_short() {
    let json = "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{},\n{\"kind\":\"BAD\"}]}]}]}";
    let error = to_protobuf(Message::ExportTraceServiceRequest, json.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to read OTLP/JSON at line 2, column 13, in \
         ExportTraceServiceRequest.resourceSpans[0].scopeSpans[0].spans[1].kind: invalid value: string \"BAD\", \
         expected the number or name of an enum value like SPAN_KIND_UNSPECIFIED"
    );
    assert_eq!((error.line(), error.column()), (2, 13));
    let error = try_span(&format!(r#""kind":"{}""#, "x".repeat(10_000))).unwrap_err();
    assert!(error.to_string().len() < 1024, "{error}");
}

#[test]
fn an_error_names_what_is_there_and_what_is_expected() {
    let cases = [
        (r#""name":7"#, "invalid value: number 7, expected a string"),
        (r#""name":true"#, "invalid value: true, expected a string"),
        (r#""name":[]"#, "invalid value: a list, expected a string"),
        (r#""status":"OK""#, "invalid value: string \"OK\", expected an object (Status)"),
        (r#""attributes":{}"#, "invalid value: an object, expected a list of: an object (KeyValue)"),
        (r#""attributes":[7]"#, "invalid value: number 7, expected an object (KeyValue)"),
        (r#""kind":1e999"#, "number out of range"),
        (r#""kind":nul"#, "expected value"),
        (r#""kind" 1"#, "expected `:`"),
        (r#""kind":1;"#, "expected `,` or `}`"),
        (r#""links":[{};"#, "expected `,` or `]`"),
        ("kind:1", "key must be a string"),
    ];
    for (members, problem) in cases {
        let error = try_span(members).expect_err(members).to_string();
        assert!(error.ends_with(&format!(": {problem}")), "{members}: {error}");
    }
    let error = to_protobuf(Message::TracesData, b"{\n").unwrap_err();
    assert_eq!((error.line(), error.column()), (1, 2), "{error}");
    assert!(error.to_string().contains("the text ends"), "{error}");
}

#[test]
fn what_is_no_json_is_an_error_in_the_fields_of_a_message() {
    for members in [
        r#""kind":01"#,
        r#""kind":-"#,
        r#""kind":1."#,
        r#""kind":.5"#,
        r#""kind":+1"#,
        r#""kind":1e"#,
        r#""kind":0x1"#,
        r#""kind":1,"#,
        r#""name":"a"#,
        r#""name":"\"#,
        r#""name":"\x""#,
        r#""name":"\u00g0""#,
        "\"name\":\"a\nb\"",
        "\"name\":\"12345678\u{1f}\"",
        "\"na\u{0}me\":1",
        "'name':1",
        "\u{a0}\"name\":\"\"",
        r#""links":[{},]"#,
        r#""links":[,]"#,
    ] {
        assert!(try_span(members).is_err(), "{members}");
    }
}

/// JSON can write it; UTF-8, and with it protobuf, cannot.
#[test]
fn half_of_a_surrogate_pair_is_an_error_where_it_is_read() {
    for half in [r"\ud800", r"\udc00", r"\ud800x", r"\ud800\u0041", r"\ud800\ud800", r"\ud800\n"] {
        let error = try_span(&format!(r#""name":"{half}""#)).expect_err(half).to_string();
        assert!(error.contains("surrogate"), "{error}");
        assert!(try_span(&format!(r#""{half}":1"#)).is_err(), "{half}");
        assert_eq!(span(&format!(r#""unknown":"{half}""#)), Span::default());
    }
    assert_eq!(span(r#""name":"\ud83d\uDE00\u00e9\/\b\f\n\r\t\"\\""#).name, "😀é/\u{8}\u{c}\n\r\t\"\\");
    assert_eq!(span(r#""n\u0061me":"n""#).name, "n");
}

#[test]
fn what_is_not_an_object_is_an_error() {
    for json in [
        "",
        "null",
        "[]",
        "1",
        "{",
        "{} {}",
        "{\"resourceSpans\":{}}",
        "{\"resourceSpans\":[1]}",
        "\u{feff}{}",
    ] {
        assert!(to_protobuf(Message::TracesData, json.as_bytes()).is_err(), "{json:?}");
    }
    assert!(to_protobuf(Message::Status, b"{\"message\":\"\xff\"}").is_err());
}

#[test]
fn a_message_field_that_occurs_twice_is_printed_merged() {
    let part = |name: &str| Resource {
        attributes: vec![attribute(name, Value::BoolValue(true))],
        ..Resource::default()
    };
    let twice = [part("a"), part("b")].map(|resource| {
        ResourceSpans { resource: Some(resource), ..ResourceSpans::default() }.encode_to_vec()
    });
    let mut request = Vec::new();
    write_bytes_field(1, &twice.concat(), &mut request);
    let merged = ExportTraceServiceRequest::decode(&request[..]).unwrap().encode_to_vec();
    assert_ne!(request, merged);
    assert_eq!(from_protobuf(Message::TracesData, &request), from_protobuf(Message::TracesData, &merged));
}

#[test]
fn of_the_members_of_a_oneof_on_the_wire_the_last_one_is_printed() {
    let scalar = |value| AnyValue { value: Some(value) }.encode_to_vec();
    let list =
        |value| scalar(Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(value) }] }));
    let cases = [
        [scalar(Value::StringValue("s".into())), scalar(Value::IntValue(1))].concat(),
        [list(Value::IntValue(1)), list(Value::IntValue(2))].concat(),
        [list(Value::IntValue(1)), scalar(Value::IntValue(5)), list(Value::IntValue(2))].concat(),
    ];
    for any in cases {
        let print = |any: &[u8]| {
            let mut bytes = Vec::new();
            for number in [2, 1, 1, 1] {
                let inner = std::mem::take(&mut bytes);
                let content = if number == 2 { any } else { &inner };
                write_bytes_field(number, content, &mut bytes);
            }
            String::from_utf8(from_protobuf(Message::TracesData, &bytes).unwrap()).unwrap()
        };
        let merged = AnyValue::decode(&any[..]).unwrap().encode_to_vec();
        assert_eq!(print(&any), print(&merged));
    }
}

#[test]
fn status_is_translated_without_details() {
    let json = br#"{"code":3,"message":"bad","details":[{"@type":"x"}]}"#;
    let bytes = to_protobuf(Message::Status, json).unwrap();
    assert_eq!(bytes, [0x08, 3, 0x12, 3, b'b', b'a', b'd']);
    assert_eq!(from_protobuf(Message::Status, &bytes), Ok(br#"{"code":3,"message":"bad"}"#.to_vec()));
}

#[test]
fn unknown_fields_are_dropped_and_broken_text_is_replaced() {
    let bytes = [0x08, 3, 0x12, 2, 0xff, b'x', 0xa0, 0x06, 1];
    let json = from_protobuf(Message::Status, &bytes).unwrap();
    assert_eq!(String::from_utf8(json).unwrap(), "{\"code\":3,\"message\":\"\u{fffd}x\"}");
}

#[test]
fn malformed_protobuf_is_an_error() {
    for bytes in [&[0x0a, 0x01][..], &[0x08, 0x01]] {
        assert!(from_protobuf(Message::TracesData, bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn what_is_malformed_inside_is_printed_empty_and_takes_nothing_along() {
    let span = |name: &str, attributes: &[&[u8]]| {
        let mut span = Vec::new();
        write_bytes_field(5, name.as_bytes(), &mut span);
        attributes.iter().for_each(|attribute| write_bytes_field(9, attribute, &mut span));
        span
    };
    let wrap = |number, message: &[u8]| {
        let mut outer = Vec::new();
        write_bytes_field(number, message, &mut outer);
        outer
    };
    // A key that ends beyond its message, between two that are well.
    let well = wrap(1, b"well");
    let broken = span("broken", &[&well, b"\x0a\x7fcut", &well]);
    let spans = [wrap(2, &broken), wrap(2, &span("whole", &[&well]))].concat();
    let data = wrap(1, &wrap(2, &spans));
    let text = String::from_utf8(from_protobuf(Message::TracesData, &data).unwrap()).unwrap();
    let expected = concat!(
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":["#,
        r#"{"name":"broken","attributes":[{"key":"well"},{},{"key":"well"}]},"#,
        r#"{"name":"whole","attributes":[{"key":"well"}]}]}]}]}"#
    );
    assert_eq!(text, expected);
}
