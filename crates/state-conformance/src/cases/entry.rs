//! Whole entries: reading, replacing, removing.

use futures::future::join_all;
use state_core::{CorrelationEntry, Error, Outcome, Overrides, TraceId};

use crate::{
    Space,
    sample::{append, at, count, entry, found, get, key, logs, set, spans},
};

/// An entry in which nothing follows from anything else.
fn custom(seed: u32) -> CorrelationEntry {
    let overrides = Overrides {
        trace_id: TraceId::new([seed as u8; 16]),
        service: Some(format!("own-{seed}")),
        env: Some("own".into()),
        metadata: [("ticket".to_owned(), format!("T-{seed}")), ("leer".to_owned(), String::new())].into(),
    };
    let fragments = vec![spans(seed, 2), logs(seed, 3), spans(seed + 1, 1)];
    CorrelationEntry::fold(key("a").id, at(1), at(i64::from(seed)), fragments, overrides)
}

pub(crate) async fn an_unknown_correlation_is_none(space: Space) {
    let store = space.client().await;
    assert_eq!(get(&*store, &key("a")).await, None);
}

pub(crate) async fn every_field_round_trips(space: Space) {
    let store = space.client().await;
    set(&*store, custom(5)).await;
    let read = found(&*store, &key("a")).await;
    assert_eq!(read, custom(5));
    let text = serde_json::to_string(&read).unwrap();
    assert_eq!(serde_json::from_str::<CorrelationEntry>(&text).unwrap(), custom(5));
}

pub(crate) async fn an_entry_without_fragments_round_trips(space: Space) {
    let store = space.client().await;
    let empty = CorrelationEntry::fold(key("a").id, at(1), at(2), vec![], Overrides::default());
    set(&*store, empty.clone()).await;
    assert_eq!(found(&*store, &key("a")).await, empty);
    assert_eq!(count(&*store).await, 1);
}

pub(crate) async fn set_replaces_what_was_there(space: Space) {
    let store = space.client().await;
    append(&*store, &key("a"), spans(9, 9)).await;
    set(&*store, custom(4)).await;
    assert_eq!(found(&*store, &key("a")).await, custom(4));
    set(&*store, entry("a", at(9))).await;
    assert_eq!(found(&*store, &key("a")).await, entry("a", at(9)));
    assert_eq!(count(&*store).await, 1);
}

pub(crate) async fn what_was_set_stays_when_fragments_are_added(space: Space) {
    let store = space.client().await;
    set(&*store, custom(5)).await;
    assert_eq!(append(&*store, &key("a"), logs(9, 1)).await, Outcome::Added);
    let read = found(&*store, &key("a")).await;
    assert_eq!((read.service.as_str(), read.env.as_str()), ("own-5", "own"));
    assert_eq!(read.metadata["ticket"], "T-5");
    assert_eq!(read.first_seen, at(1));
    assert!(read.last_updated > at(5), "an arrival is now");
    assert_eq!(read.logs, [logs(5, 3), logs(9, 1)]);
}

pub(crate) async fn a_fragment_that_was_set_is_known(space: Space) {
    let store = space.client().await;
    set(&*store, custom(5)).await;
    assert_eq!(append(&*store, &key("a"), logs(5, 3)).await, Outcome::Duplicate);
}

pub(crate) async fn a_fragment_that_was_replaced_is_new(space: Space) {
    let store = space.client().await;
    append(&*store, &key("a"), spans(9, 1)).await;
    set(&*store, custom(5)).await;
    assert_eq!(append(&*store, &key("a"), spans(9, 1)).await, Outcome::Added);
}

pub(crate) async fn setting_another_id_is_refused(space: Space) {
    let store = space.client().await;
    let error = store.set_correlation(&key("b"), custom(5), None).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    assert_eq!(count(&*store).await, 0);
}

pub(crate) async fn delete_answers_whether_it_was_there(space: Space) {
    let store = space.client().await;
    assert!(!store.delete_correlation(&key("a")).await.unwrap());
    append(&*store, &key("a"), spans(1, 1)).await;
    assert!(store.delete_correlation(&key("a")).await.unwrap());
    assert!(!store.delete_correlation(&key("a")).await.unwrap());
    assert_eq!(get(&*store, &key("a")).await, None);
    assert_eq!(count(&*store).await, 0);
}

pub(crate) async fn what_arrives_after_a_delete_starts_anew(space: Space) {
    let store = space.client().await;
    set(&*store, custom(5)).await;
    store.delete_correlation(&key("a")).await.unwrap();
    assert_eq!(append(&*store, &key("a"), spans(5, 2)).await, Outcome::Added);
    let read = found(&*store, &key("a")).await;
    assert_eq!(read.spans, [spans(5, 2)]);
    assert_eq!(read.logs, []);
    assert_eq!(read.service, "service-0", "nothing that was set remains");
    assert!(read.first_seen > at(5));
}

pub(crate) async fn concurrent_sets_leave_one_of_them_whole(space: Space) {
    let clients = [space.client().await, space.client().await];
    join_all((0..40).map(|seed| set(&*clients[seed as usize % 2], custom(seed + 2)))).await;
    let read = found(&*clients[0], &key("a")).await;
    assert!((0..40).any(|seed| custom(seed + 2) == read), "a mixture of several: {read:#?}");
}
