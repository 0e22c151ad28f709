//! The plain model: what must be there after any sequence of operations.

use std::collections::{BTreeMap, BTreeSet};

use state_core::{
    Account, Expiry, Finished, Fragment, Identity, Items, Ledger, Outcome, Overrides, Refusal, Signal,
};

/// Most spans, and likewise log records, of a correlation in the model.
pub(super) const SPANS_MAX: u64 = 12;

/// A correlation as it must be.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored {
    /// Tells it from others of the same name before and after.
    instance: usize,
    pub(super) fragments: Vec<Fragment>,
    pub(super) overrides: Overrides,
    /// Set to this time and not arrived since.
    pub(super) old: Option<i64>,
    is_closed: bool,
    pub(super) is_full: bool,
    generation: u64,
    earlier: usize,
    /// New items of each generation that is closed and not delivered.
    closed: BTreeMap<u64, Items>,
    /// Claim that may finish it, and whether its lease still runs.
    claim: Option<(usize, bool)>,
    finished_by: Option<usize>,
}

/// A claim that was made.
#[derive(Debug, Clone)]
pub(super) struct Claimed {
    pub(super) id: String,
    instance: usize,
    version: usize,
    pub(super) generation: u64,
    pub(super) news: Vec<Fragment>,
}

/// An event that must be in the outbox.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) generation: u64,
    pub(super) news: Vec<Fragment>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) correlations: BTreeMap<String, Stored>,
    pub(super) claims: Vec<Claimed>,
    pub(super) events: BTreeMap<String, Vec<Told>>,
    pub(super) ledger: Ledger,
    instances: usize,
}

/// How a correlation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Deleted,
    Expired,
}

impl Stored {
    /// An empty one that was set to a time.
    pub(super) fn set_to(old: i64) -> Self {
        Self { old: Some(old), ..Self::default() }
    }

    /// Adds a fragment as an entry that is set would hold it.
    pub(super) fn add(&mut self, fragment: &Fragment) -> Outcome {
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

    /// Items that have arrived since it was closed last.
    fn pending(&self) -> Items {
        self.fragments[self.earlier..].iter().map(Items::of).fold(Items::default(), |sum, items| sum + items)
    }

    fn news(&self) -> Vec<Fragment> {
        let (earlier, later) = self.fragments.split_at(self.earlier);
        let known: BTreeSet<(Signal, Identity)> = earlier.iter().flat_map(items).collect();
        let is_new = |fragment: &&Fragment| items(fragment).any(|item| !known.contains(&item));
        let all = earlier.is_empty();
        later.iter().filter(|fragment| all || is_new(fragment)).cloned().collect()
    }
}

fn items(fragment: &Fragment) -> impl Iterator<Item = (Signal, Identity)> {
    fragment.identities().iter().map(|identity| (fragment.signal(), *identity))
}

impl Model {
    pub(super) fn append(&mut self, id: &str, fragment: &Fragment) -> Outcome {
        let mut stored = self.correlations.get(id).cloned().unwrap_or_default();
        let outcome = stored.add(fragment);
        self.ledger.enter(Items::of(fragment), |account, items| {
            account.received += items;
            match outcome {
                Outcome::Added => {
                    account.kept += items;
                    account.pending += items;
                }
                Outcome::Duplicate => account.duplicate += items,
                Outcome::Refused(refusal) => {
                    *account.refused.entry(refusal.as_str().to_owned()).or_default() += items;
                }
            }
        });
        match outcome {
            Outcome::Added if stored.is_closed => (stored.is_closed, stored.claim) = (false, None),
            Outcome::Refused(_) if stored.instance == 0 => return outcome,
            Outcome::Refused(_) => stored.is_full |= !stored.is_closed,
            Outcome::Added | Outcome::Duplicate => {}
        }
        if !matches!(outcome, Outcome::Refused(_)) {
            stored.old = None;
        }
        self.put(id, stored);
        outcome
    }

    /// Puts a correlation that somebody has made.
    pub(super) fn set(&mut self, id: &str, stored: Stored) {
        self.ledger.enter(stored.pending(), |account, items| {
            account.received += items;
            account.kept += items;
            account.pending += items;
        });
        self.put(id, stored);
    }

    /// Puts a correlation; one that is new gets a life of its own.
    fn put(&mut self, id: &str, mut stored: Stored) {
        if stored.instance == 0 {
            self.remove(id, End::Deleted);
            self.instances += 1;
            stored.instance = self.instances;
        }
        self.correlations.insert(id.to_owned(), stored);
    }

    pub(super) fn remove(&mut self, id: &str, end: End) -> bool {
        self.events.remove(id);
        let Some(stored) = self.correlations.remove(id) else { return false };
        let closed = stored.closed.values().fold(Items::default(), |sum, items| sum + *items);
        self.ledger.enter(stored.pending(), |account, items| {
            account.pending -= items;
            account.end(end, Expiry::Pending, items);
        });
        self.ledger.enter(closed, |account, items| {
            account.stored -= items;
            account.end(end, Expiry::Undelivered, items);
        });
        true
    }

    /// An event was removed from the outbox.
    pub(super) fn delivered(&mut self, id: &str, generation: u64) {
        if let Some(told) = self.events.get_mut(id) {
            told.retain(|told| told.generation != generation);
        }
        let stored = self.correlations.get_mut(id).and_then(|stored| stored.closed.remove(&generation));
        self.ledger.enter(stored.unwrap_or_default(), |account, items| {
            account.stored -= items;
            account.delivered += items;
        });
    }

    /// Claims what is due of the wanted; the leases run on, or are over at once.
    pub(super) fn claim(&mut self, is_leased: bool, is_wanted: impl Fn(&str) -> bool) -> Vec<Claimed> {
        let mut claimed = Vec::new();
        for (id, stored) in &mut self.correlations {
            if !is_wanted(id) || stored.is_closed || stored.claim.is_some_and(|(_, is_leased)| is_leased) {
                continue;
            }
            stored.claim = Some((self.claims.len() + claimed.len(), is_leased));
            claimed.push(Claimed {
                id: id.clone(),
                instance: stored.instance,
                version: stored.fragments.len(),
                generation: stored.generation + 1,
                news: stored.news(),
            });
        }
        claimed
    }

    pub(super) fn finish(&mut self, claim: usize) -> Finished {
        let Claimed { id, instance, version, .. } = self.claims[claim].clone();
        let stored = self.correlations.get_mut(&id).filter(|stored| stored.instance == instance);
        let Some(stored) = stored else { return Finished::Lost };
        if stored.finished_by == Some(claim) {
            return Finished::Finished;
        }
        if stored.is_closed || stored.claim.is_none_or(|(last, _)| last != claim) {
            return Finished::Lost;
        }
        stored.claim = None;
        if stored.fragments.len() != version {
            return Finished::Changed;
        }
        let news = stored.news();
        let earlier: BTreeSet<_> = stored.fragments[..stored.earlier].iter().flat_map(items).collect();
        let new: BTreeSet<_> =
            stored.fragments.iter().flat_map(items).filter(|item| !earlier.contains(item)).collect();
        let of_signal =
            |signal| Items::of_signal(signal, new.iter().filter(|(of, _)| *of == signal).count() as u64);
        let new = of_signal(Signal::Traces) + of_signal(Signal::Logs);
        let pending = stored.pending();
        self.ledger.enter(pending, |account, items| {
            account.pending -= items;
            account.kept -= items;
            account.duplicate += items;
        });
        self.ledger.enter(new, |account, items| {
            account.kept += items;
            account.duplicate -= items;
            account.stored += items;
        });
        if stored.generation == 0 || !news.is_empty() {
            stored.generation += 1;
            stored.closed.insert(stored.generation, new);
            let told = Told { generation: stored.generation, news };
            self.events.entry(id).or_default().push(told);
        }
        (stored.is_closed, stored.is_full, stored.finished_by) = (true, false, Some(claim));
        stored.earlier = version;
        Finished::Finished
    }

    pub(super) fn release(&mut self, claim: usize) {
        let Claimed { id, instance, .. } = &self.claims[claim];
        if let Some(stored) = self.correlations.get_mut(id)
            && stored.instance == *instance
            && stored.claim.is_some_and(|(last, _)| last == claim)
        {
            stored.claim = None;
        }
    }
}

/// Changes of a ledger, signal by signal.
trait Enter {
    fn enter(&mut self, items: Items, change: impl Fn(&mut Account, u64));
}

impl Enter for Ledger {
    fn enter(&mut self, items: Items, change: impl Fn(&mut Account, u64)) {
        change(&mut self.spans, items.spans);
        change(&mut self.logs, items.logs);
        for account in [&mut self.spans, &mut self.logs] {
            account.refused.retain(|_, count| *count > 0);
            account.expired.retain(|_, count| *count > 0);
        }
    }
}

trait EndItems {
    fn end(&mut self, end: End, expiry: Expiry, items: u64);
}

impl EndItems for Account {
    fn end(&mut self, end: End, expiry: Expiry, items: u64) {
        match end {
            End::Deleted => self.deleted += items,
            End::Expired => *self.expired.entry(expiry.as_str().to_owned()).or_default() += items,
        }
    }
}
