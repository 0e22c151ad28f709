//! The rules of splitting, each on the smallest request that shows it.

use otlp_proto::opentelemetry::proto::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData},
};
use prost::Message;

use super::*;
use crate::{
    facts::{Origin, Root},
    wire::write_bytes_field,
};

fn text(key: &str, value: &str) -> KeyValue {
    any(key, Value::StringValue(value.into()))
}

fn any(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn resource(attributes: Vec<KeyValue>) -> Option<Resource> {
    Some(Resource { attributes, ..Resource::default() })
}

fn span(trace: u8, id: u8) -> Span {
    Span { trace_id: vec![trace; 16], span_id: vec![id; 8], ..Span::default() }
}

fn spans_of(attributes: Vec<KeyValue>, spans: Vec<Span>) -> ResourceSpans {
    ResourceSpans {
        resource: resource(attributes),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

fn traces(resource_spans: Vec<ResourceSpans>) -> Vec<u8> {
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn split_spans(spans: Vec<Span>) -> Split {
    split_traces(&traces(vec![spans_of(vec![], spans)]), &SplitOptions::default()).unwrap()
}

fn logs(attributes: Vec<KeyValue>, log_records: Vec<LogRecord>) -> Vec<u8> {
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs =
        vec![ResourceLogs { resource: resource(attributes), scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

fn with_keys(names: &[&str]) -> SplitOptions {
    SplitOptions::new(names.iter().map(|name| name.to_string()).collect())
}

fn bytes_field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    write_bytes_field(number, content, &mut output);
    output
}

#[test]
fn an_empty_request_has_no_parts() {
    assert_eq!(split_traces(&[], &SplitOptions::default()), Ok(Split::default()));
    let without_spans = traces(vec![spans_of(vec![text("a", "b")], vec![])]);
    assert_eq!(split_traces(&without_spans, &SplitOptions::default()), Ok(Split::default()));
}

#[test]
fn a_part_holds_the_spans_of_one_trace_under_their_resources() {
    let request = traces(vec![
        spans_of(vec![text("service.name", "a")], vec![span(1, 1), span(2, 2), span(1, 3)]),
        spans_of(vec![text("service.name", "b")], vec![span(2, 4)]),
        spans_of(vec![text("service.name", "c")], vec![span(1, 5)]),
    ]);
    let split = split_traces(&request, &SplitOptions::default()).unwrap();
    assert_eq!(split.received, 5);
    let subjects: Vec<_> = split.parts.iter().map(|part| part.subject.clone()).collect();
    assert_eq!(subjects, [Subject::Trace([1; 16]), Subject::Trace([2; 16])], "order of appearance");
    let expected = TracesData {
        resource_spans: vec![
            spans_of(vec![text("service.name", "a")], vec![span(1, 1), span(1, 3)]),
            spans_of(vec![text("service.name", "c")], vec![span(1, 5)]),
        ],
    };
    assert_eq!(split.parts[0].payload, expected.encode_to_vec());
    let identity = |id: u8| identity::of_span([id; 8], 0);
    assert_eq!(split.parts[0].identities, [identity(1), identity(3), identity(5)]);
    assert_eq!(split.parts[1].identities, [identity(2), identity(4)]);
}

#[test]
fn unknown_fields_and_unusual_encodings_survive_byte_for_byte() {
    let unknown = bytes_field(900, b"later");
    // Field 900 before and behind, a group, and a two-byte varint for kind 1.
    let mut own_span = [unknown.clone(), span(1, 1).encode_to_vec(), vec![0x30, 0x81, 0x00]].concat();
    own_span.extend([0xbb, 0x01, 0x08, 0x01, 0xbc, 0x01]);
    let scope_head = [bytes_field(1, b"\x0a\x01s"), unknown.clone()];
    let scope = [&scope_head[0], &bytes_field(2, &own_span), &scope_head[1]].map(Vec::as_slice).concat();
    let resource_head = [unknown, bytes_field(1, &[]), bytes_field(3, b"url")];
    let message =
        [&resource_head[0][..], &bytes_field(2, &scope), &resource_head[1], &resource_head[2]].concat();
    let request = bytes_field(1, &message);

    let split = split_traces(&request, &SplitOptions::default()).unwrap();
    let scope = [scope_head.concat(), bytes_field(2, &own_span)].concat();
    let expected = bytes_field(1, &[resource_head.concat(), bytes_field(2, &scope)].concat());
    assert_eq!(split.parts[0].payload, expected);
    assert_eq!(split.parts[0].identities, [identity::of_span([1; 8], 1)]);
}

#[test]
fn spans_with_invalid_ids_are_rejected_and_the_rest_is_kept() {
    use RejectReason::{InvalidParentSpanId, InvalidSpanId, InvalidTraceId};
    // Trace id, span id and parent span id, each as length and value of its bytes.
    let cases = [
        ((16, 1), (8, 1), (0, 0), None),
        ((16, 1), (8, 1), (8, 1), None),
        ((16, 1), (8, 1), (8, 0), None),
        ((16, 0), (8, 1), (0, 0), Some(InvalidTraceId)),
        ((0, 0), (8, 1), (0, 0), Some(InvalidTraceId)),
        ((15, 1), (8, 1), (0, 0), Some(InvalidTraceId)),
        ((16, 1), (8, 0), (0, 0), Some(InvalidSpanId)),
        ((16, 1), (0, 0), (0, 0), Some(InvalidSpanId)),
        ((16, 1), (9, 1), (0, 0), Some(InvalidSpanId)),
        ((16, 1), (8, 1), (7, 1), Some(InvalidParentSpanId)),
        ((16, 1), (8, 1), (9, 0), Some(InvalidParentSpanId)),
    ];
    let id = |(length, byte): (usize, u8)| vec![byte; length];
    for (trace_id, span_id, parent, reason) in cases {
        let probe = Span {
            trace_id: id(trace_id),
            span_id: id(span_id),
            parent_span_id: id(parent),
            ..Span::default()
        };
        let split = split_spans(vec![span(9, 9), probe.clone()]);
        let kept: u32 = split.parts.iter().map(|part| part.facts.spans).sum();
        assert_eq!(u64::from(kept) + split.rejected.total(), split.received, "{probe:?}");
        for possible in RejectReason::ALL {
            let expected = u64::from(Some(possible) == reason);
            assert_eq!(split.rejected.count(possible), expected, "{possible} of {probe:?}");
        }
    }
}

#[test]
fn the_message_about_rejected_spans_is_short_and_names_a_few() {
    assert_eq!(split_spans(vec![span(1, 1)]).rejected.error_message(), "");
    let nameless = |id: u8| Span { span_id: vec![id; 8], ..Span::default() };
    let bad_parent = Span { parent_span_id: vec![7; 3], ..span(1, 6) };
    let message = split_spans(vec![nameless(5), bad_parent]).rejected.error_message();
    assert_eq!(
        message,
        "rejected spans: 1 because trace_id must be 16 bytes and not all zero; \
         1 because parent_span_id must be empty or 8 bytes; \
         for example trace_id (empty), span_id 0505050505050505 \
         and trace_id 01010101010101010101010101010101, span_id 0606060606060606, parent_span_id 070707"
    );

    let long = Span {
        trace_id: vec![1; 5000],
        span_id: vec![2; 5000],
        parent_span_id: vec![3; 5000],
        ..Span::default()
    };
    let all = [(16, 8), (16, 5000), (5000, 5000)].map(|(trace, own)| Span {
        trace_id: vec![1; trace],
        span_id: vec![2; own],
        ..long.clone()
    });
    let rejected = split_spans(all.into_iter().cycle().take(300).collect()).rejected;
    assert_eq!(rejected.total(), 300);
    assert!(rejected.error_message().len() < 1024, "{}", rejected.error_message());
}

#[test]
fn facts_describe_the_spans_of_the_part() {
    let request = traces(vec![
        spans_of(
            vec![text("service.name", "shop"), text("deployment.environment.name", "prod")],
            vec![
                Span {
                    parent_span_id: vec![1; 8],
                    start_time_unix_nano: 20,
                    end_time_unix_nano: 50,
                    ..span(1, 2)
                },
                Span {
                    name: "GET /".into(),
                    start_time_unix_nano: 10,
                    end_time_unix_nano: 40,
                    status: Some(Status { code: 2, message: "no".into() }),
                    ..span(1, 1)
                },
            ],
        ),
        spans_of(vec![text("service.name", "bank")], vec![Span { name: "second root".into(), ..span(1, 3) }]),
        spans_of(
            vec![text("service.name", "bank")],
            vec![Span { status: Some(Status::default()), ..span(1, 4) }],
        ),
        spans_of(vec![text("service.name", "elsewhere")], vec![span(2, 1)]),
    ]);
    let split = split_traces(&request, &SplitOptions::default()).unwrap();
    let origin = |service: &str, environment: &str| Origin {
        service: service.into(),
        environment: environment.into(),
    };
    let expected = Facts {
        spans: 4,
        errors: 1,
        first_event_unix_nano: Some(10),
        last_event_unix_nano: Some(50),
        origins: vec![origin("bank", ""), origin("shop", "prod")],
        root: Some(Root { service: "shop".into(), name: "GET /".into() }),
        ..Facts::default()
    };
    assert_eq!(split.parts[0].facts, expected);
}

#[test]
fn a_span_that_ends_before_it_starts_ends_at_its_start() {
    let times = |start_time_unix_nano, end_time_unix_nano| {
        let split = split_spans(vec![Span { start_time_unix_nano, end_time_unix_nano, ..span(1, 1) }]);
        let facts = &split.parts[0].facts;
        (facts.first_event_unix_nano, facts.last_event_unix_nano)
    };
    assert_eq!(times(30, 20), (Some(30), Some(30)));
    assert_eq!(times(u64::MAX, 1), (Some(u64::MAX), Some(u64::MAX)));
    assert_eq!(times(0, 20), (Some(20), Some(20)));
    assert_eq!(times(30, 0), (Some(30), Some(30)));
    assert_eq!(times(0, 0), (None, None));
}

#[test]
fn a_parent_of_eight_zero_bytes_makes_a_root() {
    let root = |parent_span_id| {
        let split = split_spans(vec![Span { parent_span_id, ..span(1, 1) }]);
        split.parts[0].facts.root.is_some()
    };
    assert!(root(vec![]));
    assert!(root(vec![0; 8]));
    assert!(!root(vec![1; 8]));
}

#[test]
fn service_and_environment_have_fallbacks() {
    let origin = |attributes| {
        let request = traces(vec![spans_of(attributes, vec![span(1, 1)])]);
        let split = split_traces(&request, &SplitOptions::default()).unwrap();
        let [Origin { service, environment }] = &split.parts[0].facts.origins[..] else {
            panic!("one origin expected: {split:?}")
        };
        (service.clone(), environment.clone())
    };
    let of = |service: &str, environment: &str| (service.to_owned(), environment.to_owned());
    assert_eq!(origin(vec![]), of("unknown_service", ""));
    assert_eq!(origin(vec![any("service.name", Value::IntValue(1))]), of("unknown_service", ""));
    assert_eq!(origin(vec![text("service.name", "")]), of("unknown_service", ""));
    assert_eq!(origin(vec![text("service.name", &"ä".repeat(300))]), of(&"ä".repeat(128), ""));
    let old = text("deployment.environment", "old");
    let new = text("deployment.environment.name", "new");
    assert_eq!(origin(vec![old.clone()]), of("unknown_service", "old"));
    assert_eq!(origin(vec![old, new]), of("unknown_service", "new"));
}

#[test]
fn a_resource_that_occurs_twice_is_the_union_of_both() {
    let one = bytes_field(1, &resource(vec![text("service.name", "a")]).unwrap().encode_to_vec());
    let two = bytes_field(1, &resource(vec![text("deployment.environment", "b")]).unwrap().encode_to_vec());
    let scope = bytes_field(2, &bytes_field(2, &span(1, 1).encode_to_vec()));
    let request = bytes_field(1, &[&one[..], &scope, &two].concat());
    let split = split_traces(&request, &SplitOptions::default()).unwrap();
    let expected = Origin { service: "a".into(), environment: "b".into() };
    assert_eq!(split.parts[0].facts.origins, [expected]);
    assert_eq!(split.parts[0].payload, bytes_field(1, &[&one[..], &two, &scope].concat()));
}

#[test]
fn keys_of_spans_and_their_resources_are_found() {
    let attributes = vec![text("order.id", "o1"), any("user.id", Value::IntValue(-7))];
    let probe = Span { attributes, ..span(1, 1) };
    let request = traces(vec![spans_of(vec![any("flag", Value::BoolValue(true))], vec![probe])]);
    let keys = |options: &SplitOptions| split_traces(&request, options).unwrap().parts[0].facts.keys.clone();
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    assert_eq!(
        keys(&with_keys(&["order.id", "user.id", "flag", "absent"])),
        [("order.id", "o1"), ("user.id", "-7"), ("flag", "true")].map(pair).into()
    );
    assert!(keys(&SplitOptions::default()).is_empty());
}

#[test]
fn a_log_belongs_to_its_trace_else_to_its_first_key_else_to_nothing() {
    let key = |name: &str, value: &str| Subject::Key { name: name.into(), value: value.into() };
    let options = with_keys(&["order", "user"]);
    let subject = |own: Vec<KeyValue>, of_resource: Vec<KeyValue>, trace_id: Vec<u8>| {
        let record = LogRecord { trace_id, attributes: own, ..LogRecord::default() };
        let split = split_logs(&logs(of_resource, vec![record]), &options).unwrap();
        assert_eq!(split.rejected.total(), 0);
        split.parts[0].subject.clone()
    };
    let both = vec![text("user", "u"), text("order", "o")];
    assert_eq!(subject(both.clone(), vec![], vec![3; 16]), Subject::Trace([3; 16]));
    for invalid in [vec![], vec![0; 16], vec![3; 15], vec![3; 17]] {
        assert_eq!(subject(both.clone(), vec![], invalid), key("order", "o"));
    }
    assert_eq!(subject(vec![text("user", "u")], vec![text("order", "o")], vec![]), key("user", "u"));
    assert_eq!(subject(vec![text("else", "x")], both, vec![]), key("order", "o"));
    assert_eq!(subject(vec![text("else", "x")], vec![], vec![]), Subject::None);
}

#[test]
fn a_log_that_would_belong_to_nothing_belongs_to_what_its_text_names() {
    let patterns = [r"trace=(?<trace_id>[0-9a-f]{32})\b", r"order (?<order>\d+)"].map(str::to_owned);
    let options = with_keys(&["order", "user"]).with_text_patterns(&patterns, 64).unwrap();
    let key = |name: &str, value: &str| Subject::Key { name: name.into(), value: value.into() };
    let split = |body: &str, trace_id: Vec<u8>, own: Vec<KeyValue>, of_resource: Vec<KeyValue>| {
        let body = Some(AnyValue { value: Some(Value::StringValue(body.into())) });
        let record = LogRecord { body, trace_id, attributes: own, ..LogRecord::default() };
        let request = logs(of_resource, vec![record]);
        let mut split = split_logs(&request, &options).unwrap();
        let part = split.parts.remove(0);
        assert_eq!(part.payload, request, "its bytes stay as they are");
        (part.subject, split.named_in_text, part.facts.keys)
    };
    let text_id = format!("trace={}", "07".repeat(16));
    let both = format!("order 9 {text_id}");
    let user = || vec![text("user", "u")];
    let (subject, named, keys) = split(&both, vec![], vec![], vec![]);
    assert_eq!((subject, named, keys.len()), (Subject::Trace([7; 16]), 1, 0));
    let (subject, named, keys) = split("order 9 is paid", vec![], vec![], vec![]);
    assert_eq!((subject, named), (key("order", "9"), 1));
    assert_eq!(keys, [("order".to_owned(), "9".to_owned())].into(), "it is found by the key");
    for (trace_id, own, of_resource, expected) in [
        (vec![3; 16], vec![], vec![], Subject::Trace([3; 16])),
        (vec![], user(), vec![], key("user", "u")),
        (vec![], vec![], user(), key("user", "u")),
    ] {
        let (subject, named, _) = split(&both, trace_id, own, of_resource);
        assert_eq!((subject, named), (expected, 0), "the text is not asked");
    }
    assert_eq!(split("nothing", vec![], vec![], vec![]).0, Subject::None);
}

#[test]
fn an_invalid_span_id_leaves_a_log_in_its_trace() {
    let record = LogRecord { trace_id: vec![3; 16], span_id: vec![1; 5], ..LogRecord::default() };
    let split = split_logs(&logs(vec![], vec![record]), &SplitOptions::default()).unwrap();
    assert_eq!(split.parts[0].subject, Subject::Trace([3; 16]));
}

#[test]
fn what_cannot_identify_anything_is_no_key() {
    let values = [
        Value::StringValue(String::new()),
        Value::StringValue("x".repeat(257)),
        Value::DoubleValue(1.5),
        Value::BytesValue(vec![1]),
    ];
    for value in values {
        let record = LogRecord { attributes: vec![any("order", value.clone())], ..LogRecord::default() };
        let split = split_logs(&logs(vec![], vec![record]), &with_keys(&["order"])).unwrap();
        assert_eq!(split.parts[0].subject, Subject::None, "{value:?}");
        assert!(split.parts[0].facts.keys.is_empty(), "{value:?}");
    }
}

#[test]
fn facts_describe_the_logs_of_the_part() {
    let record = |severity_number, time_unix_nano, observed_time_unix_nano| LogRecord {
        trace_id: vec![1; 16],
        severity_number,
        time_unix_nano,
        observed_time_unix_nano,
        ..LogRecord::default()
    };
    let request =
        logs(vec![], vec![record(17, 30, 99), record(16, 0, 20), record(24, 0, 0), record(-1, 25, 0)]);
    let split = split_logs(&request, &SplitOptions::default()).unwrap();
    let facts = &split.parts[0].facts;
    assert_eq!((facts.logs, facts.spans, facts.errors), (4, 0, 2));
    assert_eq!((facts.first_event_unix_nano, facts.last_event_unix_nano), (Some(20), Some(30)));
}

#[test]
fn equal_logs_of_one_request_are_numbered_and_recognised_when_resent() {
    let record =
        |body: &str| LogRecord { event_name: body.into(), trace_id: vec![1; 16], ..LogRecord::default() };
    let request = logs(vec![], vec![record("a"), record("a"), record("b"), record("a")]);
    let identities =
        |request: &[u8]| split_logs(request, &SplitOptions::default()).unwrap().parts[0].identities.clone();
    let numbers: Vec<_> = identities(&request).into_iter().map(u128::from_be_bytes).collect();
    assert_eq!([numbers[1], numbers[3]], [1, 2].map(|ordinal| numbers[0].wrapping_add(ordinal)));
    assert!(!numbers[..2].contains(&numbers[2]));
    assert_eq!(identities(&request), identities(&request));
    let other_border = logs(vec![], vec![record("b"), record("a")]);
    let numbers_there: Vec<_> = identities(&other_border).into_iter().map(u128::from_be_bytes).collect();
    assert_eq!(numbers_there, [numbers[2], numbers[0]]);
}

#[test]
fn the_union_of_the_log_parts_is_the_request() {
    let record = |trace: u8| LogRecord { trace_id: vec![trace; 16], ..LogRecord::default() };
    let request = logs(vec![text("service.name", "a")], vec![record(1), record(2), record(1)]);
    let split = split_logs(&request, &SplitOptions::default()).unwrap();
    let expected = LogsData::decode(&logs(vec![text("service.name", "a")], vec![record(1), record(1)])[..]);
    assert_eq!(LogsData::decode(&split.parts[0].payload[..]), expected);
}

#[test]
fn malformed_bytes_are_an_error_with_their_place_in_the_request() {
    let bad_span = [span(1, 1).encode_to_vec(), vec![0x39, 1, 2]].concat();
    let cases: [(Vec<u8>, usize, &str); 5] = [
        (vec![0x0a, 0x05, 0x00], 1, "TracesData"),
        (bytes_field(1, &[0x12, 0x01]), 3, "ResourceSpans"),
        (bytes_field(1, &bytes_field(2, &[0x12])), 5, "ScopeSpans"),
        (bytes_field(1, &bytes_field(2, &bytes_field(2, &bad_span))), 6 + 29, "Span"),
        (bytes_field(1, &bytes_field(1, &bytes_field(1, &[0x08, 0x01]))), 6, "KeyValue"),
    ];
    for (request, offset, message) in cases {
        let error = split_traces(&request, &SplitOptions::default()).unwrap_err();
        assert_eq!(error.offset(), offset, "{error}");
        assert!(error.to_string().contains(&format!("decode {message} at")), "{error}");
    }
}

#[test]
fn resources_and_scopes_without_spans_leave_no_trace() {
    let empty_scope = || ScopeSpans { schema_url: "empty".into(), ..ScopeSpans::default() };
    let mut mixed = spans_of(vec![], vec![span(1, 1)]);
    mixed.scope_spans.insert(0, empty_scope());
    mixed.scope_spans.push(empty_scope());
    let rejected = spans_of(vec![text("service.name", "rejected")], vec![span(0, 1)]);
    let empty = spans_of(vec![text("service.name", "empty")], vec![]);
    let request = traces(vec![
        empty.clone(),
        rejected.clone(),
        mixed,
        empty,
        rejected,
        spans_of(vec![], vec![span(1, 2)]),
    ]);
    let split = split_traces(&request, &SplitOptions::default()).unwrap();
    let expected = traces(vec![spans_of(vec![], vec![span(1, 1)]), spans_of(vec![], vec![span(1, 2)])]);
    assert_eq!(split.parts.len(), 1);
    assert_eq!(split.parts[0].payload, expected);
    assert_eq!(split.parts[0].facts.origins.len(), 1);
}

#[test]
fn of_a_key_that_occurs_twice_the_first_one_counts() {
    let attributes = vec![text("order", "1"), text("order", "2")];
    let record = LogRecord { attributes, ..LogRecord::default() };
    let split = split_logs(&logs(vec![], vec![record]), &with_keys(&["order"])).unwrap();
    assert_eq!(split.parts[0].subject, Subject::Key { name: "order".into(), value: "1".into() });
    assert_eq!(split.parts[0].facts.keys.len(), 1);
}

#[test]
fn a_resource_that_would_multiply_the_request_too_far_is_refused() {
    let spans = (0..2000_u16).map(|trace| {
        let trace_id = [&[1; 14][..], &trace.to_be_bytes()].concat();
        Span { trace_id, ..span(1, 1) }
    });
    let resource = vec![text("large", &"x".repeat(PARTS_BYTES_MAX / 1999))];
    let request = traces(vec![spans_of(resource, spans.collect())]);
    assert!(request.len() < PARTS_BYTES_MAX / 1000);
    let error = split_traces(&request, &SplitOptions::default()).unwrap_err();
    assert!(error.to_string().contains("more than 1073741824 bytes"), "{error}");
}

#[test]
fn attributes_and_bodies_are_walked_only_for_what_is_configured() {
    let bad_attributes = bytes_field(9, &[0xff]);
    let bad_span = [span(1, 1).encode_to_vec(), bad_attributes].concat();
    let request = bytes_field(1, &bytes_field(2, &bytes_field(2, &bad_span)));
    assert_eq!(split_traces(&request, &SplitOptions::default()).unwrap().received, 1);
    assert!(split_traces(&request, &with_keys(&["order"])).is_err());
    let request = bytes_field(1, &bytes_field(2, &bytes_field(2, &bytes_field(5, &[0xff]))));
    assert_eq!(split_logs(&request, &with_keys(&["order"])).unwrap().received, 1);
    let of_text = SplitOptions::default().with_text_patterns(&["(?<trace_id>a)".to_owned()], 9).unwrap();
    assert!(split_logs(&request, &of_text).is_err());
}
