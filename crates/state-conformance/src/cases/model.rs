//! Random sequences of operations do what a plain model does.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
};

use state_core::{
    Append, CorrelationEntry, Fragment, Limits, Outcome, Overrides, Refusal, Settings, StateManager,
};

use crate::{
    Space,
    sample::{at, count, everything, get, ids, key, logs, set, spans},
};

/// Enough that each kind of step meets each kind of state.
const STEPS: usize = 400;
const SPANS_MAX: u64 = 12;
/// Runs the steps of a failure again: set it to the seed that was printed.
const SEED: &str = "CONFORMANCE_SEED";

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

    fn fragment(&mut self) -> Fragment {
        let (seed, items) = (self.below(8) as u32, self.below(3) as u32 + 1);
        if self.below(3) == 0 { logs(seed, items) } else { spans(seed, items) }
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Stored {
    fragments: Vec<Fragment>,
    overrides: Overrides,
    /// Set to this time and not arrived since.
    old: Option<i64>,
}

impl Stored {
    fn append(&mut self, fragment: &Fragment) -> Outcome {
        if self.fragments.contains(fragment) {
            return Outcome::Duplicate;
        }
        let of_signal = self.fragments.iter().filter(|known| known.signal() == fragment.signal());
        let items: usize = of_signal.map(|known| known.identities().len()).sum();
        if (items + fragment.identities().len()) as u64 > SPANS_MAX {
            return Outcome::Refused(Refusal::SpansMax);
        }
        self.fragments.push(fragment.clone());
        Outcome::Added
    }
}

type Model = BTreeMap<String, Stored>;

fn append(model: &mut Model, id: &str, fragment: &Fragment) -> Outcome {
    let mut stored = model.get(id).cloned().unwrap_or_default();
    let outcome = stored.append(fragment);
    if !matches!(outcome, Outcome::Refused(_)) {
        stored.old = None;
        model.insert(id.to_owned(), stored);
    }
    outcome
}

async fn check(store: &dyn StateManager, model: &Model, id: &str, said: &str) {
    let read = get(store, &key(id)).await;
    let expected = model.get(id);
    assert_eq!(read.is_some(), expected.is_some(), "{id} {said}");
    let (Some(read), Some(expected)) = (read, expected) else { return };
    let of = |is_spans: bool| {
        let of_signal = expected.fragments.iter().filter(move |fragment| (fragment.spans() > 0) == is_spans);
        of_signal.cloned().collect::<Vec<_>>()
    };
    assert_eq!((&read.spans, &read.logs), (&of(true), &of(false)), "{id} {said}");
    assert_eq!(read.overrides(), expected.overrides, "{id} {said}");
    if let Some(old) = expected.old {
        assert_eq!(read.last_updated, at(old), "{id} {said}");
    }
}

pub(crate) async fn random_steps_do_what_the_model_does(space: Space) {
    let given = std::env::var(SEED).ok();
    let seed = given.map_or_else(|| RandomState::new().hash_one(SEED), |seed| seed.parse().unwrap());
    let limits = Limits { spans_max: SPANS_MAX, ..Limits::default() };
    let settings = Settings { limits, ..Settings::default() };
    // Two clients, as two engines would be.
    let clients = [space.client_with(settings).await, space.client_with(settings).await];
    let mut random = Random(seed);
    let mut model = Model::new();
    for step in 0..STEPS {
        let store = &*clients[random.below(2) as usize];
        let id = random.id();
        let said = format!("at step {step} with seed {seed}");
        match random.below(10) {
            0..=5 => {
                let fragments: Vec<(String, Fragment)> =
                    (0..=random.below(4)).map(|_| (random.id(), random.fragment())).collect();
                let batch = fragments
                    .iter()
                    .map(|(id, fragment)| Append { key: key(id), fragment: fragment.clone() });
                let outcomes = store.append(batch.collect()).await.unwrap();
                let expected: Vec<_> =
                    fragments.iter().map(|(id, fragment)| append(&mut model, id, fragment)).collect();
                assert_eq!(outcomes, expected, "{said}");
            }
            6 | 7 => {
                let old = random.below(1_000) as i64;
                let mut stored = Stored { old: Some(old), ..Stored::default() };
                for _ in 0..random.below(4) {
                    stored.append(&random.fragment());
                }
                // An entry holds spans and logs apart.
                stored.fragments.sort_by_key(Fragment::signal);
                if random.below(2) == 0 {
                    stored.overrides.metadata.insert("ticket".into(), step.to_string());
                }
                let (fragments, overrides) = (stored.fragments.clone(), stored.overrides.clone());
                set(store, CorrelationEntry::fold(key(&id).id, at(0), at(old), fragments, overrides)).await;
                model.insert(id.clone(), stored);
            }
            8 => {
                let deleted = store.delete_correlation(&key(&id)).await.unwrap();
                assert_eq!(deleted, model.remove(&id).is_some(), "{id} {said}");
            }
            _ => {
                let cutoff = random.below(1_000) as i64;
                let removed = store.cleanup_old_correlations(at(cutoff)).await.unwrap();
                let before = model.len();
                model.retain(|_, stored| stored.old.is_none_or(|old| old >= cutoff));
                assert_eq!(removed, (before - model.len()) as u64, "before {cutoff} {said}");
            }
        }
        let other = &*clients[random.below(2) as usize];
        check(other, &model, &id, &said).await;
        assert_eq!(count(other).await, model.len() as u64, "{said}");
    }
    for id in model.keys() {
        check(&*clients[0], &model, id, &format!("at the end with seed {seed}")).await;
    }
    let mut listed = ids(&*clients[1], everything()).await;
    listed.sort_unstable();
    assert_eq!(listed, model.keys().cloned().collect::<Vec<_>>(), "with seed {seed}");
}
