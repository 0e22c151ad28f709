//! Summaries: what is known about a correlation without its telemetry, folded from facts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Utc};

use crate::{CorrelationId, Fragment, Origin, Overrides, Root, Signal, TraceId};

/// Most origins, and likewise most roots, remembered for a summary. A trace of more than 64
/// services keeps the first 64 that arrived.
const LABELS_MAX: usize = 64;

/// Where a correlation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It has not been closed, or something new has arrived since.
    Active,
    /// It is closed: what it held was told.
    Closed,
}

/// Sums and extremes over the fragments of a correlation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Number of spans.
    pub spans: u64,
    /// Number of log records.
    pub logs: u64,
    /// Spans with status ERROR, log records of severity ERROR and above.
    pub errors: u64,
    /// Bytes of payload before compression.
    pub bytes: u64,
    /// Earliest start of a span or time of a log record.
    pub first_event: Option<DateTime<Utc>>,
    /// Latest end of a span or time of a log record.
    pub last_event: Option<DateTime<Utc>>,
}

impl Counts {
    /// Adds a fragment that was not there.
    pub fn absorb(&mut self, fragment: &Fragment) {
        let facts = fragment.facts();
        self.spans += fragment.spans();
        self.logs += fragment.logs();
        self.errors += u64::from(facts.errors);
        self.bytes += fragment.payload().len() as u64;
        self.first_event = match (self.first_event, facts.first_event) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
        self.last_event = self.last_event.max(facts.last_event);
    }

    /// Time between the first and the last event; zero when none carries a time.
    pub fn duration(&self) -> Duration {
        let between = self.last_event.zip(self.first_event).map(|(last, first)| last - first);
        between.and_then(|between| between.to_std().ok()).unwrap_or_default()
    }

    /// The count that is bounded together with `signal`.
    pub fn items(&self, signal: Signal) -> u64 {
        match signal {
            Signal::Traces => self.spans,
            Signal::Logs => self.logs,
        }
    }
}

/// Names over the fragments of a correlation: sets, so the order of arrival is no matter unless there
/// are more than are remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// The resources that took part, sorted.
    pub origins: Vec<Origin>,
    /// Root spans, sorted. More than one only if a trace has several.
    pub roots: Vec<Root>,
}

impl Labels {
    /// Adds the names of a fragment.
    pub fn absorb(&mut self, fragment: &Fragment) {
        for origin in &fragment.facts().origins {
            self.absorb_origin(origin);
        }
        if let Some(root) = &fragment.facts().root {
            self.absorb_root(root);
        }
    }

    /// Adds an origin, unless there are too many.
    pub fn absorb_origin(&mut self, origin: &Origin) {
        insert(&mut self.origins, origin);
    }

    /// Adds a root, unless there are too many.
    pub fn absorb_root(&mut self, root: &Root) {
        insert(&mut self.roots, root);
    }

    /// The service of the root span; without one the first in alphabetical order; else empty.
    pub fn service(&self) -> &str {
        let root = self.roots.first().map(|root| root.service.as_str());
        root.or_else(|| self.origins.first().map(|origin| origin.service.as_str())).unwrap_or_default()
    }

    /// The environment of [`Self::service`]; empty when its resource names none.
    pub fn env(&self) -> &str {
        let service = self.service();
        let mut envs =
            self.origins.iter().filter(|origin| origin.service == service).map(|origin| origin.env.as_str());
        envs.find(|env| !env.is_empty()).unwrap_or_default()
    }

    /// Every service that took part, each once, in alphabetical order.
    pub fn services(&self) -> BTreeSet<String> {
        self.origins.iter().map(|origin| origin.service.clone()).collect()
    }
}

/// Adds a label to sorted ones, unless it is there or there are too many. Most correlations have few: a list is cheaper
/// than a tree.
fn insert<T: Ord + Clone>(labels: &mut Vec<T>, label: &T) {
    if labels.len() < LABELS_MAX
        && let Err(place) = labels.binary_search(label)
    {
        labels.insert(place, label.clone());
    }
}

/// What is known about a correlation without its telemetry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub correlation_id: CorrelationId,
    /// Where it stands; `None` where that is not known, because it was folded from an entry.
    pub status: Option<Status>,
    /// The trace it is, if it is one.
    pub trace_id: Option<TraceId>,
    /// Service of the root span, or the first known.
    pub service: String,
    /// Deployment environment of that service.
    pub env: String,
    /// Every service that took part.
    pub services: BTreeSet<String>,
    /// Name of the root span; empty until it has arrived.
    pub root_name: String,
    /// Arrival of the first fragment, by the store's clock.
    pub first_seen: DateTime<Utc>,
    /// Arrival of the latest fragment, duplicates included, by the store's clock.
    pub last_updated: DateTime<Utc>,
    /// Sums over the fragments. A list does not read telemetry, so a span resent within another
    /// batch counts again there; [`CorrelationEntry::summary`](crate::CorrelationEntry::summary)
    /// counts each once.
    pub counts: Counts,
    /// Correlation keys (only when the telemetry was read) and what the user has set.
    pub metadata: BTreeMap<String, String>,
}

impl Summary {
    /// Folds what a store keeps beside the telemetry.
    pub fn fold(
        correlation_id: CorrelationId,
        first_seen: DateTime<Utc>,
        last_updated: DateTime<Utc>,
        counts: Counts,
        labels: &Labels,
        overrides: &Overrides,
    ) -> Self {
        let Overrides { trace_id, service, env, metadata } = overrides.clone();
        Self {
            trace_id: trace_id.or_else(|| correlation_id.trace_id()),
            correlation_id,
            status: None,
            service: service.unwrap_or_else(|| labels.service().to_owned()),
            env: env.unwrap_or_else(|| labels.env().to_owned()),
            services: labels.services(),
            root_name: labels.roots.first().map(|root| root.name.clone()).unwrap_or_default(),
            first_seen,
            last_updated,
            counts,
            metadata,
        }
    }

    /// Whether this service took part.
    pub fn involves(&self, service: &str) -> bool {
        self.service == service || self.services.contains(service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(service: &str, env: &str) -> Origin {
        Origin { service: service.into(), env: env.into() }
    }

    #[test]
    fn the_root_names_the_service_once_it_is_there() {
        let mut labels = Labels::default();
        assert_eq!((labels.service(), labels.env()), ("", ""));
        labels.absorb_origin(&origin("cart", "staging"));
        labels.absorb_origin(&origin("shop", "production"));
        assert_eq!((labels.service(), labels.env()), ("cart", "staging"));
        labels.absorb_root(&Root { service: "shop".into(), name: "GET /".into() });
        assert_eq!((labels.service(), labels.env()), ("shop", "production"));
    }

    #[test]
    fn labels_stay_bounded() {
        let mut labels = Labels::default();
        for number in 0..1_000 {
            labels.absorb_origin(&origin(&number.to_string(), ""));
        }
        assert_eq!(labels.origins.len(), LABELS_MAX);
    }
}
