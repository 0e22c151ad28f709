//! Seeded traffic of a small shop: the requests of its services, and what must come out of them.
//!
//! Everything is a pure function of seed, start and number, so a checker can compute it again
//! instead of remembering it.

mod shop;
mod walk;

use std::collections::BTreeMap;

use otlp_proto::opentelemetry::proto::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{content::hex, expectation::Expectation, request::Request};

/// Traces whose telemetry shares requests, as a batch processor of an SDK mixes what ends at the
/// same time.
pub const TRACES_PER_BATCH: usize = 10;

/// Time between the starts of two traces of a batch, which spreads a batch over half a second.
const TRACE_INTERVAL_NANOS: u64 = 50_000_000;

/// Where traffic begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Decides ids, shapes and durations.
    pub seed: u64,
    /// Event time of the first trace, in nanoseconds since 1970.
    pub start_unix_nano: u64,
}

/// What the shop's services export of [`TRACES_PER_BATCH`] traces: a request of spans and one of
/// logs from each service that took part.
#[derive(Debug, Clone)]
pub struct Batch {
    /// In the order of the services' names.
    pub requests: Vec<Request>,
    /// What must come out.
    pub expectation: Expectation,
    /// The traces in the order of their start.
    pub traces: Vec<TraceOutline>,
}

/// What a trace is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceOutline {
    /// 32 lower-case hexadecimal digits.
    pub trace_id: String,
    /// Spans in it.
    pub spans: usize,
    /// Whether a part of it failed.
    pub has_error: bool,
}

impl Traffic {
    /// Makes a batch; any number gives one, and in any order.
    #[must_use]
    pub fn batch(&self, number: u64) -> Batch {
        // SplitMix64's increment keeps the streams of neighbouring numbers apart.
        let mut random = StdRng::seed_from_u64(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut telemetry: BTreeMap<&'static str, (Vec<Span>, Vec<LogRecord>)> = BTreeMap::new();
        let mut outlines = Vec::with_capacity(TRACES_PER_BATCH);
        let batch_nanos = TRACE_INTERVAL_NANOS * TRACES_PER_BATCH as u64;
        let batch_start = self.start_unix_nano + number * batch_nanos;
        for index in 0..TRACES_PER_BATCH as u64 {
            let trace = walk::trace(&mut random, batch_start + index * TRACE_INTERVAL_NANOS);
            outlines.push(TraceOutline {
                trace_id: hex(&trace.id),
                spans: trace.spans.len(),
                has_error: trace.has_error,
            });
            for (service, span) in trace.spans {
                telemetry.entry(service).or_default().0.push(span);
            }
            for (service, record) in trace.logs {
                telemetry.entry(service).or_default().1.push(record);
            }
        }
        let mut batch = Batch { requests: Vec::new(), expectation: Expectation::default(), traces: outlines };
        for (service, (spans, records)) in telemetry {
            batch.add(service, random.random_range(1..=3), spans, records);
        }
        batch
    }
}

impl Batch {
    fn add(&mut self, service: &str, instance: u8, spans: Vec<Span>, records: Vec<LogRecord>) {
        let resource = Some(resource(service, instance));
        let scope = Some(InstrumentationScope {
            name: format!("io.opentelemetry.{service}"),
            version: "2.4.0".to_owned(),
            ..InstrumentationScope::default()
        });
        if !spans.is_empty() {
            let scope_spans = vec![ScopeSpans { scope: scope.clone(), spans, ..ScopeSpans::default() }];
            let resource = resource.clone();
            let traces = TracesData {
                resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
            };
            self.expectation.add_traces(&traces);
            self.requests.push(Request::traces(&traces));
        }
        if !records.is_empty() {
            let scope_logs = vec![ScopeLogs { scope, log_records: records, ..ScopeLogs::default() }];
            let logs = LogsData {
                resource_logs: vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }],
            };
            self.expectation.add_logs(&logs);
            self.requests.push(Request::logs(&logs));
        }
    }
}

fn resource(service: &str, instance: u8) -> Resource {
    let attributes = vec![
        attribute("service.name", service),
        attribute("service.namespace", "shop"),
        attribute("service.instance.id", &format!("{service}-{instance}")),
        attribute("deployment.environment.name", "demo"),
    ];
    Resource { attributes, ..Resource::default() }
}

/// A text attribute.
fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(string(value)), ..KeyValue::default() }
}

fn string(value: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(value.to_owned())) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// 2026-01-01T00:00:00Z.
    const START: u64 = 1_767_225_600_000_000_000;

    fn traffic(seed: u64) -> Traffic {
        Traffic { seed, start_unix_nano: START }
    }

    #[test]
    fn traffic_is_a_function_of_its_seed() {
        for number in [0, 1, 1_000_000] {
            let (one, same) = (traffic(7).batch(number), traffic(7).batch(number));
            assert_eq!(one.requests, same.requests);
            assert_eq!(one.traces, same.traces);
            assert_ne!(one.requests, traffic(8).batch(number).requests);
        }
    }

    #[test]
    fn no_two_batches_share_a_trace() {
        let traffic = traffic(7);
        let ids: BTreeSet<String> = (0..100)
            .flat_map(|number| traffic.batch(number).traces)
            .map(|outline| outline.trace_id)
            .collect();
        assert_eq!(ids.len(), 100 * TRACES_PER_BATCH);
    }

    #[test]
    fn what_must_come_out_is_what_the_traces_consist_of() {
        let batch = traffic(7).batch(0);
        let expected = batch.expectation.traces();
        assert_eq!(expected.len(), TRACES_PER_BATCH);
        for outline in &batch.traces {
            assert_eq!(expected[&outline.trace_id].span_count(), outline.spans);
            assert!(expected[&outline.trace_id].log_count() > 0);
        }
        assert_eq!(batch.expectation.without_trace(), 0);
    }

    #[test]
    fn some_traces_fail_and_most_do_not() {
        let failed = (0..50)
            .flat_map(|number| traffic(7).batch(number).traces)
            .filter(|outline| outline.has_error)
            .count();
        assert!((5..150).contains(&failed), "{failed} of 500");
    }

    #[test]
    fn a_request_is_the_same_in_both_encodings() {
        for request in traffic(7).batch(0).requests {
            let text = request.json().unwrap();
            let read = Request::from_json(request.signal, text).unwrap();
            assert_eq!(read.protobuf(), request.protobuf());
        }
    }
}
