//! Random sequences of operations do what a plain model does.

mod plain;

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use plain::{End, Model, SPANS_MAX, Stored, Told};
use state_core::{Append, Claim, CorrelationEntry, Event, Fragment, Limits, Release, Settings, StateManager};

use crate::{
    Space,
    sample::{at, count, everything, get, ids, key, logs, spans},
};

/// Enough that each kind of step meets each kind of state.
const STEPS: usize = 600;
/// Runs the steps of a failure again: set it to the seed that was printed.
const SEED: &str = "CONFORMANCE_SEED";
/// Lease that outlives the case, and one that is over before the next step.
const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(1);
/// Over when a step that needs it to be has waited three times as long.
const BRIEF_TTL: Duration = Duration::from_millis(2);

/// A small generator (SplitMix64), so that a failure can be run again from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn id(&mut self) -> String {
        format!("id-{}", self.below(6))
    }

    /// One of few, so that it comes again: whole, or as a part of a larger one, which is what a retry
    /// with other batch borders sends.
    fn fragment(&mut self) -> Fragment {
        let (seed, items) = (self.below(8) as u32, self.below(3) as u32 + 1);
        if self.below(3) == 0 { logs(seed, items) } else { spans(seed, items) }
    }
}

/// A state, the engines that use it, and what must be in it.
struct Run {
    space: Space,
    settings: Settings,
    engines: Vec<Arc<dyn StateManager>>,
    random: Random,
    model: Model,
    /// Claims as the store gave them, in the order of the model's.
    claims: Vec<Claim>,
}

impl Run {
    fn engine(&mut self) -> Arc<dyn StateManager> {
        let index = self.random.below(self.engines.len() as u64) as usize;
        Arc::clone(&self.engines[index])
    }

    async fn step(&mut self, said: &str) {
        let (store, id) = (self.engine(), self.random.id());
        match self.random.below(20) {
            0..=7 => self.append(&*store, said).await,
            8 | 9 => self.set(&*store, &id, LONG).await,
            10 => {
                let deleted = store.delete_correlation(&key(&id)).await.unwrap();
                assert_eq!(deleted, self.model.remove(&id, End::Deleted), "{id} {said}");
            }
            11 => self.clean_up(&*store, said).await,
            12 => {
                self.set(&*store, &id, BRIEF_TTL).await;
                tokio::time::sleep(3 * BRIEF_TTL).await;
                self.model.remove(&id, End::Expired);
                store.expire().await.unwrap();
            }
            13 => {
                // An engine dies, and another one takes its place.
                let index = self.random.below(self.engines.len() as u64) as usize;
                self.engines[index] = self.space.client_with(self.settings).await;
            }
            14 | 15 => self.claim(&*store, said).await,
            16..=18 => self.settle(&*store, said).await,
            _ => self.remove_event(&*store, said).await,
        }
    }

    async fn append(&mut self, store: &dyn StateManager, said: &str) {
        let number = self.random.below(5) + 1;
        let fragments: Vec<_> = (0..number).map(|_| (self.random.id(), self.random.fragment())).collect();
        let append =
            |(id, fragment): &(String, Fragment)| Append { key: key(id), fragment: fragment.clone() };
        let outcomes = store.append(fragments.iter().map(append).collect()).await.unwrap();
        let expected: Vec<_> =
            fragments.iter().map(|(id, fragment)| self.model.append(id, fragment)).collect();
        assert_eq!(outcomes, expected, "{said}");
    }

    async fn set(&mut self, store: &dyn StateManager, id: &str, ttl: Duration) {
        let old = self.random.below(1_000) as i64;
        let mut stored = Stored::set_to(old);
        for _ in 0..self.random.below(4) {
            stored.add(&self.random.fragment());
        }
        // An entry holds spans and logs apart.
        stored.fragments.sort_by_key(Fragment::signal);
        if self.random.below(2) == 0 {
            stored.overrides.metadata.insert("ticket".into(), old.to_string());
        }
        let (fragments, overrides) = (stored.fragments.clone(), stored.overrides.clone());
        let entry = CorrelationEntry::fold(key(id).id, at(0), at(old), fragments, overrides);
        store.set_correlation(&key(id), entry, Some(ttl)).await.unwrap();
        self.model.set(id, stored);
    }

    async fn clean_up(&mut self, store: &dyn StateManager, said: &str) {
        let cutoff = self.random.below(1_000) as i64;
        let removed = store.cleanup_old_correlations(at(cutoff)).await.unwrap();
        let is_old = |stored: &Stored| stored.old.is_some_and(|old| old < cutoff);
        let old = self.model.correlations.iter().filter(|(_, stored)| is_old(stored));
        let old: Vec<String> = old.map(|(id, _)| id.clone()).collect();
        for id in &old {
            self.model.remove(id, End::Deleted);
        }
        assert_eq!(removed, old.len() as u64, "before {cutoff} {said}");
    }

    async fn claim(&mut self, store: &dyn StateManager, said: &str) {
        let is_leased = self.random.below(2) == 0;
        let mut claims = Vec::new();
        if is_leased {
            loop {
                let more = store.claim_due(3, LONG).await.unwrap();
                if more.is_empty() {
                    break;
                }
                claims.extend(more);
            }
        } else {
            // Those that end before the next step are asked for once, or they would come again.
            claims = store.claim_due(100, SHORT).await.unwrap();
            tokio::time::sleep(3 * SHORT).await;
        }
        claims.sort_by(|one, other| one.ticket.key.cmp(&other.ticket.key));
        let is_claimed = |id: &str| claims.iter().any(|claim| claim.ticket.key.id.as_str() == id);
        let expected = self.model.claim(is_leased, |id| is_leased || is_claimed(id));
        let of = |claim: &Claim| (claim.ticket.key.id.to_string(), claim.generation, claim.news.clone());
        let due: Vec<_> =
            expected.iter().map(|claim| (claim.id.clone(), claim.generation, claim.news.clone())).collect();
        assert_eq!(claims.iter().map(of).collect::<Vec<_>>(), due, "{said}");
        for claim in &claims {
            let stored = &self.model.correlations[claim.ticket.key.id.as_str()];
            assert_eq!(claim.is_full, stored.is_full, "{} {said}", claim.ticket.key);
            assert_eq!(claim.entry.fragments().count(), stored.fragments.len(), "{said}");
        }
        self.model.claims.extend(expected);
        self.claims.extend(claims);
    }

    /// Finishes or releases with a claim, however old, perhaps again.
    async fn settle(&mut self, store: &dyn StateManager, said: &str) {
        if self.claims.is_empty() {
            return;
        }
        let recent = self.random.below(12.min(self.claims.len() as u64)) as usize;
        let number = self.claims.len() - 1 - recent;
        let ticket = self.claims[number].ticket.clone();
        if self.random.below(5) == 0 {
            store.release(vec![Release { ticket, look_after: Duration::ZERO }]).await.unwrap();
            self.model.release(number);
            return;
        }
        for _ in 0..=self.random.below(2) {
            let finished = store.finish(vec![self.claims[number].finish("note")]).await.unwrap();
            assert_eq!(finished, [self.model.finish(number)], "{} {said}", ticket.key);
        }
    }

    async fn remove_event(&mut self, store: &dyn StateManager, said: &str) {
        let events = store.claim_events(1_000, Duration::ZERO).await.unwrap();
        if events.is_empty() {
            return;
        }
        let id = &events[self.random.below(events.len() as u64) as usize].id;
        assert_eq!(store.remove_events(std::slice::from_ref(id)).await.unwrap(), 1, "{said}");
        self.model.delivered(id.key.id.as_str(), id.generation);
    }

    async fn check(&mut self, id: &str, said: &str) {
        let store = self.engine();
        assert_eq!(count(&*store).await, self.model.correlations.len() as u64, "{said}");
        self.check_events(&*store, said).await;
        assert_eq!(store.get_ledger().await.unwrap(), self.model.ledger, "{said}");
        let read = get(&*store, &key(id)).await;
        let expected = self.model.correlations.get(id);
        assert_eq!(read.is_some(), expected.is_some(), "{id} {said}");
        let (Some(read), Some(expected)) = (read, expected) else { return };
        let of = |is_spans: bool| {
            let of_signal =
                expected.fragments.iter().filter(move |fragment| (fragment.spans() > 0) == is_spans);
            of_signal.cloned().collect::<Vec<_>>()
        };
        assert_eq!((&read.spans, &read.logs), (&of(true), &of(false)), "{id} {said}");
        assert_eq!(read.overrides(), expected.overrides, "{id} {said}");
        if let Some(old) = expected.old {
            assert_eq!(read.last_updated, at(old), "{id} {said}");
        }
    }

    async fn check_events(&self, store: &dyn StateManager, said: &str) {
        let mut told = BTreeMap::<String, Vec<Told>>::new();
        for Event { id, news, .. } in store.claim_events(1_000, Duration::ZERO).await.unwrap() {
            let event = Told { generation: id.generation, news };
            told.entry(id.key.id.to_string()).or_default().push(event);
        }
        let expected: BTreeMap<_, _> =
            self.model.events.iter().filter(|(_, told)| !told.is_empty()).collect();
        assert_eq!(told.iter().collect::<BTreeMap<_, _>>(), expected, "{said}");
    }
}

pub(crate) async fn random_steps_do_what_the_model_does(space: Space) {
    let given = std::env::var(SEED).ok();
    let seed = given.map_or_else(|| RandomState::new().hash_one(SEED), |seed| seed.parse().unwrap());
    let limits = Limits { spans_max: SPANS_MAX, ..Limits::default() };
    let settings = Settings { limits, grace: Duration::ZERO, ..Settings::default() };
    let engines = vec![space.client_with(settings).await, space.client_with(settings).await];
    let (random, model) = (Random(seed), Model::default());
    let mut run = Run { space, settings, engines, random, model, claims: Vec::new() };
    for step in 0..STEPS {
        let said = format!("at step {step} with {SEED}={seed}");
        run.step(&said).await;
        let id = run.random.id();
        run.check(&id, &said).await;
    }
    for id in run.model.correlations.keys().cloned().collect::<Vec<_>>() {
        run.check(&id, &format!("at the end with {SEED}={seed}")).await;
    }
    let mut listed = ids(&*run.engines[1], everything()).await;
    listed.sort_unstable();
    assert_eq!(listed, run.model.correlations.keys().cloned().collect::<Vec<_>>(), "with {SEED}={seed}");
}
