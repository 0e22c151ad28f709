//! An event as OTLP: a request with one log record, the same bytes for the same event.

use otlp_proto::opentelemetry::proto::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
};
use serde_json::Value;

use super::{event::Event, subject::Subject};

/// Says of what an engine or a gateway has made that no service has sent it.
pub(super) const SYNTHETIC: &str = "correlation.synthetic";

/// The severities of OTLP by their names, without the finer steps.
pub(super) const SEVERITIES: [(&str, i32); 6] =
    [("TRACE", 1), ("DEBUG", 5), ("INFO", 9), ("WARN", 13), ("ERROR", 17), ("FATAL", 21)];

pub(super) fn export_request(event: &Event) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { log_records: vec![log_record(event)], ..ScopeLogs::default() }];
    let service = event.service.as_ref().map(|service| text("service.name", service));
    let resource = service.map(|service| Resource { attributes: vec![service], ..Resource::default() });
    let resource_logs = vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }
}

fn log_record(event: &Event) -> LogRecord {
    let Event { subject, name, time, severity, body, attributes, service: _, span_id } = event;
    let mut all = vec![KeyValue {
        key: SYNTHETIC.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::BoolValue(true)) }),
        ..KeyValue::default()
    }];
    let mut trace_id = Vec::new();
    match subject {
        Subject::Trace(id) => trace_id.extend(id.bytes()),
        Subject::Key { name, value } => all.push(text(name, value)),
    }
    // The key may be among them, with the value it has already.
    let others = attributes.iter().filter(|(key, _)| all.iter().all(|known| known.key != **key));
    let others: Vec<_> = others.map(|(key, value)| pair(key, value)).collect();
    all.extend(others);
    let number = severity.and_then(|name| SEVERITIES.iter().find(|(known, _)| *known == name));
    let span_id = span_id.as_ref().and_then(|id| u64::from_str_radix(id, 16).ok());
    LogRecord {
        time_unix_nano: time.timestamp_nanos_opt().unwrap_or_default().unsigned_abs(),
        severity_number: number.map(|(_, number)| *number).unwrap_or_default(),
        severity_text: severity.unwrap_or_default().to_owned(),
        body: (!body.is_null()).then(|| any(body)),
        attributes: all,
        trace_id,
        span_id: span_id.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
        event_name: name.clone(),
        ..LogRecord::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, &Value::from(value))
}

fn pair(key: &str, value: &Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(value)), ..KeyValue::default() }
}

/// Any JSON as the value that OTLP has for it; `null` is a value that is empty.
fn any(json: &Value) -> AnyValue {
    use any_value::Value as Any;
    let value = match json {
        Value::Null => None,
        Value::Bool(value) => Some(Any::BoolValue(*value)),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Some(Any::IntValue(whole)),
            None => number.as_f64().map(Any::DoubleValue),
        },
        Value::String(text) => Some(Any::StringValue(text.clone())),
        Value::Array(values) => {
            Some(Any::ArrayValue(ArrayValue { values: values.iter().map(any).collect() }))
        }
        Value::Object(fields) => {
            let values = fields.iter().map(|(key, value)| pair(key, value)).collect();
            Some(Any::KvlistValue(KeyValueList { values }))
        }
    };
    AnyValue { value }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use otlp_codec::json::{Message, from_protobuf};
    use prost::Message as _;
    use serde_json::json;

    use super::*;

    fn request(event: &Value) -> (Event, Vec<u8>) {
        let event = Event::parse(event.to_string().as_bytes(), Utc::now()).unwrap();
        let request = export_request(&event).encode_to_vec();
        (event, request)
    }

    fn as_json(request: &[u8]) -> Value {
        serde_json::from_slice(&from_protobuf(Message::ExportLogsServiceRequest, request).unwrap()).unwrap()
    }

    #[test]
    fn an_event_is_one_log_record_that_says_it_is_synthetic() {
        let (_, request) = request(&json!({
            "correlation_id": "ab".repeat(16), "name": "deploy.finished", "time": "2023-11-14T22:13:20Z",
            "severity": "INFO", "body": { "list": [1, -2.5, "x", true, null] }, "attributes": { "region": "eu" },
            "service": "shop", "span_id": "00000000000000ab",
        }));
        let list = json!([{ "intValue": "1" }, { "doubleValue": -2.5 }, { "stringValue": "x" }, { "boolValue": true }, {}]);
        let expected = json!({ "resourceLogs": [{
            "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "shop" } }] },
            "scopeLogs": [{ "logRecords": [{
                "timeUnixNano": "1700000000000000000", "severityNumber": 9, "severityText": "INFO",
                "body": { "kvlistValue": { "values": [
                    { "key": "list", "value": { "arrayValue": { "values": list } } },
                ] } },
                "attributes": [
                    { "key": "correlation.synthetic", "value": { "boolValue": true } },
                    { "key": "region", "value": { "stringValue": "eu" } },
                ],
                "traceId": "ab".repeat(16), "spanId": "00000000000000ab", "eventName": "deploy.finished",
            }] }],
        }] });
        assert_eq!(as_json(&request), expected);
    }

    #[test]
    fn engines_put_it_where_its_id_says_or_it_is_refused() {
        let keys = |keys: &[&str]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
        let check = |event: Value, all: &[&str]| {
            let (event, request) = request(&event);
            event.subject.check(&request, keys(all)).map_err(|problem| format!("{problem:?}"))
        };
        let order = json!({ "correlation_id": "order.id=7", "name": "paid", "attributes": { "user.id": 3 } });
        assert_eq!(check(order.clone(), &["order.id", "user.id"]), Ok(()));
        let unknown = check(order.clone(), &[]).unwrap_err();
        assert!(unknown.contains("correlation.keys: []"), "{unknown}");
        let elsewhere = check(order, &["user.id", "order.id"]).unwrap_err();
        assert!(elsewhere.contains("into correlation user.id=3"), "{elsewhere}");
        let trace =
            json!({ "correlation_id": "ab".repeat(16), "name": "paid", "attributes": { "user.id": 3 } });
        assert_eq!(check(trace, &["user.id"]), Ok(()));
        let long = json!({ "correlation_id": format!("order.id={}", "7".repeat(300)), "name": "paid" });
        assert!(check(long, &["order.id"]).unwrap_err().contains("up to 256 bytes"));
        // The key may be given twice, as one value.
        let twice =
            json!({ "correlation_id": "order.id=7", "name": "paid", "attributes": { "order.id": "7" } });
        assert_eq!(
            request(&twice).1.len(),
            request(&json!({
                "correlation_id": "order.id=7", "name": "paid",
            }))
            .1
            .len()
        );
        assert_eq!(check(twice, &["order.id"]), Ok(()));
    }
}
