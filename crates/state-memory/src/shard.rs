//! A part of the state that is locked as one: correlations, and their order by time, by expiry and
//! by when they are due.

mod closing;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::Entry},
    ops::Bound,
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use foldhash::quality::RandomState;
use state_core::{CorrelationKey, Cursor, Fragment, Items, Outcome, Settings, Tenant};

use crate::{ledger::Sums, stored::Stored};

/// How far the place in the list may lag behind the last arrival: the fragments of a burst move it once.
pub(crate) const LISTED_LAG: TimeDelta = TimeDelta::milliseconds(20);

/// What an append has come to.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) outcome: Outcome,
    /// Bytes of the budget that are taken now.
    pub(crate) taken: u64,
    /// Bytes of the budget that are free again: of an expired correlation.
    pub(crate) freed: u64,
}

/// What a removal has come to.
#[derive(Default)]
pub(crate) struct Removed {
    /// Correlations that had not expired.
    pub(crate) alive: u64,
    /// What was taken out: giving its memory back takes longer than that, and needs no lock.
    #[expect(clippy::vec_box, reason = "they are boxed in the table, and moving them would copy them")]
    pub(crate) stored: Vec<Box<Stored>>,
}

impl Removed {
    /// Bytes of the budget that are free again.
    pub(crate) fn bytes(&self) -> u64 {
        self.stored.iter().map(|stored| stored.bytes).sum()
    }
}

#[derive(Default)]
pub(crate) struct Shard {
    /// Boxed, so that the table is small when it has to grow.
    correlations: Correlations,
    /// Each tenant's correlations, newest arrival first, then by id.
    listed: HashMap<Tenant, BTreeSet<Place>>,
    /// All correlations by the time to look whether they have expired.
    expiring: Index,
    /// Those that are not closed by the time to look whether they are due.
    due: Index,
    /// Those with an event that has not been removed, by when somebody may take it.
    outbox: Index,
    /// Those that carry a correlation key.
    carriers: HashMap<Carried, HashSet<Arc<CorrelationKey>>>,
    sums: Sums,
}

/// A correlation key that correlations of a tenant carry: its name and value.
type Carried = (Tenant, String, String);

type Correlations = HashMap<Arc<CorrelationKey>, Box<Stored>, RandomState>;

/// Keys by a time in microseconds. Those of one time are told apart by where they lie: comparing their texts would cost
/// more than all else.
type Index = BTreeMap<(i64, usize), Arc<CorrelationKey>>;

/// A place in the list of a tenant.
pub(crate) type Place = (Reverse<DateTime<Utc>>, Arc<CorrelationKey>);

impl Shard {
    /// Adds a fragment.
    pub(crate) fn append(
        &mut self,
        key: CorrelationKey,
        fragment: Fragment,
        now: DateTime<Utc>,
        settings: &Settings,
    ) -> Appended {
        let items = Items::of(&fragment);
        if let Some(stored) = self.correlations.get_mut(&key)
            && stored.expires > now
        {
            let (look, bytes) = (stored.life.look, stored.bytes);
            // A fragment that carries no key, as most do, is not looked at again.
            let carrying = (!fragment.facts().keys.is_empty()).then(|| fragment.clone());
            let outcome = stored.append(fragment, now, settings);
            let taken = stored.bytes - bytes;
            self.sums.arrived(outcome, items);
            if stored.life.look != look || stored.last_updated - stored.listed > LISTED_LAG {
                self.reorder(&key, look);
            }
            if let Some(fragment) = carrying.filter(|_| outcome == Outcome::Added)
                && let Some((key, _)) = self.correlations.get_key_value(&key)
            {
                carry(&mut self.carriers, key, &fragment);
            }
            return Appended { outcome, taken, freed: 0 };
        }
        let mut stored = Stored::new(settings.ttl, now, settings);
        let outcome = stored.append(fragment, now, settings);
        self.sums.arrived(outcome, items);
        if outcome != Outcome::Added {
            return Appended { outcome, taken: 0, freed: 0 };
        }
        let taken = stored.bytes;
        Appended { outcome, taken, freed: self.replace(key, stored, now) }
    }

    /// Puts a correlation to its new places in the list and among the due, where its look was at `before`.
    fn reorder(&mut self, key: &CorrelationKey, before: Option<DateTime<Utc>>) {
        let Some((key, stored)) = find(&mut self.correlations, key) else { return };
        let (look, listed) = (stored.life.look, stored.listed);
        stored.listed = stored.last_updated;
        if stored.listed != listed
            && let Some(places) = self.listed.get_mut(&key.tenant)
        {
            places.remove(&(Reverse(listed), Arc::clone(&key)));
            places.insert((Reverse(stored.listed), Arc::clone(&key)));
        }
        put(&mut self.due, &key, before, look);
    }

    pub(crate) fn get(&self, key: &CorrelationKey, now: DateTime<Utc>) -> Option<&Stored> {
        self.correlations.get(key).map(Box::as_ref).filter(|stored| stored.expires > now)
    }

    /// Puts a correlation that somebody has made in the place of what is there; answers how many bytes
    /// that has freed.
    pub(crate) fn set(&mut self, key: CorrelationKey, stored: Stored, now: DateTime<Utc>) -> u64 {
        self.sums.arrived(Outcome::Added, stored.items());
        self.replace(key, stored, now)
    }

    /// What it counts for the ledger.
    pub(crate) fn sums(&self) -> &Sums {
        &self.sums
    }

    /// Puts a correlation in the place of what is there; answers how many bytes that has freed.
    fn replace(&mut self, key: CorrelationKey, stored: Stored, now: DateTime<Utc>) -> u64 {
        let mut removed = Removed::default();
        self.remove(&key, now, &mut removed);
        let key = Arc::new(key);
        let place = (Reverse(stored.listed), Arc::clone(&key));
        match self.listed.get_mut(&key.tenant) {
            Some(places) => drop(places.insert(place)),
            None => drop(self.listed.insert(key.tenant.clone(), BTreeSet::from([place]))),
        }
        put(&mut self.expiring, &key, None, Some(stored.expiring));
        put(&mut self.due, &key, None, stored.life.look);
        stored.fragments().iter().for_each(|fragment| carry(&mut self.carriers, &key, fragment));
        self.correlations.insert(key, Box::new(stored));
        removed.bytes()
    }

    /// Takes a correlation out.
    pub(crate) fn remove(&mut self, key: &CorrelationKey, now: DateTime<Utc>, removed: &mut Removed) {
        if let Some((key, stored)) = self.correlations.get_key_value(key)
            && let Some(places) = self.listed.get_mut(&key.tenant)
        {
            places.remove(&(Reverse(stored.listed), Arc::clone(key)));
            if places.is_empty() {
                self.listed.remove(&key.tenant);
            }
        }
        if let Some((key, stored)) = self.correlations.remove_entry(key) {
            self.unlink(&key, stored, now, removed);
        }
    }

    /// Takes a correlation out of the indexes that is not in the table and the list any more.
    fn unlink(
        &mut self,
        key: &Arc<CorrelationKey>,
        stored: Box<Stored>,
        now: DateTime<Utc>,
        removed: &mut Removed,
    ) {
        put(&mut self.due, key, stored.life.look, None);
        put(&mut self.outbox, key, stored.life.events_due, None);
        put(&mut self.expiring, key, Some(stored.expiring), None);
        for (name, value) in stored.fragments().iter().flat_map(|fragment| &fragment.facts().keys) {
            let carried = (key.tenant.clone(), name.clone(), value.clone());
            if let Some(carriers) = self.carriers.get_mut(&carried) {
                carriers.remove(key);
                if carriers.is_empty() {
                    self.carriers.remove(&carried);
                }
            }
        }
        let is_alive = stored.expires > now;
        self.sums.removed(is_alive, stored.whereabouts());
        removed.alive += u64::from(is_alive);
        removed.stored.push(stored);
    }

    /// The correlations of a tenant that carry a correlation key.
    pub(crate) fn carriers(
        &self,
        tenant: &Tenant,
        (name, value): &(String, String),
    ) -> impl Iterator<Item = &Arc<CorrelationKey>> {
        self.carriers.get(&(tenant.clone(), name.clone(), value.clone())).into_iter().flatten()
    }

    /// The places of a tenant's correlations after one, newest first.
    pub(crate) fn listed_after(
        &self,
        tenant: &Tenant,
        start: Option<&Cursor>,
    ) -> Option<impl Iterator<Item = &Place>> {
        let bound = match start {
            None => Bound::Unbounded,
            Some(Cursor { last_updated, correlation_id: Some(id) }) => {
                let key = CorrelationKey { tenant: tenant.clone(), id: id.clone() };
                Bound::Excluded((Reverse(*last_updated), Arc::new(key)))
            }
            Some(Cursor { last_updated, correlation_id: None }) => {
                Bound::Included(first_place(tenant, *last_updated)?)
            }
        };
        Some(self.listed.get(tenant)?.range::<Place, _>((bound, Bound::Unbounded)))
    }

    /// Takes out what arrived last before a time.
    pub(crate) fn cleanup(&mut self, cutoff: DateTime<Utc>, now: DateTime<Utc>, removed: &mut Removed) {
        // The last microsecond before the cut-off.
        let Some(before) = cutoff.checked_sub_signed(TimeDelta::nanoseconds(1)) else { return };
        let before = DateTime::from_timestamp_micros(before.timestamp_micros()).unwrap_or(before);
        for tenant in self.listed.keys().cloned().collect::<Vec<_>>() {
            let Some(places) = self.listed.get_mut(&tenant) else { continue };
            let Some(first) = first_place(&tenant, before) else { continue };
            let old = places.split_off(&first);
            for (_, key) in old {
                let Entry::Occupied(mut entry) = self.correlations.entry(key) else { continue };
                if entry.get().last_updated < cutoff {
                    let (key, stored) = entry.remove_entry();
                    self.unlink(&key, stored, now, removed);
                } else {
                    // Its place lagged behind its last arrival.
                    let place = (Reverse(entry.get().last_updated), Arc::clone(entry.key()));
                    entry.get_mut().listed = place.0.0;
                    self.listed.entry(tenant.clone()).or_default().insert(place);
                }
            }
            if self.listed.get(&tenant).is_some_and(BTreeSet::is_empty) {
                self.listed.remove(&tenant);
            }
        }
    }

    /// Takes out what has expired.
    pub(crate) fn expire(&mut self, now: DateTime<Utc>, removed: &mut Removed) {
        while let Some(key) = pop(&mut self.expiring, now) {
            let Some(stored) = self.correlations.get_mut(&key) else { continue };
            if stored.expires > now {
                stored.expiring = stored.expires;
                put(&mut self.expiring, &key, None, Some(stored.expiring));
            } else {
                self.remove(&key, now, removed);
            }
        }
    }

    /// How many correlations there are, expired ones that were not freed included.
    pub(crate) fn count(&self) -> u64 {
        self.correlations.len() as u64
    }
}

/// Notes that a correlation carries the keys of a fragment.
fn carry(
    carriers: &mut HashMap<Carried, HashSet<Arc<CorrelationKey>>>,
    key: &Arc<CorrelationKey>,
    fragment: &Fragment,
) {
    for (name, value) in &fragment.facts().keys {
        let carried = (key.tenant.clone(), name.clone(), value.clone());
        carriers.entry(carried).or_default().insert(Arc::clone(key));
    }
}

/// A correlation to change, expired or not, with its key to put into places.
fn find<'a>(
    correlations: &'a mut Correlations,
    key: &CorrelationKey,
) -> Option<(Arc<CorrelationKey>, &'a mut Stored)> {
    let key = Arc::clone(correlations.get_key_value(key)?.0);
    let stored = correlations.get_mut(&key)?;
    Some((key, stored))
}

/// Moves a correlation from its place in an index, if it has one there, to another, if there is one.
fn put(
    index: &mut Index,
    key: &Arc<CorrelationKey>,
    before: Option<DateTime<Utc>>,
    after: Option<DateTime<Utc>>,
) {
    if before == after {
        return;
    }
    let address = Arc::as_ptr(key).addr();
    if let Some(before) = before {
        index.remove(&(before.timestamp_micros(), address));
    }
    if let Some(after) = after {
        index.insert((after.timestamp_micros(), address), Arc::clone(key));
    }
}

/// Takes the first correlation out of an index, if its time has come.
fn pop(index: &mut Index, now: DateTime<Utc>) -> Option<Arc<CorrelationKey>> {
    let first = index.first_entry().filter(|first| first.key().0 <= now.timestamp_micros())?;
    Some(first.remove())
}

/// The place before all of a tenant that arrived last at a time: the least id there is.
fn first_place(tenant: &Tenant, time: DateTime<Utc>) -> Option<Place> {
    let key = CorrelationKey { tenant: tenant.clone(), id: "\0".parse().ok()? };
    Some((Reverse(time), Arc::new(key)))
}
