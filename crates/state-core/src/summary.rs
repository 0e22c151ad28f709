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

    /// Adds what was counted elsewhere.
    fn add(&mut self, other: &Self) {
        self.spans += other.spans;
        self.logs += other.logs;
        self.errors += other.errors;
        self.bytes += other.bytes;
        let first_events = [self.first_event, other.first_event];
        self.first_event = first_events.into_iter().flatten().min();
        self.last_event = self.last_event.max(other.last_event);
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

    /// What two states know of one correlation together; what both hold counts twice. `self` goes first, unless
    /// only `other` knows the root.
    #[must_use]
    pub fn unite(self, other: Self) -> Self {
        let is_rooted = !self.root_name.is_empty() || other.root_name.is_empty();
        let (mut main, other) = if is_rooted { (self, other) } else { (other, self) };
        // Active somewhere is not closed.
        main.status = match (main.status, other.status) {
            (Some(Status::Active), _) | (_, Some(Status::Active)) => Some(Status::Active),
            (one, another) => one.or(another),
        };
        main.services.extend(other.services);
        main.first_seen = main.first_seen.min(other.first_seen);
        main.last_updated = main.last_updated.max(other.last_updated);
        main.counts.add(&other.counts);
        for (name, value) in other.metadata {
            main.metadata.entry(name).or_insert(value);
        }
        main
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

    #[test]
    fn two_states_know_a_correlation_together() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let summary = |service: &str, root: Option<&str>, seconds, status| {
            let origins = vec![origin(service, "")];
            let roots =
                root.map(|name| Root { service: service.into(), name: name.into() }).into_iter().collect();
            let counts = Counts { spans: 2, first_event: Some(at(seconds)), ..Counts::default() };
            let labels = Labels { origins, roots };
            let id = "order=7".parse().unwrap();
            let overrides = Overrides::default();
            let summary = Summary::fold(id, at(seconds), at(seconds + 1), counts, &labels, &overrides);
            Summary { status: Some(status), ..summary }
        };
        let one = summary("cart", None, 5, Status::Closed);
        let united = one.unite(summary("shop", Some("GET /"), 3, Status::Active));
        assert_eq!((united.service.as_str(), united.root_name.as_str()), ("shop", "GET /"));
        assert_eq!(united.services, ["cart", "shop"].map(str::to_owned).into());
        assert_eq!(united.status, Some(Status::Active));
        assert_eq!((united.first_seen, united.last_updated), (at(3), at(6)));
        assert_eq!((united.counts.spans, united.counts.first_event), (4, Some(at(3))));
    }
}
