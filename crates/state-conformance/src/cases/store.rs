//! The store as a whole: its count, its readiness, its end.

use state_core::Error;

use crate::{
    Space,
    sample::{append, at, count, entry, everything, found, key, key_of, set, spans},
};

pub(crate) async fn the_count_follows_every_change(space: Space) {
    let store = space.client().await;
    assert_eq!(count(&*store).await, 0);
    append(&*store, &key("a"), spans(1, 1)).await;
    append(&*store, &key("a"), spans(2, 1)).await;
    append(&*store, &key_of("t", "a"), spans(1, 1)).await;
    assert_eq!(count(&*store).await, 2);
    set(&*store, entry("a", at(1))).await;
    set(&*store, entry("b", at(1))).await;
    assert_eq!(count(&*store).await, 3);
    store.delete_correlation(&key_of("t", "a")).await.unwrap();
    assert_eq!(count(&*store).await, 2);
    store.cleanup_old_correlations(at(2)).await.unwrap();
    assert_eq!(count(&*store).await, 0);
}

pub(crate) async fn an_open_store_is_ready(space: Space) {
    space.client().await.ready().await.unwrap();
}

pub(crate) async fn a_closed_store_refuses_and_says_so(space: Space) {
    let store = space.client().await;
    append(&*store, &key("a"), spans(1, 1)).await;
    store.close().await.unwrap();
    store.close().await.expect("closing again is no error");
    let errors = [
        store.append(vec![]).await.err(),
        store.get_correlation(&key("a")).await.err(),
        store.set_correlation(&key("a"), entry("a", at(1)), None).await.err(),
        store.delete_correlation(&key("a")).await.err(),
        store.get_correlations_by_time_range(&everything()).await.err(),
        store.cleanup_old_correlations(at(1)).await.err(),
        store.expire().await.err(),
        store.get_correlation_count().await.err(),
        store.ready().await.err(),
        store.state_id().await.err(),
    ];
    for (place, error) in errors.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("operation {place} was served by a closed store"));
        assert!(matches!(error, Error::Closed { .. }) && error.is_retryable(), "operation {place}: {error}");
    }
}

pub(crate) async fn who_shares_a_state_knows_it_by_the_same_id(space: Space) {
    let (one, another) = (space.client().await, space.client().await);
    let id = one.state_id().await.unwrap();
    assert!((1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
    append(&*another, &key("a"), spans(1, 1)).await;
    assert_eq!(another.state_id().await.unwrap(), id);
    assert_ne!(space.beside().client().await.state_id().await.unwrap(), id);
}

pub(crate) async fn the_state_outlives_its_clients(space: Space) {
    let writer = space.client().await;
    let reader = space.client().await;
    append(&*writer, &key("a"), spans(1, 1)).await;
    writer.close().await.unwrap();
    drop(writer);
    assert_eq!(found(&*reader, &key("a")).await.spans, [spans(1, 1)]);
    assert_eq!(found(&*space.client().await, &key("a")).await.spans, [spans(1, 1)]);
}
