//! How a copy of recorded telemetry differs from it: other ids, other values of the correlation keys.

use loadgen::content;
use otlp_proto::opentelemetry::proto::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::{LogRecord, LogsData},
    trace::v1::{Span, TracesData},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// Attributes that the engines correlate by, and that differ between copies.
pub const KEYS: [&str; 2] = ["order.id", "user.id"];

pub type TraceId = [u8; 16];

/// Put on and taken off again it changes nothing, so what comes out can be compared with the recording.
#[derive(Debug, Clone, Default)]
pub struct Disguise {
    trace: TraceId,
    span: [u8; 8],
    /// Behind the values of keys.
    suffix: String,
}

impl Disguise {
    /// That of a copy; the same for the same seed.
    pub fn of_copy(seed: u64, copy: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed ^ (copy as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { trace: random.random(), span: random.random(), suffix: format!("~{seed}.{copy}") }
    }

    pub fn trace_id(&self, id: TraceId) -> TraceId {
        std::array::from_fn(|at| id[at] ^ self.trace[at])
    }

    pub fn key(&self, value: &str) -> String {
        format!("{value}{}", self.suffix)
    }

    pub fn put_on_traces(&self, traces: &mut TracesData) {
        let scopes = traces.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
        for span in scopes.flat_map(|scope| &mut scope.spans) {
            self.change_ids_of_span(span);
            change_keys(&mut span.attributes, |value| value.push_str(&self.suffix));
        }
    }

    pub fn put_on_logs(&self, logs: &mut LogsData) {
        let scopes = logs.resource_logs.iter_mut().flat_map(|resource| &mut resource.scope_logs);
        for log in scopes.flat_map(|scope| &mut scope.log_records) {
            self.change_ids_of_log(log);
            change_keys(&mut log.attributes, |value| value.push_str(&self.suffix));
        }
    }

    pub fn take_off_span(&self, span: &mut Span) {
        self.change_ids_of_span(span);
        change_keys(&mut span.attributes, |value| self.shorten(value));
    }

    pub fn take_off_log(&self, log: &mut LogRecord) {
        self.change_ids_of_log(log);
        change_keys(&mut log.attributes, |value| self.shorten(value));
    }

    fn change_ids_of_span(&self, span: &mut Span) {
        change_id(&mut span.trace_id, &self.trace);
        change_id(&mut span.span_id, &self.span);
        change_id(&mut span.parent_span_id, &self.span);
        for link in &mut span.links {
            change_id(&mut link.trace_id, &self.trace);
            change_id(&mut link.span_id, &self.span);
        }
    }

    fn change_ids_of_log(&self, log: &mut LogRecord) {
        change_id(&mut log.trace_id, &self.trace);
        change_id(&mut log.span_id, &self.span);
    }

    /// A value without the suffix was altered on its way, and is to be seen as that.
    fn shorten(&self, value: &mut String) {
        match value.strip_suffix(&self.suffix) {
            Some(shorter) => value.truncate(shorter.len()),
            None => value.push_str(" (of another copy)"),
        }
    }
}

/// Values of the correlation keys among attributes.
pub fn keys(attributes: &[KeyValue]) -> impl Iterator<Item = (String, String)> {
    let keys = attributes.iter().filter(|attribute| KEYS.contains(&attribute.key.as_str()));
    keys.map(|attribute| (attribute.key.clone(), content::text(attribute.value.as_ref())))
}

/// An absent id stays absent; OTLP takes one of zeros for absent too.
fn change_id(id: &mut [u8], mask: &[u8]) {
    if id.len() == mask.len() && id.iter().any(|byte| *byte != 0) {
        id.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
}

fn change_keys(attributes: &mut [KeyValue], change: impl Fn(&mut String)) {
    for attribute in attributes.iter_mut().filter(|attribute| KEYS.contains(&attribute.key.as_str())) {
        if let Some(AnyValue { value: Some(Value::StringValue(text)) }) = &mut attribute.value {
            change(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn what_is_put_on_is_taken_off_without_a_trace() {
        let disguise = Disguise::of_copy(1, 7);
        let (span, log) = (sample::span(1, 2, 1), sample::log(1, 2, "a", "order-1"));
        let mut traces = sample::traces([span.clone()]);
        disguise.put_on_traces(&mut traces);
        let mut disguised = traces.resource_spans[0].scope_spans[0].spans[0].clone();
        assert_ne!(disguised.trace_id, span.trace_id);
        assert_ne!(disguised.span_id, span.span_id);
        assert_ne!(disguised.parent_span_id, span.parent_span_id);
        disguise.take_off_span(&mut disguised);
        assert_eq!(disguised, span);

        let mut logs = sample::logs([log.clone()]);
        disguise.put_on_logs(&mut logs);
        let mut disguised = logs.resource_logs[0].scope_logs[0].log_records[0].clone();
        assert_eq!(
            keys(&disguised.attributes).collect::<Vec<_>>(),
            [("order.id".to_owned(), disguise.key("order-1"))]
        );
        disguise.take_off_log(&mut disguised);
        assert_eq!(disguised, log);
    }

    #[test]
    fn a_root_stays_one_and_copies_differ() {
        let root = sample::span(1, 1, 0);
        let disguised = |copy| {
            let mut traces = sample::traces([root.clone()]);
            Disguise::of_copy(1, copy).put_on_traces(&mut traces);
            traces.resource_spans[0].scope_spans[0].spans[0].clone()
        };
        assert!(disguised(0).parent_span_id.is_empty());
        assert_eq!(disguised(0), disguised(0));
        assert_ne!(disguised(0).trace_id, disguised(1).trace_id);
    }

    #[test]
    fn a_key_of_another_copy_is_seen() {
        let mut logs = sample::logs([sample::log(1, 2, "a", "order-1")]);
        Disguise::of_copy(1, 7).put_on_logs(&mut logs);
        let mut log = logs.resource_logs[0].scope_logs[0].log_records[0].clone();
        Disguise::of_copy(1, 8).take_off_log(&mut log);
        assert!(!keys(&log.attributes).any(|(_, value)| value == "order-1"));
    }
}
