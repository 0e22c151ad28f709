//! Correlation entries: the fold of a correlation's fragments, with its telemetry.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{CorrelationId, Counts, Fragment, Labels, Signal, Summary, TraceId};

/// A correlation with all its telemetry: what `get_correlation` returns and `set_correlation` takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorrelationEntry {
    /// Its name.
    pub correlation_id: CorrelationId,
    /// The trace it is, if it is one.
    pub trace_id: Option<TraceId>,
    /// Service of the root span; without one the first known; empty when there is none.
    pub service: String,
    /// Deployment environment of that service; empty when it names none.
    pub env: String,
    /// Arrival of the first fragment, by the store's clock, to the microsecond.
    pub first_seen: DateTime<Utc>,
    /// Arrival of the latest fragment, duplicates included, by the store's clock, to the microsecond.
    pub last_updated: DateTime<Utc>,
    /// Fragments that hold spans, in order of arrival: opaque OTLP with its identities.
    pub spans: Vec<Fragment>,
    /// Fragments that hold log records, likewise.
    pub logs: Vec<Fragment>,
    /// Correlation keys found in the telemetry, and what the user has set, which goes first.
    pub metadata: BTreeMap<String, String>,
}

/// What a user set by `set_correlation` that does not follow from the fragments. It stays when
/// fragments are added later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// Trace id other than the one in the correlation id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// Service other than the folded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Environment other than the folded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// Metadata other than the correlation keys found.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl Overrides {
    /// Whether everything follows from the fragments.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl CorrelationEntry {
    /// Folds a correlation's fragments, given in order of arrival.
    pub fn fold(
        correlation_id: CorrelationId,
        first_seen: DateTime<Utc>,
        last_updated: DateTime<Utc>,
        fragments: Vec<Fragment>,
        overrides: Overrides,
    ) -> Self {
        let mut labels = Labels::default();
        fragments.iter().for_each(|fragment| labels.absorb(fragment));
        let mut metadata = keys(&fragments);
        metadata.extend(overrides.metadata);
        let (spans, logs) = fragments.into_iter().partition(|fragment| fragment.signal() == Signal::Traces);
        Self {
            trace_id: overrides.trace_id.or_else(|| correlation_id.trace_id()),
            correlation_id,
            service: overrides.service.unwrap_or_else(|| labels.service().to_owned()),
            env: overrides.env.unwrap_or_else(|| labels.env().to_owned()),
            first_seen,
            last_updated,
            spans,
            logs,
            metadata,
        }
    }

    /// What two states know of one correlation together. What only the user can have set, `other` sets where
    /// `self` does not.
    #[must_use]
    pub fn unite(self, other: Self) -> Self {
        let Overrides { trace_id, service, env, metadata } = other.overrides();
        let mut overrides = self.overrides();
        overrides.trace_id = overrides.trace_id.or(trace_id);
        overrides.service = overrides.service.or(service);
        overrides.env = overrides.env.or(env);
        for (name, value) in metadata {
            overrides.metadata.entry(name).or_insert(value);
        }
        let first_seen = self.first_seen.min(other.first_seen);
        let last_updated = self.last_updated.max(other.last_updated);
        let correlation_id = self.correlation_id.clone();
        let mut known = HashSet::new();
        let fragments = self.spans.into_iter().chain(self.logs).chain(other.spans).chain(other.logs);
        let fragments = fragments.filter(|fragment| known.insert(fragment.id())).collect();
        Self::fold(correlation_id, first_seen, last_updated, fragments, overrides)
    }

    /// All fragments, spans first.
    pub fn fragments(&self) -> impl Iterator<Item = &Fragment> {
        self.spans.iter().chain(&self.logs)
    }

    /// What of this entry does not follow from its fragments.
    pub fn overrides(&self) -> Overrides {
        let labels = self.labels();
        let found = keys(self.fragments());
        let differs = |set: &str, folded: &str| (set != folded).then(|| set.to_owned());
        let mut metadata = self.metadata.clone();
        metadata.retain(|name, value| found.get(name) != Some(value));
        Overrides {
            trace_id: self.trace_id.filter(|set| Some(*set) != self.correlation_id.trace_id()),
            service: differs(&self.service, labels.service()),
            env: differs(&self.env, labels.env()),
            metadata,
        }
    }

    /// What is known without the telemetry, each span and log record counted once.
    ///
    /// `errors` and `bytes` are sums over the fragments all the same.
    pub fn summary(&self) -> Summary {
        let mut counts = Counts::default();
        self.fragments().for_each(|fragment| counts.absorb(fragment));
        counts.spans = distinct(&self.spans);
        counts.logs = distinct(&self.logs);
        let mut summary = Summary::fold(
            self.correlation_id.clone(),
            self.first_seen,
            self.last_updated,
            counts,
            &self.labels(),
            &self.overrides(),
        );
        summary.metadata.clone_from(&self.metadata);
        summary
    }

    fn labels(&self) -> Labels {
        let mut labels = Labels::default();
        self.fragments().for_each(|fragment| labels.absorb(fragment));
        labels
    }
}

/// Correlation keys of fragments; several values of one name are joined by a comma.
fn keys<'a>(fragments: impl IntoIterator<Item = &'a Fragment>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::<&str, Vec<&str>>::new();
    for (name, value) in fragments.into_iter().flat_map(|fragment| &fragment.facts().keys) {
        values.entry(name).or_default().push(value);
    }
    let join = |mut values: Vec<&str>| {
        values.sort_unstable();
        values.dedup();
        values.join(",")
    };
    values.into_iter().map(|(name, values)| (name.to_owned(), join(values))).collect()
}

fn distinct(fragments: &[Fragment]) -> u64 {
    fragments.iter().flat_map(Fragment::identities).collect::<HashSet<_>>().len() as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{Facts, Identity, Origin, Root};

    fn at(micros: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(micros).unwrap()
    }

    fn fragment() -> impl Strategy<Value = Fragment> {
        let name = "[a-c]{0,2}";
        let origins = proptest::collection::btree_set((name, name), 0..3);
        let root = proptest::option::of((name, name));
        let keys = proptest::collection::btree_set((name, name), 0..3);
        let event = || proptest::option::of(0..1_000_000_i64);
        let identities = vec(any::<Identity>(), 0..4);
        let rest = (any::<bool>(), 0..9_u32, event(), event(), vec(any::<u8>(), 0..40));
        (origins, root, keys, identities, rest).prop_map(
            |(origins, root, keys, identities, (logs, errors, first, last, payload))| {
                let facts = Facts {
                    errors,
                    first_event: first.map(at),
                    last_event: last.map(at),
                    origins: origins.into_iter().map(|(service, env)| Origin { service, env }).collect(),
                    root: root.map(|(service, name)| Root { service, name }),
                    keys,
                };
                let signal = if logs { Signal::Logs } else { Signal::Traces };
                Fragment::new(signal, Bytes::from(payload), identities, facts)
            },
        )
    }

    fn fold(fragments: Vec<Fragment>, overrides: Overrides) -> CorrelationEntry {
        CorrelationEntry::fold("order=7".parse().unwrap(), at(1), at(2), fragments, overrides)
    }

    proptest! {
        #[test]
        fn the_serde_form_round_trips(fragments in vec(fragment(), 0..5)) {
            let entry = fold(fragments, Overrides::default());
            let text = serde_json::to_string(&entry).unwrap();
            prop_assert_eq!(serde_json::from_str::<CorrelationEntry>(&text).unwrap(), entry);
        }

        #[test]
        fn the_order_of_arrival_changes_no_field(fragments in vec(fragment(), 0..5)) {
            let forward = fold(fragments.clone(), Overrides::default());
            let backward = fold(fragments.into_iter().rev().collect(), Overrides::default());
            prop_assert_eq!(forward.summary(), backward.summary());
            prop_assert_eq!(forward.overrides(), Overrides::default());
        }

        #[test]
        fn what_two_states_know_together_is_what_one_would_know(
            one in vec(fragment(), 0..4), both in vec(fragment(), 0..3), other in vec(fragment(), 0..4),
        ) {
            let of = |parts: &[&[Fragment]]| {
                let mut known = HashSet::new();
                let mut all: Vec<_> = parts.iter().flat_map(|part| part.iter().cloned()).collect();
                all.retain(|fragment| known.insert(fragment.id()));
                fold(all, Overrides::default())
            };
            let united = of(&[&one, &both]).unite(of(&[&both, &other]));
            prop_assert_eq!(united, of(&[&one, &both, &other]));
        }

        #[test]
        fn what_the_user_set_survives_the_fold(
            fragments in vec(fragment(), 0..5), service in "[a-c]{0,2}", env in "[a-c]{0,2}",
            metadata in proptest::collection::btree_map("[a-c]{0,2}", "[a-c]{0,2}", 0..3),
        ) {
            let mut entry = fold(fragments, Overrides::default());
            (entry.service, entry.env) = (service, env);
            entry.trace_id = TraceId::new([7; 16]);
            entry.metadata.extend(metadata);
            let fragments = entry.fragments().cloned().collect();
            prop_assert_eq!(fold(fragments, entry.overrides()), entry);
        }
    }

    #[test]
    fn a_span_in_two_batches_counts_once() {
        let traces = |payload: &'static [u8], identities| {
            Fragment::new(Signal::Traces, Bytes::from_static(payload), identities, Facts::default())
        };
        let entry = fold(
            vec![traces(b"ab", vec![[1; 16], [2; 16]]), traces(b"b", vec![[2; 16]])],
            Overrides::default(),
        );
        assert_eq!(entry.summary().counts.spans, 2);
    }

    #[test]
    fn several_values_of_a_key_are_kept() {
        let with_key = |payload: &'static [u8], value: &str| {
            let keys = BTreeSet::from([("order.id".to_owned(), value.to_owned())]);
            let facts = Facts { keys, ..Facts::default() };
            Fragment::new(Signal::Logs, Bytes::from_static(payload), vec![], facts)
        };
        let entry =
            fold(vec![with_key(b"2", "8"), with_key(b"1", "7"), with_key(b"3", "7")], Overrides::default());
        assert_eq!(entry.metadata["order.id"], "7,8");
    }
}
