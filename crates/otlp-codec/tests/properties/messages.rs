//! Random OTLP messages with valid ids, drawn from few ids and texts so that they collide.

use otlp_proto::opentelemetry::proto::{
    common::v1::{
        AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
    },
    logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status, TracesData,
        span::{Event, Link},
    },
};
use proptest::{collection::vec, option, prelude::*, sample::select, strategy::Union};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(vec!["", "a", "service.name", "deployment.environment", "order.id", "user.id"])
            .prop_map(String::from),
        1 => Just(format!("trace {}", "03".repeat(16))),
        1 => any::<String>(),
    ]
}

fn id(length: usize) -> impl Strategy<Value = Vec<u8>> {
    (1..4_u8).prop_map(move |byte| vec![byte; length])
}

fn id_or_none(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), Just(vec![0; length]), id(length)]
}

/// Borders of every varint length, and zero.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), (0..64_u32, any::<u64>()).prop_map(|(shift, value)| value >> shift)]
}

fn small() -> impl Strategy<Value = u32> {
    number().prop_map(|value| value as u32)
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let double = any::<f64>().prop_filter("NaN has many forms and JSON one", |value| !value.is_nan());
    let leaf = prop_oneof![
        text().prop_map(Value::StringValue),
        any::<bool>().prop_map(Value::BoolValue),
        number().prop_map(|value| Value::IntValue(value as i64)),
        double.prop_map(Value::DoubleValue),
        vec(any::<u8>(), 0..5).prop_map(Value::BytesValue),
        small().prop_map(|value| Value::StringValueStrindex(value as i32)),
    ];
    let leaf = option::of(leaf).prop_map(|value| AnyValue { value });
    leaf.prop_recursive(3, 8, 3, |inner| {
        let list = vec(inner.clone(), 0..3).prop_map(|values| Value::ArrayValue(ArrayValue { values }));
        let pair =
            (text(), option::of(inner)).prop_map(|(key, value)| KeyValue { key, value, key_strindex: 0 });
        let pairs = vec(pair, 0..3).prop_map(|values| Value::KvlistValue(KeyValueList { values }));
        Union::new([list.boxed(), pairs.boxed()]).prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let pair = (text(), option::of(any_value()), option::weighted(0.1, small()));
    vec(pair, 0..3).prop_map(|pairs| {
        let pair = |(key, value, index): (_, _, Option<u32>)| KeyValue {
            key,
            value,
            key_strindex: index.unwrap_or_default() as i32,
        };
        pairs.into_iter().map(pair).collect()
    })
}

fn resource() -> impl Strategy<Value = Option<Resource>> {
    let keys = || vec(text(), 0..2);
    let entity =
        (text(), text(), keys(), keys()).prop_map(|(schema_url, r#type, id_keys, description_keys)| {
            EntityRef { schema_url, r#type, id_keys, description_keys }
        });
    let resource = (attributes(), small(), vec(entity, 0..2)).prop_map(
        |(attributes, dropped_attributes_count, entity_refs)| Resource {
            attributes,
            dropped_attributes_count,
            entity_refs,
        },
    );
    option::of(resource)
}

fn scope() -> impl Strategy<Value = Option<InstrumentationScope>> {
    let scope = (text(), text(), attributes(), small()).prop_map(
        |(name, version, attributes, dropped_attributes_count)| InstrumentationScope {
            name,
            version,
            attributes,
            dropped_attributes_count,
        },
    );
    option::of(scope)
}

fn event() -> impl Strategy<Value = Event> {
    (number(), text(), attributes(), small()).prop_map(
        |(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        },
    )
}

fn link() -> impl Strategy<Value = Link> {
    (id_or_none(16), id_or_none(8), text(), attributes(), small(), small()).prop_map(
        |(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count,
            flags,
        },
    )
}

fn span() -> impl Strategy<Value = Span> {
    let ids = (id(16), id(8), id_or_none(8), text(), small());
    let own = (text(), 0..7_i32, number(), number(), attributes());
    let inner = (vec(event(), 0..2), vec(link(), 0..2), option::of((text(), -1..4_i32)));
    let counts = (small(), small(), small());
    (ids, own, inner, counts).prop_map(|(ids, own, inner, counts)| Span {
        trace_id: ids.0,
        span_id: ids.1,
        parent_span_id: ids.2,
        trace_state: ids.3,
        flags: ids.4,
        name: own.0,
        kind: own.1,
        start_time_unix_nano: own.2,
        end_time_unix_nano: own.3,
        attributes: own.4,
        events: inner.0,
        links: inner.1,
        status: inner.2.map(|(message, code)| Status { message, code }),
        dropped_attributes_count: counts.0,
        dropped_events_count: counts.1,
        dropped_links_count: counts.2,
    })
}

fn record() -> impl Strategy<Value = LogRecord> {
    let ids = (id_or_none(16), id_or_none(8), small());
    let own = (number(), number(), -1..26_i32, text(), text());
    let inner = (option::of(any_value()), attributes(), small());
    (ids, own, inner).prop_map(|(ids, own, inner)| LogRecord {
        trace_id: ids.0,
        span_id: ids.1,
        flags: ids.2,
        time_unix_nano: own.0,
        observed_time_unix_nano: own.1,
        severity_number: own.2,
        severity_text: own.3,
        event_name: own.4,
        body: inner.0,
        attributes: inner.1,
        dropped_attributes_count: inner.2,
    })
}

/// Items with some of them repeated at the end.
fn with_repeats<T: Clone + std::fmt::Debug>(item: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    (vec(item, 0..4), 0..3_usize).prop_map(|(mut items, repeats)| {
        items.extend_from_within(..repeats.min(items.len()));
        items
    })
}

/// Random traces; every span has valid ids.
pub(crate) fn traces() -> impl Strategy<Value = TracesData> {
    let scope_spans = (scope(), with_repeats(span()), text())
        .prop_map(|(scope, spans, schema_url)| ScopeSpans { scope, spans, schema_url });
    let resource_spans = (resource(), with_repeats(scope_spans), text())
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url });
    with_repeats(resource_spans).prop_map(|resource_spans| TracesData { resource_spans })
}

/// Random logs, with and without trace ids and correlation keys.
pub(crate) fn logs() -> impl Strategy<Value = LogsData> {
    let scope_logs = (scope(), with_repeats(record()), text())
        .prop_map(|(scope, log_records, schema_url)| ScopeLogs { scope, log_records, schema_url });
    let resource_logs = (resource(), with_repeats(scope_logs), text())
        .prop_map(|(resource, scope_logs, schema_url)| ResourceLogs { resource, scope_logs, schema_url });
    with_repeats(resource_logs).prop_map(|resource_logs| LogsData { resource_logs })
}
