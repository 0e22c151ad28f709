//! Traffic as whoever receives it reads it.

use std::collections::{HashMap, HashSet};

use otlp_codec::json;
use otlp_proto::opentelemetry::proto::{
    common::v1::any_value::Value, logs::v1::LogsData, resource::v1::Resource, trace::v1::TracesData,
};
use prost::Message as _;

use super::*;
use crate::load::profile::Fixed;

/// Parents of spans.
type Spans = HashMap<[u8; 8], Option<[u8; 8]>>;

const PROFILES: [fn() -> Profile; 3] = [
    || Profile::Realistic,
    || Profile::Fixed(Fixed::new(1_000, 10, 0).unwrap()),
    || Profile::Fixed(Fixed::new(20, 20, 7).unwrap()),
];

fn traffic(seed: u64, profile: Profile, encoding: Encoding) -> Traffic {
    Traffic::new(seed, profile, encoding).unwrap()
}

fn protobuf(request: &Request, encoding: Encoding) -> Vec<u8> {
    match (encoding, request.signal) {
        (Encoding::Protobuf, _) => request.body.to_vec(),
        (Encoding::Json, Signal::Traces) => {
            json::to_protobuf(json::Message::TracesData, &request.body).unwrap()
        }
        (Encoding::Json, Signal::Logs) => json::to_protobuf(json::Message::LogsData, &request.body).unwrap(),
    }
}

/// The items of a request as its bytes tell them, and who sends it.
fn read(request: &Request, encoding: Encoding) -> (Vec<Item>, String) {
    let bytes = protobuf(request, encoding);
    let id = |id: &[u8]| (!id.is_empty()).then(|| id.try_into().unwrap());
    match request.signal {
        Signal::Traces => {
            let data = TracesData::decode(&bytes[..]).unwrap().resource_spans.remove(0);
            let items = data.scope_spans[0].spans.iter().map(|span| Item {
                trace_id: span.trace_id[..].try_into().unwrap(),
                span_id: id(&span.span_id).unwrap(),
                parent_span_id: id(&span.parent_span_id),
                time_unix_nano: span.start_time_unix_nano,
                end_unix_nano: span.end_time_unix_nano,
                choice: 0,
            });
            (items.collect(), service(data.resource.as_ref()))
        }
        Signal::Logs => {
            let data = LogsData::decode(&bytes[..]).unwrap().resource_logs.remove(0);
            let items = data.scope_logs[0].log_records.iter().map(|record| Item {
                trace_id: record.trace_id[..].try_into().unwrap(),
                span_id: id(&record.span_id).unwrap(),
                parent_span_id: None,
                time_unix_nano: record.time_unix_nano,
                end_unix_nano: record.observed_time_unix_nano,
                choice: 0,
            });
            (items.collect(), service(data.resource.as_ref()))
        }
    }
}

fn service(resource: Option<&Resource>) -> String {
    let name = &resource.unwrap().attributes[0];
    assert_eq!(name.key, "service.name");
    match name.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(name) => name.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn traffic_is_a_function_of_seed_and_number() {
    for profile in PROFILES {
        let [one, same, other] = [7, 7, 8].map(|seed| traffic(seed, profile(), Encoding::Protobuf));
        for number in [0, 1, 1_000_000] {
            assert_eq!(one.request(number), same.request(number));
            assert_ne!(one.request(number).body, other.request(number).body);
        }
    }
}

#[test]
fn the_bytes_of_a_request_say_what_its_items_are() {
    for (profile, encoding) in
        PROFILES.into_iter().flat_map(|profile| [(profile, Encoding::Protobuf), (profile, Encoding::Json)])
    {
        let traffic = traffic(7, profile(), encoding);
        for number in 0..130 {
            let request = traffic.request(number);
            let (items, _) = read(&request, encoding);
            let (signal, expected) = traffic.items(number);
            let expected: Vec<Item> = expected.into_iter().map(|item| Item { choice: 0, ..item }).collect();
            assert_eq!((request.signal, &items), (signal, &expected), "{} {encoding:?} {number}", profile());
            assert_eq!(request.size, traffic.size(number));
            let Size { spans, logs, .. } = request.size;
            assert_eq!((spans + logs) as usize, items.len());
        }
    }
}

#[test]
fn both_encodings_say_the_same() {
    for profile in PROFILES {
        let [binary, text] =
            [Encoding::Protobuf, Encoding::Json].map(|encoding| traffic(7, profile(), encoding));
        for number in 0..4 {
            let request = text.request(number);
            assert_eq!(protobuf(&request, Encoding::Json), binary.request(number).body, "{number}");
        }
    }
}

#[test]
fn fixed_requests_have_the_size_that_was_asked_for() {
    let traffic = traffic(7, Profile::Fixed(Fixed::new(1_000, 10, 3).unwrap()), Encoding::Protobuf);
    assert_eq!(traffic.size(4), Size { spans: 1_000, logs: 0, traces: 100 });
    assert_eq!(traffic.size(5), Size { spans: 0, logs: 300, traces: 0 });
    let of = |number| -> HashSet<[u8; 16]> {
        traffic.items(number).1.into_iter().map(|item| item.trace_id).collect()
    };
    assert_eq!(of(4), of(5), "logs follow the spans of their traces");
    assert_eq!(of(4).len(), 100);
    assert!(of(4).is_disjoint(&of(6)));
}

#[test]
fn spans_have_about_460_bytes() {
    let traffic = traffic(7, Profile::Fixed(Fixed::new(1_000, 10, 0).unwrap()), Encoding::Protobuf);
    let average = traffic.request(0).body.len() / 1_000;
    assert!((450..=470).contains(&average), "{average} bytes on average");
}

#[test]
fn a_realistic_trace_is_whole_although_each_service_sends_for_itself() {
    let traffic = traffic(7, Profile::Realistic, Encoding::Protobuf);
    let mut traces: HashMap<[u8; 16], Spans> = HashMap::new();
    let mut senders: HashMap<[u8; 16], HashSet<String>> = HashMap::new();
    for request in (0..64 * 10).map(|number| traffic.request(number)) {
        let (items, service) = read(&request, Encoding::Protobuf);
        for item in items {
            if request.signal == Signal::Traces {
                traces.entry(item.trace_id).or_default().insert(item.span_id, item.parent_span_id);
                senders.entry(item.trace_id).or_default().insert(service.clone());
            }
        }
    }
    // The late requests of the last two blocks of ten are not sent yet.
    let is_whole = |spans: &Spans| {
        let roots = spans.values().filter(|parent| parent.is_none()).count();
        roots == 1 && spans.values().flatten().all(|parent| spans.contains_key(parent))
    };
    let whole: Vec<_> = traces.iter().filter(|(_, spans)| is_whole(spans)).map(|(id, _)| id).collect();
    assert!(whole.len() >= 64 * 8, "{} of {}", whole.len(), traces.len());
    for id in whole {
        assert!((5..=30).contains(&senders[id].len()) && senders[id].contains("frontend"));
    }
}
