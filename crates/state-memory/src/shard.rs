//! A part of the state that is locked as one: correlations, and their order by time, by expiry and
//! by when they are due.

mod closing;

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    ops::{AddAssign, Bound},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use foldhash::quality::RandomState;
use state_core::{CorrelationKey, Cursor, Fragment, Outcome, Settings, Tenant};

use crate::stored::Stored;

/// How far the place in the list may lag behind the last arrival: the fragments of a burst move it once.
pub(crate) const LISTED_LAG: TimeDelta = TimeDelta::milliseconds(10);

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
    /// Correlations that were alive; of an expiry, those that had expired.
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

impl AddAssign for Removed {
    fn add_assign(&mut self, other: Self) {
        self.alive += other.alive;
        self.stored.extend(other.stored);
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
    /// Those with an event that has not been removed, by when it was closed.
    outbox: Index,
}

type Correlations = HashMap<Arc<CorrelationKey>, Box<Stored>, RandomState>;

type Index = BTreeSet<(DateTime<Utc>, Arc<CorrelationKey>)>;

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
        if let Some(stored) = self.correlations.get_mut(&key)
            && stored.expires > now
        {
            let (look, bytes) = (stored.life.look, stored.bytes);
            let outcome = stored.append(fragment, now, settings);
            let taken = stored.bytes - bytes;
            if stored.life.look != look || stored.last_updated - stored.listed > LISTED_LAG {
                self.reorder(&key, look);
            }
            return Appended { outcome, taken, freed: 0 };
        }
        let mut stored = Stored::new(settings.ttl, now, settings);
        let outcome = stored.append(fragment, now, settings);
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

    /// Puts a correlation in the place of what is there; answers how many bytes that has freed.
    pub(crate) fn replace(&mut self, key: CorrelationKey, stored: Stored, now: DateTime<Utc>) -> u64 {
        let removed = self.remove(&key, now);
        let key = Arc::new(key);
        let place = (Reverse(stored.listed), Arc::clone(&key));
        match self.listed.get_mut(&key.tenant) {
            Some(places) => drop(places.insert(place)),
            None => drop(self.listed.insert(key.tenant.clone(), BTreeSet::from([place]))),
        }
        self.expiring.insert((stored.expiring, Arc::clone(&key)));
        if let Some(look) = stored.life.look {
            self.due.insert((look, Arc::clone(&key)));
        }
        self.correlations.insert(key, Box::new(stored));
        removed.bytes()
    }

    /// Takes a correlation out.
    pub(crate) fn remove(&mut self, key: &CorrelationKey, now: DateTime<Utc>) -> Removed {
        if let Some((key, stored)) = self.correlations.get_key_value(key)
            && let Some(places) = self.listed.get_mut(&key.tenant)
        {
            places.remove(&(Reverse(stored.listed), Arc::clone(key)));
            if places.is_empty() {
                self.listed.remove(&key.tenant);
            }
        }
        self.take(key, now)
    }

    /// Takes a correlation out that is not in the list any more.
    fn take(&mut self, key: &CorrelationKey, now: DateTime<Utc>) -> Removed {
        let Some((key, stored)) = self.correlations.remove_entry(key) else { return Removed::default() };
        put(&mut self.due, &key, stored.life.look, None);
        put(&mut self.outbox, &key, stored.life.oldest_event(), None);
        self.expiring.remove(&(stored.expiring, key));
        Removed { alive: u64::from(stored.expires > now), stored: vec![stored] }
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

    pub(crate) fn cleanup(&mut self, cutoff: DateTime<Utc>, now: DateTime<Utc>) -> Removed {
        let mut removed = Removed::default();
        // The last microsecond before the cut-off.
        let Some(before) = cutoff.checked_sub_signed(TimeDelta::nanoseconds(1)) else { return removed };
        let before = DateTime::from_timestamp_micros(before.timestamp_micros()).unwrap_or(before);
        for tenant in self.listed.keys().cloned().collect::<Vec<_>>() {
            let Some(places) = self.listed.get_mut(&tenant) else { continue };
            let Some(first) = first_place(&tenant, before) else { continue };
            let mut old = places.split_off(&first);
            // A place may lag behind the last arrival.
            old.retain(|(_, key)| {
                let stays = self.correlations.get_mut(key).filter(|stored| stored.last_updated >= cutoff);
                let Some(stored) = stays else { return true };
                stored.listed = stored.last_updated;
                places.insert((Reverse(stored.listed), Arc::clone(key)));
                false
            });
            if places.is_empty() {
                self.listed.remove(&tenant);
            }
            for (_, key) in old {
                removed += self.take(&key, now);
            }
        }
        removed
    }

    /// Frees what has expired.
    pub(crate) fn expire(&mut self, now: DateTime<Utc>) -> Removed {
        let mut freed = Removed::default();
        while let Some((expiring, _)) = self.expiring.first()
            && *expiring <= now
            && let Some((_, key)) = self.expiring.pop_first()
        {
            let Some(stored) = self.correlations.get_mut(&key) else { continue };
            if stored.expires > now {
                stored.expiring = stored.expires;
                self.expiring.insert((stored.expiring, key));
            } else {
                freed += Removed { alive: 1, ..self.remove(&key, now) };
            }
        }
        freed
    }

    /// How many correlations there are, expired ones that were not freed included.
    pub(crate) fn count(&self) -> u64 {
        self.correlations.len() as u64
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
    if let Some(before) = before {
        index.remove(&(before, Arc::clone(key)));
    }
    if let Some(after) = after {
        index.insert((after, Arc::clone(key)));
    }
}

/// The place before all of a tenant that arrived last at a time: the least id there is.
fn first_place(tenant: &Tenant, time: DateTime<Utc>) -> Option<Place> {
    let key = CorrelationKey { tenant: tenant.clone(), id: "\0".parse().ok()? };
    Some((Reverse(time), Arc::new(key)))
}
