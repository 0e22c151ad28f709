//! Fragments, entries and small steps that the cases share.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use state_core::{
    Append, CorrelationEntry, CorrelationId, CorrelationKey, Cursor, Facts, Fragment, Identity, Origin,
    Outcome, Overrides, RangeQuery, Root, Signal, StateManager, Summary,
};

/// A time in microseconds since 2020-09-13; the cases compare times, they do not read a clock.
pub(crate) fn at(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_600_000_000_000_000 + micros).expect("in range")
}

/// The correlation `text` of the empty tenant.
pub(crate) fn key(text: &str) -> CorrelationKey {
    CorrelationKey { tenant: Default::default(), id: id(text) }
}

/// The correlation `text` of a tenant.
pub(crate) fn key_of(tenant: &str, text: &str) -> CorrelationKey {
    CorrelationKey { tenant: tenant.parse().expect("a tenant"), id: id(text) }
}

fn id(text: &str) -> CorrelationId {
    text.parse().expect("a correlation id")
}

/// A fragment of `spans` spans that differs from those of another `seed`.
pub(crate) fn spans(seed: u32, spans: u32) -> Fragment {
    build(Signal::Traces, seed, spans)
}

/// A fragment of `logs` log records that differs from those of another `seed`.
pub(crate) fn logs(seed: u32, logs: u32) -> Fragment {
    build(Signal::Logs, seed, logs)
}

fn build(signal: Signal, seed: u32, items: u32) -> Fragment {
    let identity = |item: u32| (u128::from(seed) << 64 | u128::from(item)).to_be_bytes();
    let payload: Vec<u8> =
        (0..items).flat_map(|item| format!("{signal:?} {seed} {item};").into_bytes()).collect();
    let event = |offset: i64| Some(at(i64::from(seed) * 1_000 + offset));
    let facts = Facts {
        errors: seed % 2,
        first_event: event(0),
        last_event: event(500),
        origins: vec![Origin { service: format!("service-{}", seed % 5), env: "test".into() }],
        root: (seed == 0).then(|| Root { service: "service-0".into(), name: "GET /".into() }),
        keys: BTreeSet::from([("order.id".into(), (seed % 3).to_string())]),
    };
    Fragment::new(signal, Bytes::from(payload), (0..items).map(identity).collect(), facts)
}

/// A fragment of one span with this payload and no facts.
pub(crate) fn with_payload(payload: impl Into<Bytes>) -> Fragment {
    Fragment::new(Signal::Traces, payload.into(), vec![[1; 16]], Facts::default())
}

/// A fragment with this payload, these identities and no facts.
pub(crate) fn with_identities(signal: Signal, payload: &'static str, identities: Vec<Identity>) -> Fragment {
    Fragment::new(signal, Bytes::from_static(payload.as_bytes()), identities, Facts::default())
}

/// An entry that arrived at a time, with a fragment of its own.
pub(crate) fn entry(text: &str, last_updated: DateTime<Utc>) -> CorrelationEntry {
    CorrelationEntry::fold(id(text), last_updated, last_updated, vec![spans(1, 1)], Overrides::default())
}

/// Appends one fragment.
pub(crate) async fn append(store: &dyn StateManager, key: &CorrelationKey, fragment: Fragment) -> Outcome {
    let batch = vec![Append { key: key.clone(), fragment }];
    let outcomes = store.append(batch).await.expect("the store confirms");
    assert_eq!(outcomes.len(), 1, "one outcome for one fragment");
    outcomes[0]
}

/// Sets an entry under its own id, in the empty tenant.
pub(crate) async fn set(store: &dyn StateManager, entry: CorrelationEntry) {
    let key = CorrelationKey { tenant: Default::default(), id: entry.correlation_id.clone() };
    store.set_correlation(&key, entry, None).await.expect("the store confirms");
}

/// Reads a correlation.
pub(crate) async fn get(store: &dyn StateManager, key: &CorrelationKey) -> Option<CorrelationEntry> {
    store.get_correlation(key).await.expect("the store answers")
}

/// Reads a correlation that must be there.
pub(crate) async fn found(store: &dyn StateManager, key: &CorrelationKey) -> CorrelationEntry {
    get(store, key).await.unwrap_or_else(|| panic!("{key} is there"))
}

/// Counts all correlations.
pub(crate) async fn count(store: &dyn StateManager) -> u64 {
    store.get_correlation_count().await.expect("the store answers")
}

/// Reads every page of a list.
pub(crate) async fn list(store: &dyn StateManager, mut query: RangeQuery) -> Vec<Summary> {
    let mut listed = Vec::new();
    for _ in 0..10_000 {
        let page = store.get_correlations_by_time_range(&query).await.expect("the store answers");
        assert!(page.correlations.len() <= query.limit, "a page holds at most what was asked for");
        let places: Vec<Cursor> = page.correlations.iter().map(Cursor::of).collect();
        assert!(places.is_sorted(), "newest first, then by id");
        listed.extend(page.correlations);
        query.after = Some(match page.next {
            Some(next) => next,
            None => return listed,
        });
    }
    panic!("the list has no end");
}

/// Lists everything of the empty tenant, as ids.
pub(crate) async fn ids(store: &dyn StateManager, query: RangeQuery) -> Vec<String> {
    list(store, query).await.into_iter().map(|summary| summary.correlation_id.to_string()).collect()
}

/// A query for everything, in pages of 100.
pub(crate) fn everything() -> RangeQuery {
    RangeQuery { limit: 100, ..RangeQuery::default() }
}

/// Asks until the answer is yes; a state that does not come within 20 s will not come.
pub(crate) async fn eventually(what: &str, mut question: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !question().await {
        assert!(tokio::time::Instant::now() < deadline, "{what} within 20 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
