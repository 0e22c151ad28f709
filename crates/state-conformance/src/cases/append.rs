//! Adding is idempotent, commutative and associative, and its answer says what happened.

use futures::future::join_all;
use state_core::{Append, Outcome};

use crate::{
    Space,
    sample::{append, count, found, key, logs, spans, with_payload},
};

pub(crate) async fn a_new_fragment_is_added(space: Space) {
    let store = space.client().await;
    assert_eq!(append(&*store, &key("a"), spans(0, 3)).await, Outcome::Added);
    let entry = found(&*store, &key("a")).await;
    assert_eq!(entry.spans, [spans(0, 3)]);
    assert!(entry.logs.is_empty());
    assert_eq!((entry.service.as_str(), entry.env.as_str()), ("service-0", "test"));
    assert_eq!(entry.metadata["order.id"], "0");
    assert_eq!(entry.first_seen, entry.last_updated);
}

pub(crate) async fn the_same_fragment_again_is_a_duplicate(space: Space) {
    let store = space.client().await;
    append(&*store, &key("a"), spans(1, 2)).await;
    assert_eq!(append(&*store, &key("a"), spans(1, 2)).await, Outcome::Duplicate);
    assert_eq!(found(&*store, &key("a")).await.spans, [spans(1, 2)]);
}

pub(crate) async fn any_order_gives_the_same_correlation(space: Space) {
    let store = space.client().await;
    let fragments = [spans(0, 2), spans(3, 1), logs(1, 4), spans(7, 5)];
    let mut seen = Vec::new();
    for start in 0..4 {
        for step in [1, 3] {
            let id = format!("start-{start}-step-{step}");
            for turn in 0..4 {
                append(&*store, &key(&id), fragments[(start + turn * step) % 4].clone()).await;
            }
            let mut summary = found(&*store, &key(&id)).await.summary();
            summary.correlation_id = key("same").id;
            (summary.first_seen, summary.last_updated) = Default::default();
            seen.push(summary);
        }
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "every order folds to the same: {seen:#?}");
}

pub(crate) async fn any_number_of_retries_gives_the_same_correlation(space: Space) {
    let store = space.client().await;
    for _ in 0..3 {
        for seed in 0..4 {
            append(&*store, &key("a"), spans(seed, 2)).await;
        }
    }
    let entry = found(&*store, &key("a")).await;
    assert_eq!(entry.spans.len(), 4);
    assert_eq!(entry.summary().counts.spans, 8);
    assert_eq!(count(&*store).await, 1);
}

pub(crate) async fn fragments_of_one_batch_may_share_a_correlation(space: Space) {
    let store = space.client().await;
    let batch = (0..5).map(|seed| Append { key: key("a"), fragment: spans(seed, 1) }).collect();
    assert_eq!(store.append(batch).await.unwrap(), [Outcome::Added; 5]);
    assert_eq!(found(&*store, &key("a")).await.spans.len(), 5);
}

pub(crate) async fn the_same_fragment_twice_in_one_batch_is_added_once(space: Space) {
    let store = space.client().await;
    let batch = vec![Append { key: key("a"), fragment: spans(1, 1) }; 2];
    assert_eq!(store.append(batch).await.unwrap(), [Outcome::Added, Outcome::Duplicate]);
    assert_eq!(found(&*store, &key("a")).await.spans.len(), 1);
}

pub(crate) async fn spans_and_logs_join_one_correlation(space: Space) {
    let store = space.client().await;
    append(&*store, &key("a"), logs(1, 2)).await;
    append(&*store, &key("a"), spans(2, 3)).await;
    let entry = found(&*store, &key("a")).await;
    assert_eq!((entry.spans.clone(), entry.logs.clone()), (vec![spans(2, 3)], vec![logs(1, 2)]));
    let counts = entry.summary().counts;
    assert_eq!((counts.spans, counts.logs), (3, 2));
}

pub(crate) async fn outcomes_come_in_the_order_of_the_batch(space: Space) {
    let store = space.client().await;
    for seed in (0..200).step_by(3) {
        append(&*store, &key(&format!("id-{}", seed % 50)), spans(seed, 1)).await;
    }
    let batch = (0..200)
        .map(|seed| Append { key: key(&format!("id-{}", seed % 50)), fragment: spans(seed, 1) })
        .collect();
    let outcomes = store.append(batch).await.unwrap();
    for (seed, outcome) in outcomes.iter().enumerate() {
        let expected = if seed % 3 == 0 { Outcome::Duplicate } else { Outcome::Added };
        assert_eq!(*outcome, expected, "fragment {seed}");
    }
    assert_eq!(outcomes.len(), 200);
}

pub(crate) async fn concurrent_appends_of_two_clients_lose_nothing(space: Space) {
    let clients = [space.client().await, space.client().await];
    let appends = (0..400).map(|seed| {
        let client = &clients[seed as usize % 2];
        async move { append(&**client, &key("a"), spans(seed, 1)).await }
    });
    assert!(join_all(appends).await.iter().all(|outcome| *outcome == Outcome::Added));
    for client in &clients {
        assert_eq!(found(&**client, &key("a")).await.summary().counts.spans, 400);
    }
}

pub(crate) async fn concurrent_appends_of_one_fragment_add_it_once(space: Space) {
    let clients = [space.client().await, space.client().await];
    let key = key("a");
    let appends = (0..50).map(|turn| append(&*clients[turn % 2], &key, spans(1, 1)));
    let outcomes = join_all(appends).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Added).count(), 1);
    assert_eq!(found(&*clients[0], &key).await.spans.len(), 1);
}

pub(crate) async fn an_empty_batch_is_confirmed(space: Space) {
    let store = space.client().await;
    assert_eq!(store.append(Vec::new()).await.unwrap(), []);
    assert_eq!(count(&*store).await, 0);
}

pub(crate) async fn a_duplicate_counts_as_an_arrival(space: Space) {
    let store = space.client().await;
    append(&*store, &key("a"), spans(1, 1)).await;
    let before = found(&*store, &key("a")).await;
    crate::sample::eventually("the time of the last arrival moves", async || {
        append(&*store, &key("a"), spans(1, 1)).await;
        found(&*store, &key("a")).await.last_updated > before.last_updated
    })
    .await;
    assert_eq!(found(&*store, &key("a")).await.first_seen, before.first_seen);
}

pub(crate) async fn first_seen_stays_and_last_updated_moves(space: Space) {
    let store = space.client().await;
    append(&*store, &key("a"), spans(0, 1)).await;
    let first = found(&*store, &key("a")).await;
    let mut last = first.last_updated;
    for seed in 1..20 {
        append(&*store, &key("a"), spans(seed, 1)).await;
        let entry = found(&*store, &key("a")).await;
        assert_eq!(entry.first_seen, first.first_seen);
        assert!(entry.last_updated >= last, "time does not go backwards");
        last = entry.last_updated;
    }
    assert!(last > first.last_updated);
}

pub(crate) async fn fragments_are_read_in_order_of_arrival(space: Space) {
    let store = space.client().await;
    let order: Vec<u32> = (0..40).map(|turn| turn * 7 % 40).collect();
    for seed in &order {
        append(&*store, &key("a"), spans(*seed, 1)).await;
    }
    let expected: Vec<_> = order.iter().map(|seed| spans(*seed, 1)).collect();
    assert_eq!(found(&*store, &key("a")).await.spans, expected);
}

pub(crate) async fn payloads_of_any_bytes_come_back(space: Space) {
    let store = space.client().await;
    let payloads =
        [vec![], vec![0], vec![0; 5_000], (0..=255).collect(), b"\r\n$5\r\n{}".to_vec(), vec![255; 70_000]];
    for payload in &payloads {
        assert_eq!(append(&*store, &key("a"), with_payload(payload.clone())).await, Outcome::Added);
    }
    let read: Vec<_> =
        found(&*store, &key("a")).await.spans.iter().map(|part| part.payload().to_vec()).collect();
    assert_eq!(read, payloads);
}

pub(crate) async fn a_payload_of_a_megabyte_comes_back(space: Space) {
    let store = space.client().await;
    // Does not compress: each byte depends on all before it.
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(1 << 20)
    .collect();
    append(&*store, &key("a"), with_payload(noise.clone())).await;
    assert!(found(&*store, &key("a")).await.spans[0].payload()[..] == noise[..], "byte for byte");
}
