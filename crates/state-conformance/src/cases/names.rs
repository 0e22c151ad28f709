//! Identity is (tenant, id), whatever characters stand in it.

use crate::{
    Space,
    sample::{append, count, everything, found, get, ids, key, key_of, spans},
};

pub(crate) async fn unicode_and_longest_ids_are_kept(space: Space) {
    let store = space.client().await;
    let longest = format!("order.id={}", "x".repeat(256 - 9));
    let names = ["bestellung=Köln-Straße", "注文=七", "🦀=🦀", "e=\u{301}", longest.as_str()];
    for (seed, name) in (1..).zip(names) {
        append(&*store, &key(name), spans(seed, 1)).await;
    }
    for (seed, name) in (1..).zip(names) {
        let entry = found(&*store, &key(name)).await;
        assert_eq!((entry.correlation_id.as_str(), &entry.spans[..]), (name, &[spans(seed, 1)][..]));
    }
    let mut listed = ids(&*store, everything()).await;
    let mut expected = names.to_vec();
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected);
}

pub(crate) async fn names_that_look_like_patterns_are_only_names(space: Space) {
    let store = space.client().await;
    let names = ["*", "?", "[a]", "a:b", "a/b", "/", "a b", "a\nb", "a\0b", "\"", "%", "a", "A"];
    for (seed, name) in (1..).zip(names) {
        append(&*store, &key(name), spans(seed, 1)).await;
    }
    assert_eq!(count(&*store).await, names.len() as u64);
    for (seed, name) in (1..).zip(names) {
        assert_eq!(found(&*store, &key(name)).await.spans, [spans(seed, 1)], "{name:?}");
    }
}

pub(crate) async fn tenants_are_apart(space: Space) {
    let store = space.client().await;
    for (seed, tenant) in (1..).zip(["", "a", "b"]) {
        append(&*store, &key_of(tenant, "x"), spans(seed, 1)).await;
    }
    assert!(store.delete_correlation(&key_of("a", "x")).await.unwrap());
    assert_eq!(get(&*store, &key_of("a", "x")).await, None);
    assert_eq!(found(&*store, &key_of("", "x")).await.spans, [spans(1, 1)]);
    assert_eq!(found(&*store, &key_of("b", "x")).await.spans, [spans(3, 1)]);
    assert_eq!(count(&*store).await, 2);
}

pub(crate) async fn a_tenant_and_an_id_do_not_run_together(space: Space) {
    let store = space.client().await;
    append(&*store, &key_of("a", "b/c"), spans(1, 1)).await;
    append(&*store, &key_of("", "a/b/c"), spans(2, 1)).await;
    assert_eq!(found(&*store, &key_of("a", "b/c")).await.spans, [spans(1, 1)]);
    assert_eq!(found(&*store, &key_of("", "a/b/c")).await.spans, [spans(2, 1)]);
}

pub(crate) async fn a_key_value_correlation_has_no_trace_id(space: Space) {
    let store = space.client().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    append(&*store, &key("order.id=7"), spans(1, 1)).await;
    append(&*store, &key(trace), spans(1, 1)).await;
    assert_eq!(found(&*store, &key("order.id=7")).await.trace_id, None);
    assert_eq!(found(&*store, &key(trace)).await.trace_id.unwrap().to_string(), trace);
}
