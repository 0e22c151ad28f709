//! After its TTL nothing of a correlation is readable, listed or counted.

use std::time::Duration;

use state_core::{CorrelationKey, Error, Outcome, Settings, StateManager};
use tokio::time::Instant;

use crate::{
    Space,
    sample::{append, at, count, entry, eventually, everything, found, get, ids, key, spans},
};

const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(600);

fn ttl(ttl: Duration) -> Settings {
    Settings { ttl, ..Settings::default() }
}

async fn gone(store: &dyn StateManager, key: &CorrelationKey) {
    eventually(&format!("{key} is gone"), async || get(store, key).await.is_none()).await;
}

pub(crate) async fn a_correlation_is_gone_after_its_ttl(space: Space) {
    let store = space.client_with(ttl(SHORT)).await;
    let before = Instant::now();
    append(&*store, &key("a"), spans(1, 1)).await;
    let read = get(&*store, &key("a")).await;
    assert!(read.is_some() || before.elapsed() >= SHORT, "it is there until its TTL has passed");
    gone(&*store, &key("a")).await;
    assert!(before.elapsed() >= SHORT, "it went before its TTL had passed");
}

pub(crate) async fn an_expired_correlation_is_not_listed(space: Space) {
    let store = space.client_with(ttl(SHORT)).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    store.set_correlation(&key("b"), entry("b", at(1)), Some(LONG)).await.unwrap();
    gone(&*store, &key("a")).await;
    assert_eq!(ids(&*store, everything()).await, ["b"]);
}

pub(crate) async fn an_expired_correlation_is_not_counted(space: Space) {
    let store = space.client_with(ttl(SHORT)).await;
    for id in ["a", "b", "c"] {
        append(&*store, &key(id), spans(1, 1)).await;
    }
    store.set_correlation(&key("d"), entry("d", at(1)), Some(LONG)).await.unwrap();
    for id in ["a", "b", "c"] {
        gone(&*store, &key(id)).await;
    }
    assert_eq!(count(&*store).await, 1);
}

pub(crate) async fn an_own_ttl_may_be_shorter(space: Space) {
    let store = space.client_with(ttl(LONG)).await;
    store.set_correlation(&key("a"), entry("a", at(1)), Some(SHORT)).await.unwrap();
    store.set_correlation(&key("b"), entry("b", at(1)), None).await.unwrap();
    gone(&*store, &key("a")).await;
    found(&*store, &key("b")).await;
    assert_eq!(count(&*store).await, 1);
}

pub(crate) async fn an_own_ttl_may_be_longer(space: Space) {
    let store = space.client_with(ttl(SHORT)).await;
    store.set_correlation(&key("a"), entry("a", at(1)), Some(LONG)).await.unwrap();
    store.set_correlation(&key("b"), entry("b", at(1)), None).await.unwrap();
    gone(&*store, &key("b")).await;
    found(&*store, &key("a")).await;
    assert_eq!(count(&*store).await, 1);
}

pub(crate) async fn an_arrival_renews_the_ttl(space: Space) {
    // Long enough that a slow machine does not stall past it between two appends.
    let life = Duration::from_secs(2);
    let store = space.client_with(ttl(life)).await;
    append(&*store, &key("a"), spans(0, 1)).await;
    let first = found(&*store, &key("a")).await.first_seen;
    let mut last = Instant::now();
    let start = Instant::now();
    while start.elapsed() < life * 2 {
        tokio::time::sleep(life / 20).await;
        let before = Instant::now();
        append(&*store, &key("a"), spans(1, 1)).await;
        assert!(last.elapsed() < life, "the machine stalled for longer than the TTL: run again");
        last = before;
    }
    let read = found(&*store, &key("a")).await;
    assert_eq!(read.first_seen, first, "it never expired in between");
    assert_eq!(read.spans, [spans(0, 1), spans(1, 1)]);
}

pub(crate) async fn an_own_ttl_is_kept_by_later_arrivals(space: Space) {
    let store = space.client_with(ttl(SHORT)).await;
    store.set_correlation(&key("a"), entry("a", at(1)), Some(LONG)).await.unwrap();
    append(&*store, &key("a"), spans(2, 1)).await;
    append(&*store, &key("b"), spans(2, 1)).await;
    gone(&*store, &key("b")).await;
    assert_eq!(found(&*store, &key("a")).await.spans, [spans(1, 1), spans(2, 1)]);
}

pub(crate) async fn what_arrives_after_expiry_starts_anew(space: Space) {
    let store = space.client_with(ttl(SHORT)).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    let old = get(&*store, &key("a")).await;
    gone(&*store, &key("a")).await;
    assert_eq!(append(&*store, &key("a"), spans(1, 1)).await, Outcome::Added);
    assert_eq!(count(&*store).await, 1);
    if let (Some(old), Some(new)) = (old, get(&*store, &key("a")).await) {
        assert!(new.first_seen > old.first_seen);
        assert_eq!(new.spans, [spans(1, 1)]);
    }
}

pub(crate) async fn deleting_what_has_expired_finds_nothing(space: Space) {
    let store = space.client_with(ttl(SHORT)).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    gone(&*store, &key("a")).await;
    assert!(!store.delete_correlation(&key("a")).await.unwrap());
}

pub(crate) async fn expire_answers_how_many_it_freed(space: Space) {
    let store = space.client_with(ttl(SHORT)).await;
    for number in 0..500 {
        append(&*store, &key(&format!("id-{number}")), spans(number, 1)).await;
    }
    let mut freed = 0;
    eventually("all 500 are freed", async || {
        freed += store.expire().await.unwrap();
        assert!(freed <= 500, "freed more than there were: {freed}");
        freed == 500
    })
    .await;
    assert_eq!(store.expire().await.unwrap(), 0);
    assert_eq!(count(&*store).await, 0);
}

pub(crate) async fn expire_leaves_what_is_alive(space: Space) {
    let store = space.client_with(ttl(SHORT)).await;
    store.set_correlation(&key("a"), entry("a", at(1)), Some(LONG)).await.unwrap();
    append(&*store, &key("b"), spans(1, 1)).await;
    gone(&*store, &key("b")).await;
    assert_eq!(store.expire().await.unwrap(), 1);
    found(&*store, &key("a")).await;
}

pub(crate) async fn an_own_ttl_of_zero_is_refused(space: Space) {
    let store = space.client().await;
    let error = store.set_correlation(&key("a"), entry("a", at(1)), Some(Duration::ZERO)).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    assert_eq!(get(&*store, &key("a")).await, None);
}
