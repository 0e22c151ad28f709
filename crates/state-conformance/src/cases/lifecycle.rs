//! Claims, closes, generations and events: exactly one close for each generation, whoever claims.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::join_all;
use state_core::{
    Claim, Event, EventId, Finish, Finished, Fragment, Identity, Limits, Outcome, PutBack, Receiver, Release,
    Settings, Signal, StateManager,
};

use crate::{
    Space,
    sample::{append, at, entry, eventually, found, key, set, spans, with_identities},
};

/// Longer than any case takes.
const LONG: Duration = Duration::from_secs(3600);
/// Ends while a case waits for it.
const SHORT: Duration = Duration::from_millis(5);

/// Everything is due as soon as it has arrived.
fn at_once() -> Settings {
    Settings { grace: Duration::ZERO, ..Settings::default() }
}

/// Nothing is due because it is quiet.
fn never_quiet() -> Settings {
    Settings { grace: LONG, age_max: LONG, ..Settings::default() }
}

async fn claim_with(store: &dyn StateManager, lease: Duration) -> Vec<Claim> {
    let mut all = Vec::new();
    loop {
        let claims = store.claim_due(100, lease).await.unwrap();
        if claims.is_empty() {
            return all;
        }
        all.extend(claims);
    }
}

/// Claims everything that is due.
async fn claim(store: &dyn StateManager) -> Vec<Claim> {
    claim_with(store, LONG).await
}

/// Claims the only correlation that is due.
async fn claim_one(store: &dyn StateManager) -> Claim {
    let claims = claim(store).await;
    assert_eq!(claims.len(), 1, "one correlation is due: {claims:?}");
    claims.into_iter().next().unwrap()
}

async fn finish(store: &dyn StateManager, claim: &Claim) -> Finished {
    let finished = store.finish(vec![claim.finish("done")]).await.unwrap();
    assert_eq!(finished.len(), 1, "one answer for one claim");
    finished[0]
}

/// Claims the only correlation that is due, and closes it.
async fn close_one(store: &dyn StateManager) -> Claim {
    let claim = claim_one(store).await;
    assert_eq!(finish(store, &claim).await, Finished::Finished);
    claim
}

async fn events(store: &dyn StateManager) -> Vec<Event> {
    store.claim_events(1_000, Duration::ZERO).await.unwrap()
}

/// Generations of the events, and the fragments that each tells of.
async fn told(store: &dyn StateManager) -> Vec<(u64, Vec<Fragment>)> {
    events(store).await.into_iter().map(|event| (event.id.generation, event.news)).collect()
}

pub(crate) async fn a_quiet_correlation_is_claimed_with_its_content(space: Space) {
    let store = space.client_with(at_once()).await;
    append(&*store, &key("a"), spans(0, 2)).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    let claim = claim_one(&*store).await;
    assert_eq!(claim.ticket.key, key("a"));
    assert_eq!((claim.generation, claim.is_full, claim.has_news()), (1, false, true));
    assert_eq!(claim.news, [spans(0, 2), spans(1, 1)]);
    assert_eq!(claim.entry, found(&*store, &key("a")).await);
    assert_eq!(claim.opened, claim.entry.first_seen);
}

pub(crate) async fn a_correlation_that_is_not_quiet_is_not_due(space: Space) {
    let store = space.client_with(never_quiet()).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    assert!(claim(&*store).await.is_empty());
}

pub(crate) async fn a_correlation_is_due_once_it_is_quiet(space: Space) {
    let store = space.client_with(Settings { grace: SHORT, ..Settings::default() }).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    let mut claims = Vec::new();
    eventually("it is claimed", async || {
        claims = claim(&*store).await;
        !claims.is_empty()
    })
    .await;
    assert!(claims[0].quiet >= SHORT, "{:?}", claims[0].quiet);
}

pub(crate) async fn an_old_correlation_is_due_although_it_grows(space: Space) {
    // Looked at for the first time when it could be quiet; then it has grown, but is old.
    let store = space.client_with(Settings { grace: SHORT, age_max: SHORT, ..Settings::default() }).await;
    let impatient = space.client_with(Settings { grace: LONG, age_max: SHORT, ..Settings::default() }).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    tokio::time::sleep(2 * SHORT).await;
    append(&*store, &key("a"), spans(2, 1)).await;
    assert_eq!(claim_one(&*impatient).await.news.len(), 2);
}

pub(crate) async fn a_full_correlation_is_due_at_once(space: Space) {
    let limits = Limits { spans_max: 2, ..Limits::default() };
    let store = space.client_with(Settings { limits, ..never_quiet() }).await;
    append(&*store, &key("a"), spans(1, 2)).await;
    assert!(claim(&*store).await.is_empty());
    assert!(matches!(append(&*store, &key("a"), spans(2, 1)).await, Outcome::Refused(_)));
    let claim = claim_one(&*store).await;
    assert!(claim.is_full);
    assert_eq!(finish(&*store, &claim).await, Finished::Finished);
    assert!(matches!(append(&*store, &key("a"), spans(2, 1)).await, Outcome::Refused(_)));
    assert!(self::claim(&*store).await.is_empty(), "a refusal opens nothing");
}

pub(crate) async fn what_is_active_can_be_claimed_before_it_is_due(space: Space) {
    let store = space.client_with(never_quiet()).await;
    for number in 0..5 {
        append(&*store, &key(&format!("id-{number}")), spans(number, 1)).await;
    }
    assert!(claim(&*store).await.is_empty(), "none is due");
    let mut claims = BTreeMap::new();
    // A call may find none although there are some.
    eventually("all are claimed", async || {
        let more = store.claim_active(2, LONG).await.unwrap();
        assert!(more.len() <= 2, "{more:?}");
        for claim in more {
            let is_first = claims.insert(claim.ticket.key.clone(), claim).is_none();
            assert!(is_first, "what is claimed is left alone");
        }
        claims.len() == 5
    })
    .await;
    for claim in claims.values() {
        assert_eq!(finish(&*store, claim).await, Finished::Finished);
    }
    assert!(store.claim_active(10, LONG).await.unwrap().is_empty(), "what is closed is not active");
}

pub(crate) async fn what_is_claimed_is_nobody_elses(space: Space) {
    let (one, other) = (space.client_with(at_once()).await, space.client_with(at_once()).await);
    append(&*one, &key("a"), spans(1, 1)).await;
    let held = claim_one(&*one).await;
    assert!(claim(&*other).await.is_empty());
    assert!(claim(&*one).await.is_empty());
    assert_eq!(finish(&*one, &held).await, Finished::Finished);
}

pub(crate) async fn claims_are_at_most_what_was_asked_for(space: Space) {
    let store = space.client_with(at_once()).await;
    for number in 0..20 {
        append(&*store, &key(&format!("n={number}")), spans(number, 1)).await;
    }
    assert!(store.claim_due(0, LONG).await.unwrap().is_empty());
    let first = store.claim_due(7, LONG).await.unwrap().len();
    assert!((1..=7).contains(&first), "{first}");
    assert_eq!(first + claim(&*store).await.len(), 20);
}

pub(crate) async fn a_claim_ends_with_its_lease(space: Space) {
    let store = space.client_with(at_once()).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    let dead = claim_with(&*store, SHORT).await.remove(0);
    let mut next = Vec::new();
    eventually("it is claimed again", async || {
        next = claim(&*store).await;
        !next.is_empty()
    })
    .await;
    assert!(next[0].ticket.fence > dead.ticket.fence);
    assert_eq!(finish(&*store, &dead).await, Finished::Lost, "who lost it must not close it");
    assert!(events(&*store).await.is_empty());
    assert_eq!(finish(&*store, &next[0]).await, Finished::Finished);
    assert_eq!(finish(&*store, &dead).await, Finished::Lost);
    assert_eq!(events(&*store).await.len(), 1);
}

pub(crate) async fn finishing_puts_one_event_into_the_outbox(space: Space) {
    let store = space.client_with(at_once()).await;
    append(&*store, &key("a"), spans(1, 2)).await;
    let claim = close_one(&*store).await;
    let events = events(&*store).await;
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!((&event.id.key, event.id.generation), (&key("a"), 1));
    assert_eq!((event.id.first_seen, event.note.as_str()), (claim.entry.first_seen, "done"));
    assert_eq!((&event.entry, &event.news), (&claim.entry, &claim.news));
    assert!(event.closed >= claim.entry.last_updated);
}

pub(crate) async fn a_closed_correlation_stays_and_is_not_due(space: Space) {
    let store = space.client_with(at_once()).await;
    append(&*store, &key("a"), spans(1, 2)).await;
    let claim = close_one(&*store).await;
    assert!(self::claim(&*store).await.is_empty());
    assert_eq!(found(&*store, &key("a")).await, claim.entry);
    assert_eq!(store.get_correlation_count().await.unwrap(), 1);
}

pub(crate) async fn finishing_again_answers_the_same_and_tells_nothing_twice(space: Space) {
    let store = space.client_with(at_once()).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    let claim = close_one(&*store).await;
    for _ in 0..3 {
        assert_eq!(finish(&*store, &claim).await, Finished::Finished);
    }
    assert_eq!(events(&*store).await.len(), 1);
}

pub(crate) async fn what_has_changed_is_looked_at_again(space: Space) {
    let store = space.client_with(at_once()).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    let before = claim_one(&*store).await;
    append(&*store, &key("a"), spans(2, 1)).await;
    assert_eq!(finish(&*store, &before).await, Finished::Changed);
    let after = close_one(&*store).await;
    assert_eq!((after.generation, after.news.len()), (1, 2));
    assert_eq!(finish(&*store, &before).await, Finished::Lost, "its claim has ended");
    assert_eq!(told(&*store).await, [(1, after.news)]);
}

pub(crate) async fn a_duplicate_does_not_change_what_is_claimed(space: Space) {
    let store = space.client_with(at_once()).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    let claim = claim_one(&*store).await;
    assert_eq!(append(&*store, &key("a"), spans(1, 1)).await, Outcome::Duplicate);
    assert_eq!(finish(&*store, &claim).await, Finished::Finished);
}

pub(crate) async fn what_is_gone_cannot_be_finished(space: Space) {
    let store = space.client_with(at_once()).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    let old = claim_one(&*store).await;
    store.delete_correlation(&key("a")).await.unwrap();
    assert_eq!(finish(&*store, &old).await, Finished::Lost);
    append(&*store, &key("a"), spans(1, 1)).await;
    assert_eq!(finish(&*store, &old).await, Finished::Lost, "what began anew is another one");
    let next = claim_one(&*store).await;
    set(&*store, entry("a", at(0))).await;
    assert_eq!(finish(&*store, &next).await, Finished::Lost, "what was set is another one");
    assert!(events(&*store).await.is_empty());
}

pub(crate) async fn a_late_fragment_opens_the_next_generation(space: Space) {
    let store = space.client_with(at_once()).await;
    append(&*store, &key("a"), spans(1, 2)).await;
    let first = close_one(&*store).await;
    append(&*store, &key("a"), spans(2, 1)).await;
    let second = close_one(&*store).await;
    assert_eq!((second.generation, &second.news), (2, &vec![spans(2, 1)]));
    assert!(second.opened > first.opened);
    assert_eq!(second.entry.spans, [spans(1, 2), spans(2, 1)], "a read gives the union");
    assert_eq!(told(&*store).await, [(1, vec![spans(1, 2)]), (2, vec![spans(2, 1)])]);
    let ids: BTreeSet<_> = events(&*store).await.into_iter().map(|event| event.id.first_seen).collect();
    assert_eq!(ids, BTreeSet::from([first.entry.first_seen]), "both are named after the first arrival");
}

pub(crate) async fn a_late_duplicate_opens_nothing(space: Space) {
    let store = space.client_with(at_once()).await;
    append(&*store, &key("a"), spans(1, 2)).await;
    close_one(&*store).await;
    assert_eq!(append(&*store, &key("a"), spans(1, 2)).await, Outcome::Duplicate);
    assert!(claim(&*store).await.is_empty());
}

pub(crate) async fn what_came_again_in_other_batches_is_not_told_again(space: Space) {
    let store = space.client_with(at_once()).await;
    let of = |payload: &'static str, identities: &[u8]| {
        let identities: Vec<Identity> = identities.iter().map(|number| [*number; 16]).collect();
        with_identities(Signal::Traces, payload, identities)
    };
    append(&*store, &key("a"), of("first", &[1, 2, 3])).await;
    close_one(&*store).await;
    append(&*store, &key("a"), of("resent", &[3, 1])).await;
    let resent = claim_one(&*store).await;
    assert!(!resent.has_news() && resent.news.is_empty(), "{resent:?}");
    assert_eq!(finish(&*store, &resent).await, Finished::Finished);
    assert_eq!(finish(&*store, &resent).await, Finished::Finished);
    assert_eq!(events(&*store).await.len(), 1, "nothing was new");
    append(&*store, &key("a"), of("both", &[2, 4])).await;
    let late = close_one(&*store).await;
    assert_eq!((late.generation, &late.news), (2, &vec![of("both", &[2, 4])]));
    assert_eq!(told(&*store).await.len(), 2);
}

pub(crate) async fn a_repeated_finish_leaves_the_next_generation_open(space: Space) {
    let store = space.client_with(at_once()).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    let first = close_one(&*store).await;
    append(&*store, &key("a"), spans(2, 1)).await;
    assert_eq!(finish(&*store, &first).await, Finished::Finished);
    assert_eq!(events(&*store).await.len(), 1);
    assert_eq!(close_one(&*store).await.generation, 2);
    assert_eq!(finish(&*store, &first).await, Finished::Lost, "another claim has closed it since");
    assert_eq!(events(&*store).await.len(), 2);
}

pub(crate) async fn a_released_correlation_is_due_when_it_was_said(space: Space) {
    let store = space.client_with(at_once()).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    let release = async |claim: &Claim, look_after| {
        store.release(vec![Release { ticket: claim.ticket.clone(), look_after }]).await.unwrap();
    };
    let first = claim_one(&*store).await;
    release(&first, Duration::ZERO).await;
    assert_eq!(finish(&*store, &first).await, Finished::Lost, "it was given back");
    let second = claim_one(&*store).await;
    release(&first, Duration::ZERO).await;
    assert!(claim(&*store).await.is_empty(), "only who holds it gives it back");
    release(&second, LONG).await;
    assert!(claim(&*store).await.is_empty());
    append(&*store, &key("a"), spans(1, 1)).await;
    assert!(claim(&*store).await.is_empty(), "a duplicate is no reason to look");
    append(&*store, &key("a"), spans(2, 1)).await;
    assert_eq!(claim_one(&*store).await.news.len(), 2, "an arrival is");
}

pub(crate) async fn releasing_what_has_grown_does_not_put_it_off(space: Space) {
    let store = space.client_with(at_once()).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    let before = claim_one(&*store).await;
    append(&*store, &key("a"), spans(2, 1)).await;
    store.release(vec![Release { ticket: before.ticket, look_after: LONG }]).await.unwrap();
    assert_eq!(claim_one(&*store).await.news.len(), 2);
}

pub(crate) async fn a_removed_event_is_gone(space: Space) {
    let store = space.client_with(at_once()).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    close_one(&*store).await;
    append(&*store, &key("a"), spans(2, 1)).await;
    close_one(&*store).await;
    let ids: Vec<_> = events(&*store).await.into_iter().map(|event| event.id).collect();
    assert_eq!(store.remove_events(&ids[..1]).await.unwrap(), 1);
    assert_eq!(store.remove_events(&ids[..1]).await.unwrap(), 0);
    assert_eq!(told(&*store).await, [(2, vec![spans(2, 1)])]);
    assert_eq!(store.remove_events(&ids).await.unwrap(), 1);
    assert!(events(&*store).await.is_empty());
    assert_eq!(store.get_correlation_count().await.unwrap(), 1, "the correlation stays");
}

pub(crate) async fn a_claimed_event_is_nobody_elses_until_the_lease_ends(space: Space) {
    let (one, other) = (space.client_with(at_once()).await, space.client_with(at_once()).await);
    append(&*one, &key("a"), spans(1, 1)).await;
    close_one(&*one).await;
    assert_eq!(one.claim_events(10, SHORT).await.unwrap().len(), 1);
    eventually("the lease ends", async || !other.claim_events(10, LONG).await.unwrap().is_empty()).await;
    assert!(one.claim_events(10, LONG).await.unwrap().is_empty());
}

pub(crate) async fn an_event_is_left_to_whoever_closed_for_a_while(space: Space) {
    let store = space.client_with(at_once()).await;
    for (name, hold) in [("held", LONG), ("free", Duration::ZERO)] {
        append(&*store, &key(name), spans(1, 1)).await;
        let finish = Finish { outbox: Some(hold), ..claim_one(&*store).await.finish("done") };
        assert_eq!(store.finish(vec![finish]).await.unwrap(), [Finished::Finished]);
    }
    let free: Vec<_> = events(&*store).await.into_iter().map(|event| event.id.key).collect();
    assert_eq!(free, [key("free")]);
    // The event of another generation brings the one that is held along.
    append(&*store, &key("held"), spans(2, 1)).await;
    close_one(&*store).await;
    assert_eq!(events(&*store).await.len(), 3);
}

pub(crate) async fn an_event_for_nobody_counts_as_a_generation_and_is_not_kept(space: Space) {
    let store = space.client_with(at_once()).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    let finish = Finish { outbox: None, ..claim_one(&*store).await.finish("done") };
    assert_eq!(store.finish(vec![finish.clone()]).await.unwrap(), [Finished::Finished]);
    assert_eq!(store.finish(vec![finish]).await.unwrap(), [Finished::Finished], "also when repeated");
    assert!(events(&*store).await.is_empty());
    append(&*store, &key("a"), spans(2, 1)).await;
    close_one(&*store).await;
    assert_eq!(told(&*store).await, [(2, vec![spans(2, 1)])]);
}

pub(crate) async fn an_event_that_was_put_back_knows_who_has_it(space: Space) {
    let store = space.client_with(at_once()).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    close_one(&*store).await;
    let [archive, alerts] = ["archive", "alerts"].map(Receiver::named);
    let put_back = async |delivered: &[Receiver], look_after: Duration| {
        let event = events(&*store).await.remove(0).id;
        let delivered = delivered.to_vec();
        store.put_back_events(vec![PutBack { event, delivered, look_after }]).await.unwrap();
    };
    let delivered = async || events(&*store).await.remove(0).delivered;
    assert_eq!(delivered().await, []);
    put_back(&[archive], Duration::ZERO).await;
    assert_eq!(delivered().await, [archive]);
    put_back(&[archive, alerts], Duration::ZERO).await;
    put_back(&[], Duration::ZERO).await;
    assert_eq!(delivered().await, [archive, alerts], "each once, and none is forgotten");
    // It comes back as it was told.
    put_back(&[], SHORT).await;
    eventually("it is due again", async || !events(&*store).await.is_empty()).await;
    put_back(&[], LONG).await;
    assert!(events(&*store).await.is_empty());
    // What is gone cannot be put back.
    let id = EventId { key: key("a"), first_seen: at(0), generation: 1 };
    let of_another = PutBack { event: id, delivered: vec![], look_after: Duration::ZERO };
    store.put_back_events(vec![of_another]).await.unwrap();
    assert!(events(&*store).await.is_empty());
}

pub(crate) async fn events_go_with_their_correlation(space: Space) {
    let ttl = Duration::from_millis(300);
    let store = space.client_with(Settings { ttl, ..at_once() }).await;
    for name in ["deleted", "set", "cleaned", "expired"] {
        if name == "cleaned" {
            set(&*store, entry(name, at(0))).await;
        } else {
            append(&*store, &key(name), spans(1, 1)).await;
        }
    }
    let claims = claim(&*store).await;
    let finishes = claims.iter().map(|claim| claim.finish("done")).collect();
    assert_eq!(store.finish(finishes).await.unwrap(), vec![Finished::Finished; 4]);
    assert_eq!(events(&*store).await.len(), 4);
    store.delete_correlation(&key("deleted")).await.unwrap();
    set(&*store, entry("set", at(1))).await;
    assert_eq!(store.cleanup_old_correlations(at(1)).await.unwrap(), 1);
    let left: Vec<_> = events(&*store).await.into_iter().map(|event| event.id.key).collect();
    assert!(left.iter().all(|left| *left == key("expired")), "{left:?}");
    eventually("it has expired", async || events(&*store).await.is_empty()).await;
    append(&*store, &key("expired"), spans(1, 1)).await;
    assert!(events(&*store).await.is_empty());
    assert!(
        claim(&*store).await.iter().any(|claim| claim.ticket.key == key("expired") && claim.generation == 1)
    );
}

pub(crate) async fn what_was_set_is_closed_like_any_other(space: Space) {
    let store = space.client_with(at_once()).await;
    set(&*store, entry("a", at(0))).await;
    let claim = close_one(&*store).await;
    assert_eq!((claim.generation, &claim.entry), (1, &entry("a", at(0))));
    assert_eq!(events(&*store).await[0].id.first_seen, at(0));
}

pub(crate) async fn an_expired_correlation_is_not_claimed(space: Space) {
    let ttl = Duration::from_millis(20);
    let store = space.client_with(Settings { ttl, ..at_once() }).await;
    append(&*store, &key("a"), spans(1, 1)).await;
    let held = claim_with(&*store, Duration::ZERO).await;
    eventually("it has expired", async || store.get_correlation_count().await.unwrap() == 0).await;
    assert!(claim(&*store).await.is_empty());
    for claim in held {
        assert_eq!(finish(&*store, &claim).await, Finished::Lost);
    }
}

pub(crate) async fn claimers_share_the_work_and_none_is_done_twice(space: Space) {
    const CORRELATIONS: u32 = 300;
    let store = space.client_with(at_once()).await;
    for number in 0..CORRELATIONS {
        append(&*store, &key(&format!("n={number}")), spans(number, 1)).await;
    }
    // Leases so short that claims are lost all the time.
    let clients = join_all((0..4).map(|_| space.client_with(at_once()))).await;
    let work = clients.iter().map(async |store| {
        let mut closed = 0;
        for _ in 0..10_000 {
            let claims = store.claim_due(40, Duration::from_micros(500)).await.unwrap();
            let finishes = claims.iter().map(|claim| claim.finish("done")).collect();
            let finished = store.finish(finishes).await.unwrap();
            closed += finished.iter().filter(|finished| **finished == Finished::Finished).count();
            if store.claim_events(1_000, Duration::ZERO).await.unwrap().len() == CORRELATIONS as usize {
                break;
            }
        }
        closed
    });
    let closed: usize = join_all(work).await.into_iter().sum();
    assert_eq!(closed, CORRELATIONS as usize);
    let mut told = BTreeMap::new();
    for event in events(&*store).await {
        *told.entry(event.id).or_insert(0) += 1;
    }
    assert_eq!(told.len(), CORRELATIONS as usize);
    assert!(told.values().all(|times| *times == 1));
}
