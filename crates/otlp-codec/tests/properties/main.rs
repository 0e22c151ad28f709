//! What holds for every input, tried on random ones.

mod json;
mod messages;

use std::collections::BTreeMap;

use otlp_codec::{
    Part, Split, SplitOptions, Subject,
    forest::{Forest, Parent},
    json::{Message, from_protobuf},
    merge_logs, merge_traces, partition_logs, partition_traces, select_logs, select_traces, split_logs,
    split_traces,
};
use otlp_proto::opentelemetry::proto::{logs::v1::LogsData, trace::v1::TracesData};
use proptest::{collection::vec, prelude::*, test_runner::FileFailurePersistence};
use prost::Message as _;

const ALL_MESSAGES: [Message; 7] = [
    Message::ExportTraceServiceRequest,
    Message::ExportLogsServiceRequest,
    Message::ExportTraceServiceResponse,
    Message::ExportLogsServiceResponse,
    Message::TracesData,
    Message::LogsData,
    Message::Status,
];

fn config(cases: u32) -> ProptestConfig {
    // A failure prints its input; the tests leave no files behind.
    let failure_persistence = Some(Box::new(FileFailurePersistence::Off) as _);
    ProptestConfig { cases, failure_persistence, ..ProptestConfig::default() }
}

fn with_keys() -> SplitOptions {
    SplitOptions::new(vec!["order.id".into(), "user.id".into()])
}

/// With patterns that some of the few texts match: to the letter, or in part of a longer text.
fn with_patterns() -> SplitOptions {
    let patterns = [r"^(?<user.id>a)$", r"(?<order.id>[a-z]+)\.", r"trace (?<trace_id>[0-9a-f]{32})"];
    with_keys().with_text_patterns(&patterns.map(String::from), 64).expect("the patterns are valid")
}

/// Each span under its resource and scope, as one entry: what a message says, however it is grouped.
fn flat_spans(data: &TracesData) -> Vec<TracesData> {
    let mut flat = Vec::new();
    for resource in &data.resource_spans {
        for scope in &resource.scope_spans {
            for span in &scope.spans {
                let mut scope = scope.clone();
                scope.spans = vec![span.clone()];
                let mut resource = resource.clone();
                resource.scope_spans = vec![scope];
                flat.push(TracesData { resource_spans: vec![resource] });
            }
        }
    }
    flat
}

fn flat_logs(data: &LogsData) -> Vec<LogsData> {
    let mut flat = Vec::new();
    for resource in &data.resource_logs {
        for scope in &resource.scope_logs {
            for record in &scope.log_records {
                let mut scope = scope.clone();
                scope.log_records = vec![record.clone()];
                let mut resource = resource.clone();
                resource.scope_logs = vec![scope];
                flat.push(LogsData { resource_logs: vec![resource] });
            }
        }
    }
    flat
}

fn sorted<M: prost::Message>(messages: &[M]) -> Vec<Vec<u8>> {
    let mut encoded: Vec<_> = messages.iter().map(M::encode_to_vec).collect();
    encoded.sort();
    encoded
}

/// Valid bytes with a few places changed, which get further than random bytes.
fn damaged(valid: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (valid, vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)).prop_map(|(mut bytes, changes)| {
        for (index, byte) in changes {
            if !bytes.is_empty() {
                let place = index.index(bytes.len());
                bytes[place] = byte;
            }
        }
        bytes
    })
}

fn any_wire_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..200),
        damaged(messages::traces().prop_map(|data| data.encode_to_vec())),
        damaged(messages::logs().prop_map(|data| data.encode_to_vec())),
    ]
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn splitting_and_merging_traces_loses_and_invents_nothing(data in messages::traces()) {
        let request = data.encode_to_vec();
        let split = split_traces(&request, &with_keys()).unwrap();
        prop_assert_eq!(&split, &split_traces(&request, &with_keys()).unwrap());
        let all = flat_spans(&data);
        prop_assert_eq!(split.received, all.len() as u64);
        prop_assert_eq!(split.rejected.total(), 0);

        let mut by_trace = BTreeMap::<_, Vec<TracesData>>::new();
        for span in &all {
            let trace_id = span.resource_spans[0].scope_spans[0].spans[0].trace_id.clone();
            by_trace.entry(trace_id).or_default().push(span.clone());
        }
        prop_assert_eq!(split.parts.len(), by_trace.len());
        for part in &split.parts {
            let Subject::Trace(trace_id) = part.subject else { panic!("not a trace: {:?}", part.subject) };
            let spans = flat_spans(&TracesData::decode(&part.payload[..]).unwrap());
            prop_assert_eq!(&spans, &by_trace[&trace_id[..]], "in request order");
            prop_assert_eq!(part.identities.len(), spans.len());
            prop_assert_eq!(part.facts.spans as usize, spans.len());
        }

        let payloads = split.parts.iter().map(|part| &part.payload[..]);
        let merged = merge_traces(payloads.clone().chain(payloads)).unwrap();
        prop_assert_eq!(merged.items + merged.duplicates + merged.conflicts, 2 * split.received);
        let distinct: usize = split.parts.iter().map(|part| {
            let mut identities = part.identities.clone();
            identities.sort_unstable();
            identities.dedup();
            identities.len()
        }).sum();
        prop_assert_eq!(merged.items, distinct as u64);
        let kept = flat_spans(&TracesData::decode(&merged.payload[..]).unwrap());
        prop_assert_eq!(kept.len() as u64, merged.items);
        for span in kept {
            prop_assert!(all.contains(&span), "invented {:?}", span);
        }
    }

    #[test]
    fn splitting_and_merging_logs_loses_and_invents_nothing(data in messages::logs()) {
        let request = data.encode_to_vec();
        let split = split_logs(&request, &with_patterns()).unwrap();
        prop_assert_eq!(&split, &split_logs(&request, &with_patterns()).unwrap());
        let of_keys = split_logs(&request, &with_keys()).unwrap();
        let uncorrelated = |split: &Split| {
            let parts = split.parts.iter().filter(|part| part.subject == Subject::None);
            parts.map(|part| part.identities.len() as u64).sum::<u64>()
        };
        prop_assert_eq!(uncorrelated(&of_keys), uncorrelated(&split) + split.named_in_text);
        let all = sorted(&flat_logs(&data));
        prop_assert_eq!(split.received, all.len() as u64);

        let mut identities: Vec<_> = split.parts.iter().flat_map(|part| part.identities.clone()).collect();
        identities.sort_unstable();
        identities.dedup();
        prop_assert_eq!(identities.len(), all.len(), "equal records have ordinals");

        let mut rest = Vec::new();
        for part in &split.parts {
            rest.extend(flat_logs(&LogsData::decode(&part.payload[..]).unwrap()));
        }
        prop_assert_eq!(&sorted(&rest), &all);

        let payloads = split.parts.iter().map(|part| &part.payload[..]);
        let merged = merge_logs(payloads.clone().chain(payloads)).unwrap();
        prop_assert_eq!((merged.items, merged.duplicates), (split.received, split.received));
        prop_assert_eq!(sorted(&flat_logs(&LogsData::decode(&merged.payload[..]).unwrap())), all);
    }

    #[test]
    fn what_prost_can_decode_can_be_split(bytes in any_wire_bytes()) {
        if let Ok(data) = TracesData::decode(&bytes[..]) {
            let split = split_traces(&bytes, &with_keys()).unwrap();
            let kept: u64 = split.parts.iter().map(|part| part.identities.len() as u64).sum();
            prop_assert_eq!(split.received, flat_spans(&data).len() as u64);
            prop_assert_eq!(kept + split.rejected.total(), split.received);
        }
        if let Ok(data) = LogsData::decode(&bytes[..]) {
            let split = split_logs(&bytes, &with_keys()).unwrap();
            prop_assert_eq!(split.received, flat_logs(&data).len() as u64);
        }
    }

    #[test]
    fn no_bytes_make_the_codec_panic(bytes in any_wire_bytes()) {
        for options in [SplitOptions::default(), with_keys(), with_patterns()] {
            if let Ok(split) = split_traces(&bytes, &options) {
                prop_assert!(split.rejected.error_message().len() < 1024);
            }
            let _ = split_logs(&bytes, &options);
        }
        let _ = Forest::read(&bytes, &bytes);
        let _ = select_traces(&bytes, |place| place % 2 == 0);
        let _ = select_logs(&bytes, |place| place % 2 == 0);
        let _ = merge_traces([&bytes[..], &bytes]);
        let _ = merge_logs([&bytes[..], &bytes]);
        for message in ALL_MESSAGES {
            if let Ok(json) = from_protobuf(message, &bytes) {
                prop_assert!(std::str::from_utf8(&json).is_ok());
            }
        }
    }

    #[test]
    fn shares_split_into_the_parts_of_the_whole(bytes in any_wire_bytes(), places in 1..4_usize) {
        // By content alone, as places must be chosen.
        let place = |subject: &Subject| match subject {
            Subject::Trace(id) => usize::from(id[0]) % places,
            Subject::Key { value, .. } => value.len() % places,
            Subject::None => 0,
        };
        let sorted = |mut parts: Vec<Part>| {
            parts.sort_by_key(|part| format!("{:?}", part.subject));
            parts
        };
        if let Ok(whole) = split_traces(&bytes, &with_keys()) {
            let (mut parts, mut received, mut rejected) = (Vec::new(), 0, 0);
            for share in partition_traces(&bytes, place).unwrap() {
                let split = split_traces(&share.request, &with_keys()).unwrap();
                prop_assert_eq!(share.items, split.received);
                prop_assert!(split.parts.iter().all(|part| place(&part.subject) == share.place));
                parts.extend(split.parts);
                received += split.received;
                rejected += split.rejected.total();
            }
            prop_assert_eq!(sorted(parts), sorted(whole.parts));
            prop_assert_eq!((received, rejected), (whole.received, whole.rejected.total()));
        }
        if let Ok(whole) = split_logs(&bytes, &with_patterns()) {
            let (mut parts, mut received) = (Vec::new(), 0);
            for share in partition_logs(&bytes, &with_patterns(), place).unwrap() {
                let split = split_logs(&share.request, &with_patterns()).unwrap();
                prop_assert_eq!(share.items, split.received);
                prop_assert!(split.parts.iter().all(|part| place(&part.subject) == share.place));
                parts.extend(split.parts);
                received += split.received;
            }
            prop_assert_eq!(sorted(parts), sorted(whole.parts));
            prop_assert_eq!(received, whole.received);
        }
    }

    #[test]
    fn what_is_selected_by_place_has_the_identities_of_these_places(
        bytes in any_wire_bytes(), wanted in vec(any::<bool>(), 64),
    ) {
        let is_wanted = |place: usize| wanted[place % wanted.len()];
        let select = |identities: &[[u8; 16]], is_kept: &dyn Fn(usize) -> bool| -> Vec<[u8; 16]> {
            identities.iter().enumerate().filter(|(place, _)| is_kept(*place)).map(|(_, id)| *id).collect()
        };
        if let Ok(split) = split_traces(&bytes, &with_keys()) {
            for part in split.parts {
                let selected = select_traces(&part.payload, is_wanted).unwrap();
                let again = split_traces(&selected, &with_keys()).unwrap();
                let identities = again.parts.into_iter().flat_map(|part| part.identities);
                prop_assert_eq!(identities.collect::<Vec<_>>(), select(&part.identities, &is_wanted));
                prop_assert_eq!(select_traces(&part.payload, |_| true).unwrap(), part.payload);
            }
        }
        if let Ok(split) = split_logs(&bytes, &with_keys()) {
            for part in split.parts {
                let selected = select_logs(&part.payload, is_wanted).unwrap();
                // The ordinal of a record counts those that are left out too: the first one of a kind stays.
                let received = split_logs(&selected, &with_keys()).unwrap().received;
                prop_assert_eq!(received as usize, select(&part.identities, &is_wanted).len());
                prop_assert_eq!(select_logs(&part.payload, |_| true).unwrap(), part.payload);
            }
        }
    }

    #[test]
    fn every_span_and_record_stands_in_the_forest_once(traces in messages::traces(), logs in messages::logs()) {
        let (traces, logs) = (traces.encode_to_vec(), logs.encode_to_vec());
        let forest = Forest::read(&traces, &logs).unwrap();
        let mut walked: Vec<_> = forest.walk().map(|step| step.index).collect();
        prop_assert_eq!(walked.len() as u64, split_traces(&traces, &SplitOptions::default()).unwrap().received);
        for step in forest.walk() {
            let parent = forest.nodes[step.index].parent;
            prop_assert_eq!(step.level > 0, matches!(parent, Parent::Span(_)));
        }
        walked.sort_unstable();
        walked.dedup();
        prop_assert_eq!(walked.len(), forest.nodes.len());
        let logs_of_spans: usize = forest.nodes.iter().map(|node| node.logs.len()).sum();
        prop_assert_eq!(logs_of_spans + forest.stray_logs.len(), forest.logs.len());
        prop_assert_eq!(forest.logs.len() as u64, split_logs(&logs, &SplitOptions::default()).unwrap().received);
    }

    #[test]
    fn a_part_is_its_own_only_part(bytes in any_wire_bytes()) {
        if let Ok(split) = split_traces(&bytes, &with_keys()) {
            for part in split.parts {
                prop_assert_eq!(split_traces(&part.payload, &with_keys()).unwrap().parts, [part]);
            }
        }
        if let Ok(split) = split_logs(&bytes, &with_patterns()) {
            for part in split.parts {
                prop_assert_eq!(split_logs(&part.payload, &with_patterns()).unwrap().parts, [part]);
            }
        }
    }
}
