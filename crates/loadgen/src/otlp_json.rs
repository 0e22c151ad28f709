//! OTLP/JSON read with nothing but the specification: a second opinion on what a file or an answer
//! says, independent of the codec that the product uses.

use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use otlp_proto::opentelemetry::proto::{
    common::v1::{
        AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
        any_value::Value as Any,
    },
    logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status, TracesData,
        span::{Event, Link},
    },
};
use serde_json::Value;

/// Reads `TracesData`, or the request of the same form.
///
/// # Errors
/// When a field holds something else than its type.
pub fn traces(json: &Value) -> anyhow::Result<TracesData> {
    Ok(TracesData { resource_spans: list(&json["resourceSpans"], resource_spans)? })
}

/// Reads `LogsData`, or the request of the same form.
///
/// # Errors
/// When a field holds something else than its type.
pub fn logs(json: &Value) -> anyhow::Result<LogsData> {
    Ok(LogsData { resource_logs: list(&json["resourceLogs"], resource_logs)? })
}

fn resource_spans(json: &Value) -> anyhow::Result<ResourceSpans> {
    Ok(ResourceSpans {
        resource: optional(&json["resource"], resource)?,
        scope_spans: list(&json["scopeSpans"], scope_spans)?,
        schema_url: text(&json["schemaUrl"])?,
    })
}

fn scope_spans(json: &Value) -> anyhow::Result<ScopeSpans> {
    Ok(ScopeSpans {
        scope: optional(&json["scope"], scope)?,
        spans: list(&json["spans"], span)?,
        schema_url: text(&json["schemaUrl"])?,
    })
}

fn resource_logs(json: &Value) -> anyhow::Result<ResourceLogs> {
    Ok(ResourceLogs {
        resource: optional(&json["resource"], resource)?,
        scope_logs: list(&json["scopeLogs"], scope_logs)?,
        schema_url: text(&json["schemaUrl"])?,
    })
}

fn scope_logs(json: &Value) -> anyhow::Result<ScopeLogs> {
    Ok(ScopeLogs {
        scope: optional(&json["scope"], scope)?,
        log_records: list(&json["logRecords"], log_record)?,
        schema_url: text(&json["schemaUrl"])?,
    })
}

fn resource(json: &Value) -> anyhow::Result<Resource> {
    Ok(Resource {
        attributes: list(&json["attributes"], key_value)?,
        dropped_attributes_count: number(&json["droppedAttributesCount"])?,
        entity_refs: list(&json["entityRefs"], entity_ref)?,
    })
}

fn entity_ref(json: &Value) -> anyhow::Result<EntityRef> {
    Ok(EntityRef {
        schema_url: text(&json["schemaUrl"])?,
        r#type: text(&json["type"])?,
        id_keys: list(&json["idKeys"], text)?,
        description_keys: list(&json["descriptionKeys"], text)?,
    })
}

fn scope(json: &Value) -> anyhow::Result<InstrumentationScope> {
    Ok(InstrumentationScope {
        name: text(&json["name"])?,
        version: text(&json["version"])?,
        attributes: list(&json["attributes"], key_value)?,
        dropped_attributes_count: number(&json["droppedAttributesCount"])?,
    })
}

fn span(json: &Value) -> anyhow::Result<Span> {
    Ok(Span {
        trace_id: id(&json["traceId"])?,
        span_id: id(&json["spanId"])?,
        trace_state: text(&json["traceState"])?,
        parent_span_id: id(&json["parentSpanId"])?,
        flags: number(&json["flags"])?,
        name: text(&json["name"])?,
        kind: number(&json["kind"])?,
        start_time_unix_nano: number(&json["startTimeUnixNano"])?,
        end_time_unix_nano: number(&json["endTimeUnixNano"])?,
        attributes: list(&json["attributes"], key_value)?,
        dropped_attributes_count: number(&json["droppedAttributesCount"])?,
        events: list(&json["events"], event)?,
        dropped_events_count: number(&json["droppedEventsCount"])?,
        links: list(&json["links"], link)?,
        dropped_links_count: number(&json["droppedLinksCount"])?,
        status: optional(&json["status"], status)?,
    })
}

fn event(json: &Value) -> anyhow::Result<Event> {
    Ok(Event {
        time_unix_nano: number(&json["timeUnixNano"])?,
        name: text(&json["name"])?,
        attributes: list(&json["attributes"], key_value)?,
        dropped_attributes_count: number(&json["droppedAttributesCount"])?,
    })
}

fn link(json: &Value) -> anyhow::Result<Link> {
    Ok(Link {
        trace_id: id(&json["traceId"])?,
        span_id: id(&json["spanId"])?,
        trace_state: text(&json["traceState"])?,
        attributes: list(&json["attributes"], key_value)?,
        dropped_attributes_count: number(&json["droppedAttributesCount"])?,
        flags: number(&json["flags"])?,
    })
}

fn status(json: &Value) -> anyhow::Result<Status> {
    Ok(Status { message: text(&json["message"])?, code: number(&json["code"])? })
}

fn log_record(json: &Value) -> anyhow::Result<LogRecord> {
    Ok(LogRecord {
        time_unix_nano: number(&json["timeUnixNano"])?,
        observed_time_unix_nano: number(&json["observedTimeUnixNano"])?,
        severity_number: number(&json["severityNumber"])?,
        severity_text: text(&json["severityText"])?,
        body: optional(&json["body"], any_value)?,
        attributes: list(&json["attributes"], key_value)?,
        dropped_attributes_count: number(&json["droppedAttributesCount"])?,
        flags: number(&json["flags"])?,
        trace_id: id(&json["traceId"])?,
        span_id: id(&json["spanId"])?,
        event_name: text(&json["eventName"])?,
    })
}

fn key_value(json: &Value) -> anyhow::Result<KeyValue> {
    Ok(KeyValue {
        key: text(&json["key"])?,
        value: optional(&json["value"], any_value)?,
        key_strindex: number(&json["keyStrindex"])?,
    })
}

fn any_value(json: &Value) -> anyhow::Result<AnyValue> {
    let fields = json.as_object().context("a value is not an object")?;
    let Some((kind, json)) = fields.iter().find(|(_, value)| !value.is_null()) else {
        return Ok(AnyValue { value: None });
    };
    let value = match kind.as_str() {
        "stringValue" => Any::StringValue(text(json)?),
        "boolValue" => Any::BoolValue(json.as_bool().context("boolValue is not a boolean")?),
        "intValue" => Any::IntValue(number(json)?),
        "doubleValue" => Any::DoubleValue(number(json)?),
        "arrayValue" => Any::ArrayValue(ArrayValue { values: list(&json["values"], any_value)? }),
        "kvlistValue" => Any::KvlistValue(KeyValueList { values: list(&json["values"], key_value)? }),
        "bytesValue" => Any::BytesValue(BASE64_STANDARD.decode(text(json)?)?),
        "stringValueStrindex" => Any::StringValueStrindex(number(json)?),
        other => bail!("{other} is not a kind of value"),
    };
    Ok(AnyValue { value: Some(value) })
}

fn list<T>(json: &Value, item: impl Fn(&Value) -> anyhow::Result<T>) -> anyhow::Result<Vec<T>> {
    match json {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items.iter().map(item).collect(),
        other => bail!("{other} is not a list"),
    }
}

fn optional<T>(json: &Value, read: impl Fn(&Value) -> anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    (!json.is_null()).then(|| read(json)).transpose()
}

fn text(json: &Value) -> anyhow::Result<String> {
    match json {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        other => bail!("{other} is not a text"),
    }
}

/// 64-bit integers are written as text; both forms are read for every number.
fn number<T: FromStr + Default>(json: &Value) -> anyhow::Result<T> {
    let digits = match json {
        Value::Null => return Ok(T::default()),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    digits.parse().map_err(|_| anyhow::anyhow!("{digits} is not a number of the expected type"))
}

/// Trace and span ids are hexadecimal, other than all other bytes.
fn id(json: &Value) -> anyhow::Result<Vec<u8>> {
    let digits = text(json)?;
    let is_hex = digits.len().is_multiple_of(2) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    ensure!(is_hex, "{digits:?} is not an id of hexadecimal digits");
    let pairs = (0..digits.len()).step_by(2).map(|start| &digits[start..start + 2]);
    Ok(pairs.map(|pair| u8::from_str_radix(pair, 16)).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_hexadecimal_and_numbers_may_be_text() {
        let json = json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
            "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174",
            "startTimeUnixNano": "1544712660000000000", "kind": 2, "status": {},
            "attributes": [{"key": "n", "value": {"intValue": "7"}}, {"key": "b", "value": {"bytesValue": "AQI="}}],
        }]}]}]});
        let traces = traces(&json).unwrap();
        let span = &traces.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!(span.trace_id[..2], [0x5b, 0x8e]);
        assert_eq!(span.start_time_unix_nano, 1_544_712_660_000_000_000);
        assert_eq!((span.kind, span.status.is_some()), (2, true));
        let value = |index: usize| span.attributes[index].value.clone().unwrap().value.unwrap();
        assert_eq!(value(0), Any::IntValue(7));
        assert_eq!(value(1), Any::BytesValue(vec![1, 2]));
    }

    #[test]
    fn absent_and_null_fields_are_unset() {
        let json =
            json!({"resourceLogs": [{"resource": null, "scopeLogs": [{"logRecords": [{"body": {}}]}]}]});
        let logs = logs(&json).unwrap();
        assert_eq!(logs.resource_logs[0].resource, None);
        let record = &logs.resource_logs[0].scope_logs[0].log_records[0];
        assert_eq!(record.body, Some(AnyValue { value: None }));
        assert!(record.trace_id.is_empty());
    }

    #[test]
    fn a_value_of_another_type_is_an_error() {
        for value in [json!({"resourceSpans": 1}), json!({"resourceSpans": [{"schemaUrl": 1}]})] {
            assert!(traces(&value).is_err(), "{value}");
        }
        assert!(id(&json!("0x5b")).is_err());
        assert!(number::<u64>(&json!(-1)).is_err());
    }
}
