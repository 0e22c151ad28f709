//! The ledger: everything the store was given is in exactly one place of it.

use std::time::Duration;

use state_core::{
    Account, Claim, Finish, Finished, Ledger, Limits, Outcome, Refused, Settings, Signal, StateManager,
};

use crate::{
    Space,
    sample::{append, entry, eventually, get, key, logs, spans},
};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(400);

fn settings() -> Settings {
    Settings { grace: Duration::ZERO, ..Settings::default() }
}

async fn ledger(store: &dyn StateManager) -> Ledger {
    let ledger = store.get_ledger().await.unwrap();
    assert!(ledger.is_balanced(), "{ledger:?}");
    ledger
}

async fn claim(store: &dyn StateManager) -> Claim {
    let mut claims = store.claim_due(10, LONG).await.unwrap();
    assert_eq!(claims.len(), 1, "one correlation is due: {claims:?}");
    claims.remove(0)
}

async fn finish(store: &dyn StateManager, finish: Finish) {
    assert_eq!(store.finish(vec![finish]).await.unwrap(), [Finished::Finished]);
}

async fn deliver(store: &dyn StateManager) -> u64 {
    let events = store.claim_events(10, Duration::ZERO).await.unwrap();
    let ids: Vec<_> = events.into_iter().map(|event| event.id).collect();
    store.remove_events(&ids).await.unwrap()
}

fn account() -> Account {
    Account::default()
}

pub(crate) async fn an_empty_state_has_an_empty_ledger(space: Space) {
    let store = space.client().await;
    assert_eq!(ledger(&*store).await, Ledger::default());
}

pub(crate) async fn spans_and_logs_have_accounts_of_their_own(space: Space) {
    let store = space.client_with(settings()).await;
    append(&*store, &key("a"), spans(1, 3)).await;
    append(&*store, &key("a"), logs(1, 2)).await;
    let ledger = ledger(&*store).await;
    assert_eq!(ledger.spans, Account { received: 3, kept: 3, pending: 3, ..account() });
    assert_eq!(ledger.logs, Account { received: 2, kept: 2, pending: 2, ..account() });
}

pub(crate) async fn a_duplicate_is_received_and_not_kept(space: Space) {
    let (one, other) = (space.client_with(settings()).await, space.client_with(settings()).await);
    append(&*one, &key("a"), spans(1, 3)).await;
    append(&*other, &key("a"), spans(1, 3)).await;
    let expected = Account { received: 6, kept: 3, duplicate: 3, pending: 3, ..account() };
    assert_eq!(ledger(&*one).await.spans, expected);
    assert_eq!(ledger(&*other).await.spans, expected);
}

pub(crate) async fn what_exceeds_a_limit_is_refused_by_its_name(space: Space) {
    let limits = Limits { spans_max: 4, bytes_max: 100 };
    let store = space.client_with(Settings { limits, ..settings() }).await;
    append(&*store, &key("a"), spans(1, 3)).await;
    assert!(matches!(append(&*store, &key("a"), spans(2, 2)).await, Outcome::Refused(_)));
    assert!(matches!(append(&*store, &key("b"), spans(3, 5)).await, Outcome::Refused(_)));
    let ledger = ledger(&*store).await.spans;
    assert_eq!((ledger.received, ledger.kept), (10, 3));
    assert_eq!(ledger.refused.into_iter().collect::<Vec<_>>(), [("spans_max".to_owned(), 7)]);
}

pub(crate) async fn a_close_moves_what_was_pending(space: Space) {
    let store = space.client_with(settings()).await;
    append(&*store, &key("a"), spans(1, 3)).await;
    finish(&*store, claim(&*store).await.finish("done")).await;
    assert_eq!(ledger(&*store).await.spans, Account { received: 3, kept: 3, stored: 3, ..account() });
    append(&*store, &key("a"), spans(2, 2)).await;
    let expected = Account { received: 5, kept: 5, stored: 3, pending: 2, ..account() };
    assert_eq!(ledger(&*store).await.spans, expected);
}

pub(crate) async fn a_repeated_close_changes_nothing(space: Space) {
    let store = space.client_with(settings()).await;
    append(&*store, &key("a"), spans(1, 3)).await;
    let claim = claim(&*store).await;
    finish(&*store, claim.finish("done")).await;
    let before = ledger(&*store).await;
    finish(&*store, claim.finish("done")).await;
    assert_eq!(ledger(&*store).await, before);
}

pub(crate) async fn what_came_again_within_other_batches_is_found_at_the_close(space: Space) {
    let store = space.client_with(settings()).await;
    append(&*store, &key("a"), spans(1, 2)).await;
    append(&*store, &key("a"), spans(1, 3)).await;
    finish(&*store, claim(&*store).await.finish("done")).await;
    let expected = Account { received: 5, kept: 3, duplicate: 2, stored: 3, ..account() };
    assert_eq!(ledger(&*store).await.spans, expected);
    // In a later generation too, with nothing new and with something.
    append(&*store, &key("a"), spans(1, 1)).await;
    finish(&*store, claim(&*store).await.finish("done")).await;
    let expected = Account { received: 6, kept: 3, duplicate: 3, stored: 3, ..account() };
    assert_eq!(ledger(&*store).await.spans, expected);
    append(&*store, &key("a"), spans(1, 4)).await;
    finish(&*store, claim(&*store).await.finish("done")).await;
    let expected = Account { received: 10, kept: 4, duplicate: 6, stored: 4, ..account() };
    assert_eq!(ledger(&*store).await.spans, expected);
}

pub(crate) async fn an_event_that_is_removed_is_delivered_once(space: Space) {
    let store = space.client_with(settings()).await;
    append(&*store, &key("a"), spans(1, 3)).await;
    append(&*store, &key("a"), logs(1, 1)).await;
    finish(&*store, claim(&*store).await.finish("done")).await;
    let events = store.claim_events(10, Duration::ZERO).await.unwrap();
    let id = events[0].id.clone();
    assert_eq!(store.remove_events(std::slice::from_ref(&id)).await.unwrap(), 1);
    assert_eq!(store.remove_events(&[id]).await.unwrap(), 0);
    let ledger = ledger(&*store).await;
    assert_eq!(ledger.spans, Account { received: 3, kept: 3, delivered: 3, ..account() });
    assert_eq!(ledger.logs, Account { received: 1, kept: 1, delivered: 1, ..account() });
}

pub(crate) async fn deleting_counts_what_was_not_delivered(space: Space) {
    let store = space.client_with(settings()).await;
    append(&*store, &key("a"), spans(1, 3)).await;
    finish(&*store, claim(&*store).await.finish("done")).await;
    assert_eq!(deliver(&*store).await, 1);
    append(&*store, &key("a"), spans(2, 2)).await;
    finish(&*store, claim(&*store).await.finish("done")).await;
    append(&*store, &key("a"), spans(3, 1)).await;
    assert!(store.delete_correlation(&key("a")).await.unwrap());
    let expected = Account { received: 6, kept: 6, delivered: 3, deleted: 3, ..account() };
    assert_eq!(ledger(&*store).await.spans, expected);
    assert!(!store.delete_correlation(&key("a")).await.unwrap());
    assert_eq!(ledger(&*store).await.spans, expected);
}

pub(crate) async fn setting_replaces_what_was_there_in_the_ledger_too(space: Space) {
    let store = space.client_with(settings()).await;
    append(&*store, &key("a"), spans(7, 3)).await;
    let now = get(&*store, &key("a")).await.unwrap().last_updated;
    store.set_correlation(&key("a"), entry("a", now), None).await.unwrap();
    let expected = Account { received: 4, kept: 4, pending: 1, deleted: 3, ..account() };
    assert_eq!(ledger(&*store).await.spans, expected);
    assert_eq!(store.cleanup_old_correlations(now + Duration::from_micros(1)).await.unwrap(), 1);
    let expected = Account { received: 4, kept: 4, deleted: 4, ..account() };
    assert_eq!(ledger(&*store).await.spans, expected);
}

pub(crate) async fn what_expires_is_counted_by_where_it_was(space: Space) {
    let store = space.client_with(Settings { ttl: SHORT, ..settings() }).await;
    // Delivered, stored with nobody to get it, in the outbox, and pending.
    append(&*store, &key("a"), spans(1, 1)).await;
    finish(&*store, claim(&*store).await.finish("done")).await;
    let delivered = deliver(&*store).await;
    append(&*store, &key("b"), spans(2, 2)).await;
    finish(&*store, Finish { outbox: None, ..claim(&*store).await.finish("done") }).await;
    append(&*store, &key("c"), logs(3, 3)).await;
    finish(&*store, claim(&*store).await.finish("done")).await;
    append(&*store, &key("d"), spans(4, 4)).await;
    eventually("all have expired", async || {
        store.expire().await.unwrap();
        let ledger = ledger(&*store).await;
        ledger.spans.pending + ledger.spans.stored + ledger.logs.stored == 0
    })
    .await;
    let Ledger { spans, logs } = ledger(&*store).await;
    assert_eq!((spans.kept, spans.delivered, delivered), (7, 1, 1));
    let expired = |account: Account| account.expired.into_iter().collect::<Vec<_>>();
    assert_eq!(expired(spans), [("pending".to_owned(), 4), ("stored".to_owned(), 2)]);
    assert_eq!(expired(logs), [("undelivered".to_owned(), 3)]);
}

pub(crate) async fn what_arrives_after_expiry_leaves_the_old_one_expired(space: Space) {
    let store = space.client_with(Settings { ttl: SHORT, ..settings() }).await;
    append(&*store, &key("a"), spans(1, 2)).await;
    eventually("it is gone", async || get(&*store, &key("a")).await.is_none()).await;
    append(&*store, &key("a"), spans(1, 2)).await;
    let ledger = ledger(&*store).await.spans;
    assert_eq!((ledger.received, ledger.kept, ledger.expired["pending"] >= 2), (4, 4, true));
}

pub(crate) async fn refusals_from_outside_are_entered(space: Space) {
    let (one, other) = (space.client_with(settings()).await, space.client_with(settings()).await);
    let refused = |signal, reason: &str, items| Refused { signal, reason: reason.to_owned(), items };
    let invalid = refused(Signal::Traces, "invalid_ids", 3);
    one.note_refused(vec![invalid.clone(), refused(Signal::Logs, "unavailable", 2)]).await.unwrap();
    other.note_refused(vec![invalid]).await.unwrap();
    one.note_refused(vec![]).await.unwrap();
    let Ledger { spans, logs } = ledger(&*one).await;
    assert_eq!((spans.received, spans.refused["invalid_ids"]), (6, 6));
    assert_eq!((logs.received, logs.refused["unavailable"]), (2, 2));
}

pub(crate) async fn the_ledger_outlives_the_client_that_wrote_it(space: Space) {
    let store = space.client_with(settings()).await;
    append(&*store, &key("a"), spans(1, 3)).await;
    store.close().await.unwrap();
    let next = space.client_with(settings()).await;
    assert_eq!(ledger(&*next).await.spans, Account { received: 3, kept: 3, pending: 3, ..account() });
}
