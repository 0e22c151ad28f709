//! A correlation is bounded: what would go beyond is refused before anything is written.

use state_core::{Append, CorrelationEntry, Error, Limits, Outcome, Overrides, Refusal, Settings};

use crate::{
    Space,
    sample::{append, at, count, found, get, key, logs, spans, with_payload},
};

fn limits(spans_max: u64, bytes_max: u64) -> Settings {
    Settings { limits: Limits { spans_max, bytes_max }, ..Settings::default() }
}

pub(crate) async fn a_fragment_over_spans_max_is_refused(space: Space) {
    let store = space.client_with(limits(10, 1 << 20)).await;
    assert_eq!(append(&*store, &key("a"), spans(1, 8)).await, Outcome::Added);
    assert_eq!(append(&*store, &key("a"), spans(2, 3)).await, Outcome::Refused(Refusal::SpansMax));
    assert_eq!(append(&*store, &key("a"), spans(3, 2)).await, Outcome::Added, "the limit itself is allowed");
    assert_eq!(found(&*store, &key("a")).await.spans, [spans(1, 8), spans(3, 2)]);
}

pub(crate) async fn a_fragment_over_bytes_max_is_refused(space: Space) {
    let store = space.client_with(limits(10, 100)).await;
    assert_eq!(append(&*store, &key("a"), with_payload(vec![1; 60])).await, Outcome::Added);
    let refused = append(&*store, &key("a"), with_payload(vec![2; 41])).await;
    assert_eq!(refused, Outcome::Refused(Refusal::BytesMax));
    assert_eq!(append(&*store, &key("a"), with_payload(vec![3; 40])).await, Outcome::Added);
    assert_eq!(found(&*store, &key("a")).await.summary().counts.bytes, 100);
}

pub(crate) async fn spans_and_logs_are_bounded_apart(space: Space) {
    let store = space.client_with(limits(10, 1 << 20)).await;
    assert_eq!(append(&*store, &key("a"), spans(1, 10)).await, Outcome::Added);
    assert_eq!(append(&*store, &key("a"), logs(1, 10)).await, Outcome::Added);
    assert_eq!(append(&*store, &key("a"), logs(2, 1)).await, Outcome::Refused(Refusal::SpansMax));
}

pub(crate) async fn a_full_correlation_knows_its_duplicates(space: Space) {
    let store = space.client_with(limits(10, 1 << 20)).await;
    append(&*store, &key("a"), spans(1, 10)).await;
    assert_eq!(append(&*store, &key("a"), spans(1, 10)).await, Outcome::Duplicate);
}

pub(crate) async fn a_refusal_leaves_the_rest_of_the_batch(space: Space) {
    let store = space.client_with(limits(4, 1 << 20)).await;
    let batch = [("a", 1, 3), ("a", 2, 3), ("b", 3, 3), ("a", 4, 1), ("c", 5, 5)]
        .map(|(id, seed, items)| Append { key: key(id), fragment: spans(seed, items) });
    let refused = Outcome::Refused(Refusal::SpansMax);
    let outcomes = store.append(batch.to_vec()).await.unwrap();
    assert_eq!(outcomes, [Outcome::Added, refused, Outcome::Added, Outcome::Added, refused]);
    assert_eq!(found(&*store, &key("a")).await.spans, [spans(1, 3), spans(4, 1)]);
    assert_eq!(found(&*store, &key("b")).await.spans, [spans(3, 3)]);
}

pub(crate) async fn a_refused_first_fragment_creates_nothing(space: Space) {
    let store = space.client_with(limits(4, 1 << 20)).await;
    append(&*store, &key("a"), spans(1, 5)).await;
    assert_eq!(get(&*store, &key("a")).await, None);
    assert_eq!(count(&*store).await, 0);
}

pub(crate) async fn an_entry_over_a_limit_is_refused(space: Space) {
    let store = space.client_with(limits(4, 1 << 20)).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    let large = CorrelationEntry::fold(key("a").id, at(1), at(2), vec![spans(2, 5)], Overrides::default());
    let error = store.set_correlation(&key("a"), large, None).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains("spans_max"), "{error}");
    assert_eq!(found(&*store, &key("a")).await.spans, [spans(1, 1)]);
}
