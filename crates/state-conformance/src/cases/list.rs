//! Lists by time: order, borders, pages, filters.

use std::time::Duration;

use bytes::Bytes;
use state_core::{
    Append, CorrelationEntry, Facts, Filter, Finished, Fragment, Origin, Overrides, RangeQuery, Settings,
    Signal, Status,
};

use crate::{
    Space,
    sample::{append, at, entry, everything, found, ids, key, key_of, list, logs, set, spans},
};

fn range(from: i64, to: i64) -> RangeQuery {
    RangeQuery { from: Some(at(from)), to: Some(at(to)), ..everything() }
}

pub(crate) async fn the_newest_arrival_comes_first(space: Space) {
    let store = space.client().await;
    for (id, time) in [("b", 20), ("d", 40), ("a", 10), ("c", 30)] {
        set(&*store, entry(id, at(time))).await;
    }
    assert_eq!(ids(&*store, everything()).await, ["d", "c", "b", "a"]);
}

pub(crate) async fn from_is_included_and_to_is_not(space: Space) {
    let store = space.client().await;
    for time in 0..6 {
        set(&*store, entry(&time.to_string(), at(time))).await;
    }
    assert_eq!(ids(&*store, range(2, 4)).await, ["3", "2"]);
    assert_eq!(ids(&*store, RangeQuery { from: Some(at(4)), ..everything() }).await, ["5", "4"]);
    assert_eq!(ids(&*store, RangeQuery { to: Some(at(2)), ..everything() }).await, ["1", "0"]);
}

pub(crate) async fn an_empty_range_lists_nothing(space: Space) {
    let store = space.client().await;
    set(&*store, entry("a", at(5))).await;
    for query in [range(5, 5), range(6, 4), range(0, 5), range(6, 100)] {
        assert_eq!(list(&*store, query).await, []);
    }
}

pub(crate) async fn pages_hold_every_correlation_once(space: Space) {
    let store = space.client().await;
    for number in 0..150_i64 {
        // Several seconds apart, in no order.
        set(&*store, entry(&format!("id-{number:03}"), at(number * 37 % 150 * 500_000))).await;
    }
    for limit in [1, 7, 150, 1_000] {
        let mut listed = ids(&*store, RangeQuery { limit, ..everything() }).await;
        listed.sort_unstable();
        let expected: Vec<_> = (0..150).map(|number| format!("id-{number:03}")).collect();
        assert_eq!(listed, expected, "in pages of {limit}");
    }
}

pub(crate) async fn equal_times_are_paged_by_id(space: Space) {
    let store = space.client().await;
    let expected: Vec<_> = (0..30).map(|number| format!("id-{number:02}")).collect();
    for id in &expected {
        set(&*store, entry(id, at(7))).await;
    }
    assert_eq!(ids(&*store, RangeQuery { limit: 4, ..everything() }).await, expected);
}

pub(crate) async fn an_updated_correlation_moves_to_the_front(space: Space) {
    let store = space.client().await;
    for (id, time) in [("a", 1), ("b", 2), ("c", 3)] {
        set(&*store, entry(id, at(time))).await;
    }
    append(&*store, &key("a"), spans(9, 1)).await;
    assert_eq!(ids(&*store, everything()).await, ["a", "c", "b"]);
    assert_eq!(ids(&*store, range(0, 10)).await, ["c", "b"], "it has left its old place");
}

pub(crate) async fn a_service_that_took_part_is_found(space: Space) {
    let store = space.client().await;
    for (id, seeds) in [("a", [1, 2]), ("b", [3, 4]), ("c", [2, 3])] {
        for seed in seeds {
            append(&*store, &key(id), spans(seed, 1)).await;
        }
    }
    let with = |service: &str| {
        let filter = Filter { service: Some(service.into()), ..Filter::default() };
        RangeQuery { filter, limit: 1, ..everything() }
    };
    assert_eq!(ids(&*store, with("service-2")).await, ["c", "a"]);
    assert_eq!(ids(&*store, with("service-4")).await, ["b"]);
    assert_eq!(ids(&*store, with("service")).await, Vec::<String>::new());
}

pub(crate) async fn a_deleted_correlation_is_not_listed(space: Space) {
    let store = space.client().await;
    append(&*store, &key("a"), spans(1, 1)).await;
    append(&*store, &key("b"), spans(1, 1)).await;
    store.delete_correlation(&key("a")).await.unwrap();
    assert_eq!(ids(&*store, everything()).await, ["b"]);
}

pub(crate) async fn a_summary_says_what_the_entry_says(space: Space) {
    let store = space.client().await;
    for seed in [3, 0, 7] {
        append(&*store, &key("a"), spans(seed, 2)).await;
        append(&*store, &key("a"), logs(seed, 1)).await;
    }
    let overrides = Overrides {
        service: Some("own".into()),
        metadata: [("ticket".to_owned(), "T".to_owned())].into(),
        ..Overrides::default()
    };
    let fragments = vec![spans(0, 2), spans(4, 3)];
    set(&*store, CorrelationEntry::fold(key("b").id, at(1), at(2), fragments, overrides)).await;
    for mut summary in list(&*store, everything()).await {
        let mut expected = found(&*store, &key(summary.correlation_id.as_str())).await.summary();
        // A list does not read telemetry, so it does not know the keys in it.
        expected.metadata.remove("order.id");
        summary.metadata.remove("order.id");
        assert_eq!(summary.status.take(), Some(Status::Active));
        assert_eq!(summary, expected);
        assert_eq!(summary.root_name, "GET /");
        let origin = Origin { service: "service-0".into(), env: "test".into() };
        assert!(summary.involves(&origin.service));
    }
}

pub(crate) async fn filters_by_what_correlations_are_like(space: Space) {
    let store = space.client_with(Settings { grace: Duration::ZERO, ..Settings::default() }).await;
    append(&*store, &key("closed"), spans(1, 1)).await;
    let claim = store.claim_due(10, Duration::from_secs(60)).await.unwrap().remove(0);
    assert_eq!(store.finish(vec![claim.finish("done")]).await.unwrap(), [Finished::Finished]);
    append(&*store, &key("active"), logs(1, 1)).await;
    for id in ["active", "closed"] {
        let listed = list(&*store, everything()).await;
        let listed = listed.into_iter().find(|summary| summary.correlation_id == key(id).id).unwrap();
        assert_eq!(store.get_summary(&key(id)).await.unwrap(), Some(listed.clone()));
        let expected = if id == "closed" { Status::Closed } else { Status::Active };
        assert_eq!(listed.status, Some(expected));
        let matching = |filter| RangeQuery { filter, ..everything() };
        let with = |filter: fn(&mut Filter, &state_core::Summary)| {
            let mut made = Filter::default();
            filter(&mut made, &listed);
            made
        };
        assert_eq!(ids(&*store, matching(with(|it, like| it.status = like.status))).await, [id]);
        let has_errors = with(|it, like| it.has_errors = Some(like.counts.errors > 0));
        assert!(ids(&*store, matching(has_errors)).await.contains(&id.to_owned()));
        let no_errors = with(|it, like| it.has_errors = Some(like.counts.errors == 0));
        assert!(!ids(&*store, matching(no_errors)).await.contains(&id.to_owned()));
        let env = with(|it, like| it.env = Some(like.env.clone()));
        assert!(ids(&*store, matching(env)).await.contains(&id.to_owned()));
        let long_enough = with(|it, like| it.duration_min = Some(like.counts.duration()));
        assert!(ids(&*store, matching(long_enough)).await.contains(&id.to_owned()));
        let longer =
            with(|it, like| it.duration_min = Some(like.counts.duration() + Duration::from_micros(1)));
        assert!(!ids(&*store, matching(longer)).await.contains(&id.to_owned()));
    }
    let elsewhere = Filter { env: Some("elsewhere".into()), ..Filter::default() };
    assert_eq!(list(&*store, RangeQuery { filter: elsewhere, ..everything() }).await, []);
    assert_eq!(store.get_summary(&key("unknown")).await.unwrap(), None);
    // What is new opens the next generation.
    append(&*store, &key("closed"), spans(2, 1)).await;
    assert_eq!(store.get_summary(&key("closed")).await.unwrap().unwrap().status, Some(Status::Active));
}

pub(crate) async fn a_key_leads_to_all_that_carry_it(space: Space) {
    let store = space.client().await;
    let carrying = |payload: &'static str, value: &'static str| {
        let keys = [("order.id".to_owned(), value.to_owned())].into();
        let facts = Facts { keys, ..Facts::default() };
        Fragment::new(Signal::Logs, Bytes::from_static(payload.as_bytes()), vec![[1; 16]], facts)
    };
    for (id, value) in [("a", "7"), ("b", "8"), ("c", "7")] {
        append(&*store, &key(id), spans(100, 1)).await;
        append(&*store, &key(id), carrying(value, value)).await;
    }
    append(&*store, &key_of("t", "d"), carrying("7", "7")).await;
    let fragments = vec![carrying("set", "7")];
    set(&*store, CorrelationEntry::fold(key("e").id, at(1), at(2), fragments, Overrides::default())).await;
    let of = |value: &str, limit| {
        let key = Some(("order.id".to_owned(), value.to_owned()));
        RangeQuery { filter: Filter { key, ..Filter::default() }, limit, ..everything() }
    };
    for limit in [1, 2, 100] {
        assert_eq!(ids(&*store, of("7", limit)).await, ["c", "a", "e"], "newest first, in pages of {limit}");
    }
    assert_eq!(ids(&*store, of("8", 9)).await, ["b"]);
    assert_eq!(ids(&*store, of("9", 9)).await, [""; 0]);
    let of_tenant = RangeQuery { tenant: "t".parse().unwrap(), ..of("7", 9) };
    assert_eq!(ids(&*store, of_tenant).await, ["d"]);
    // Other filters hold as well; what is removed is not found.
    let until = RangeQuery { to: Some(at(3)), ..of("7", 9) };
    assert_eq!(ids(&*store, until).await, ["e"]);
    store.delete_correlation(&key("c")).await.unwrap();
    assert_eq!(ids(&*store, of("7", 9)).await, ["a", "e"]);
}

pub(crate) async fn tenants_list_their_own(space: Space) {
    let store = space.client().await;
    append(&*store, &key_of("a", "x"), spans(1, 1)).await;
    append(&*store, &key_of("ab", "y"), spans(1, 1)).await;
    append(&*store, &key_of("", "z"), spans(1, 1)).await;
    for (tenant, expected) in [("a", "x"), ("ab", "y"), ("", "z")] {
        let query = RangeQuery { tenant: tenant.parse().unwrap(), ..everything() };
        assert_eq!(ids(&*store, query).await, [expected]);
    }
}

pub(crate) async fn what_stays_is_listed_once_while_others_move(space: Space) {
    let store = space.client().await;
    // One batch, so that many arrive at the same time.
    let first = |number: u32| Append { key: key(&format!("id-{number:03}")), fragment: spans(1, 1) };
    store.append((0..400).map(first).collect()).await.unwrap();
    let moving = async {
        for number in (1..400).step_by(2).rev() {
            append(&*store, &key(&format!("id-{number:03}")), spans(2, 1)).await;
        }
    };
    let listing = ids(&*store, RangeQuery { limit: 9, ..everything() });
    let (listed, ()) = futures::future::join(listing, moving).await;
    for number in (0..400).step_by(2) {
        let id = format!("id-{number:03}");
        assert_eq!(listed.iter().filter(|listed| **listed == id).count(), 1, "{id} stays where it is");
    }
}
