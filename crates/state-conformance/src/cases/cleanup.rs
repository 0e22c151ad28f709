//! Clean-up before a cut-off: exactly what is older goes, and the answer counts it.

use futures::StreamExt as _;
use state_core::Outcome;

use crate::{
    Space,
    sample::{append, at, count, entry, everything, found, get, ids, key, key_of, set, spans},
};

pub(crate) async fn what_is_older_than_the_cutoff_goes(space: Space) {
    let store = space.client().await;
    for time in 0..10 {
        set(&*store, entry(&time.to_string(), at(time))).await;
    }
    assert_eq!(store.cleanup_old_correlations(at(7)).await.unwrap(), 7);
    assert_eq!(ids(&*store, everything()).await, ["9", "8", "7"]);
    assert_eq!(get(&*store, &key("3")).await, None);
    assert_eq!(count(&*store).await, 3);
}

pub(crate) async fn what_is_as_old_as_the_cutoff_stays(space: Space) {
    let store = space.client().await;
    set(&*store, entry("a", at(5))).await;
    assert_eq!(store.cleanup_old_correlations(at(5)).await.unwrap(), 0);
    assert_eq!(store.cleanup_old_correlations(at(6)).await.unwrap(), 1);
}

pub(crate) async fn a_late_arrival_saves_an_old_correlation(space: Space) {
    let store = space.client().await;
    for id in ["a", "b"] {
        set(&*store, entry(id, at(1))).await;
    }
    append(&*store, &key("a"), spans(2, 1)).await;
    assert_eq!(store.cleanup_old_correlations(at(1_000)).await.unwrap(), 1);
    assert_eq!(found(&*store, &key("a")).await.spans, [spans(1, 1), spans(2, 1)]);
    assert_eq!(get(&*store, &key("b")).await, None);
}

pub(crate) async fn the_count_is_exact_for_many(space: Space) {
    let store = space.client().await;
    let sets = (0..3_000).map(|number| {
        let store = &store;
        async move { set(&**store, entry(&format!("id-{number}"), at(number))).await }
    });
    // Not all at once: the last one would wait for all others within its own time.
    futures::stream::iter(sets).buffer_unordered(100).collect::<()>().await;
    assert_eq!(count(&*store).await, 3_000);
    assert_eq!(store.cleanup_old_correlations(at(2_500)).await.unwrap(), 2_500);
    assert_eq!(count(&*store).await, 500);
}

pub(crate) async fn cleanup_reaches_every_tenant(space: Space) {
    let store = space.client().await;
    for tenant in ["", "a", "b"] {
        store.set_correlation(&key_of(tenant, "x"), entry("x", at(1)), None).await.unwrap();
    }
    assert_eq!(store.cleanup_old_correlations(at(2)).await.unwrap(), 3);
    assert_eq!(count(&*store).await, 0);
}

pub(crate) async fn a_second_cleanup_finds_nothing(space: Space) {
    let store = space.client().await;
    set(&*store, entry("a", at(1))).await;
    assert_eq!(store.cleanup_old_correlations(at(2)).await.unwrap(), 1);
    assert_eq!(store.cleanup_old_correlations(at(2)).await.unwrap(), 0);
}

pub(crate) async fn what_arrives_after_a_cleanup_starts_anew(space: Space) {
    let store = space.client().await;
    set(&*store, entry("a", at(1))).await;
    store.cleanup_old_correlations(at(2)).await.unwrap();
    assert_eq!(append(&*store, &key("a"), spans(1, 1)).await, Outcome::Added);
    assert!(found(&*store, &key("a")).await.first_seen > at(1));
}
