//! The span that stands for a link between two traces: a pure function of both, and how it is read back.

use opentelemetry::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value};
use otlp_codec::{SplitOptions, Top, split_traces};
use otlp_proto::opentelemetry::proto::{
    self as opentelemetry,
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, TracesData,
        span::{Link, SpanKind},
    },
};
use prost::Message as _;
use state_core::{Append, Fragment, Signal, Tenant, TraceId};
use xxhash_rust::xxh3::xxh3_64;

use super::score::Key;
use crate::regroup;

/// The correlation key by which a trace is found from the one that it is linked to.
pub(crate) const LINKED_TRACE_ID: &str = "correlation.linked_trace_id";
/// Name of the span.
const NAME: &str = "correlation.link";
/// Says that a span was not sent by a service.
const SYNTHETIC: &str = "correlation.synthetic";
const CONFIDENCE: &str = "correlation.confidence";
const KEYS: &str = "correlation.keys";
const SCOPE: &str = "correlation-engine";

/// A link from a trace to the one that led to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bridge<'a> {
    pub(crate) child: TraceId,
    /// The span that the bridge is below of.
    pub(crate) child_top: Top,
    /// Whose span it is.
    pub(crate) service: &'a str,
    pub(crate) env: &'a str,
    pub(crate) parent: TraceId,
    pub(crate) parent_top: Top,
    pub(crate) confidence: f64,
    pub(crate) keys: &'a [Key],
}

impl Bridge<'_> {
    /// The fragment of the child that holds it. The same bridge is always the same fragment.
    pub(crate) fn append(&self, tenant: &Tenant) -> Append {
        let request = self.encode();
        let options = SplitOptions::new(vec![LINKED_TRACE_ID.to_owned()]);
        let split = split_traces(&request, &options).expect("what was encoded here is well-formed");
        let part = split.parts.into_iter().next().expect("the ids of a bridge are valid");
        regroup::append(Signal::Traces, part, tenant)
    }

    fn encode(&self) -> Vec<u8> {
        let start = self.child_top.start_unix_nano;
        let keys = self.keys.iter().map(|(name, value)| text(format!("{name}={value}"))).collect();
        let attributes = vec![
            attribute(SYNTHETIC, Value::BoolValue(true)),
            attribute(CONFIDENCE, Value::DoubleValue(self.confidence)),
            attribute(KEYS, Value::ArrayValue(ArrayValue { values: keys })),
            attribute(LINKED_TRACE_ID, Value::StringValue(self.parent.to_string())),
        ];
        let link = Link {
            trace_id: self.parent.bytes().to_vec(),
            span_id: self.parent_top.span_id.to_vec(),
            attributes: attributes.clone(),
            ..Link::default()
        };
        let span = Span {
            trace_id: self.child.bytes().to_vec(),
            span_id: self.span_id().to_vec(),
            parent_span_id: self.child_top.span_id.to_vec(),
            name: NAME.to_owned(),
            kind: SpanKind::Internal.into(),
            // It marks where the child begins, and makes it no longer.
            start_time_unix_nano: start,
            end_time_unix_nano: start,
            attributes,
            links: vec![link],
            ..Span::default()
        };
        let named = |name, value: &str| attribute(name, Value::StringValue(value.to_owned()));
        let mut resource = vec![named("service.name", self.service)];
        if !self.env.is_empty() {
            resource.push(named("deployment.environment.name", self.env));
        }
        let resource_spans = vec![ResourceSpans {
            resource: Some(Resource { attributes: resource, ..Resource::default() }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope { name: SCOPE.to_owned(), ..Default::default() }),
                spans: vec![span],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }];
        TracesData { resource_spans }.encode_to_vec()
    }

    /// One for each pair of traces.
    fn span_id(&self) -> [u8; 8] {
        let pair = [*self.child.bytes(), *self.parent.bytes()].concat();
        // All zero is no id.
        xxh3_64(&pair).max(1).to_be_bytes()
    }
}

/// What a bridge says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bridged {
    pub(crate) parent: TraceId,
    pub(crate) confidence: f64,
    /// What both traces carry, as `name=value`.
    pub(crate) keys: Vec<String>,
}

impl Bridged {
    /// Reads the bridges in a fragment; most have none.
    pub(crate) fn read(fragment: &Fragment) -> Vec<Self> {
        if !is_bridge(fragment) {
            return Vec::new();
        }
        let Ok(data) = TracesData::decode(fragment.payload().clone()) else { return Vec::new() };
        let scopes = data.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        let spans = scopes.flat_map(|scope| scope.spans).filter(|span| span.name == NAME);
        spans.flat_map(|span| span.links).filter_map(Self::of_link).collect()
    }

    fn of_link(link: Link) -> Option<Self> {
        let parent = TraceId::new(link.trace_id.try_into().ok()?)?;
        let mut bridged = Self { parent, confidence: 0.0, keys: Vec::new() };
        let mut is_synthetic = false;
        for KeyValue { key, value, .. } in link.attributes {
            match (key.as_str(), value.and_then(|value| value.value)) {
                (SYNTHETIC, Some(Value::BoolValue(value))) => is_synthetic = value,
                (CONFIDENCE, Some(Value::DoubleValue(value))) => bridged.confidence = value,
                (KEYS, Some(Value::ArrayValue(array))) => {
                    bridged.keys = array.values.into_iter().filter_map(into_text).collect();
                }
                _ => {}
            }
        }
        is_synthetic.then_some(bridged)
    }
}

/// Whether a fragment carries the key of bridges.
pub(crate) fn is_bridge(fragment: &Fragment) -> bool {
    fragment.facts().keys.iter().any(|(name, _)| name == LINKED_TRACE_ID)
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(text: String) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(text)) }
}

fn into_text(value: AnyValue) -> Option<String> {
    match value.value {
        Some(Value::StringValue(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use otlp_codec::{Outline, Structure};

    use super::*;

    fn trace(number: u8) -> TraceId {
        TraceId::new([number; 16]).unwrap()
    }

    fn top(number: u8, start_unix_nano: u64) -> Top {
        Top { span_id: [number; 8], start_unix_nano }
    }

    fn bridge(child: u8, parent: u8, keys: &[Key]) -> Bridge<'_> {
        Bridge {
            child: trace(child),
            child_top: top(1, 1_700_000_000_000_000_000),
            service: "pay",
            env: "test",
            parent: trace(parent),
            parent_top: top(2, 5),
            confidence: 0.75,
            keys,
        }
    }

    fn fragment(child: u8, parent: u8) -> Fragment {
        let keys = [("order.id".to_owned(), "7".to_owned())];
        bridge(child, parent, &keys).append(&Tenant::default()).fragment
    }

    #[test]
    fn a_bridge_is_the_same_bytes_again_and_another_one_for_another_pair() {
        assert_eq!(fragment(1, 2), fragment(1, 2));
        let identities =
            [(1, 2), (1, 3), (2, 1)].map(|(child, parent)| fragment(child, parent).identities()[0]);
        assert!(identities[0] != identities[1] && identities[0] != identities[2], "{identities:?}");
    }

    /// Stored bridges must stay known across versions.
    #[test]
    fn a_bridge_keeps_its_span_id_across_versions() {
        let id = u64::from_be_bytes(bridge(1, 2, &[]).span_id());
        // Computed with Python's xxhash.
        assert_eq!(id, 0xe534_efe5_186b_6c8b);
    }

    #[test]
    fn a_bridge_belongs_to_the_child_and_is_found_by_the_parent() {
        let append = bridge(1, 2, &[]).append(&Tenant::default());
        assert_eq!(append.key.id.as_str(), "01".repeat(16));
        let facts = append.fragment.facts();
        let key = (LINKED_TRACE_ID.to_owned(), "02".repeat(16));
        assert_eq!(facts.keys.iter().collect::<Vec<_>>(), [&key]);
        assert_eq!((facts.errors, &facts.root), (0, &None), "it is neither an error nor a root");
        assert_eq!(facts.first_event, facts.last_event);
        assert_eq!((facts.origins[0].service.as_str(), facts.origins[0].env.as_str()), ("pay", "test"));
    }

    #[test]
    fn a_bridge_adds_nothing_to_what_is_missing() {
        let fragment = fragment(1, 2);
        let structure = Structure::read([&fragment.payload()[..]]).unwrap();
        assert!(!structure.has_root);
        assert_eq!(structure.missing_parents, [[1; 8]].into(), "the top of the child alone");
        assert_eq!(Outline::read([&fragment.payload()[..]]).unwrap().linked, [[2; 16]].into());
    }

    #[test]
    fn what_a_bridge_says_is_read_back() {
        let expected = Bridged { parent: trace(2), confidence: 0.75, keys: vec!["order.id=7".into()] };
        assert_eq!(Bridged::read(&fragment(1, 2)), [expected]);
    }
}
