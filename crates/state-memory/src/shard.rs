//! A part of the state that is locked as one: correlations, and their order by time, by expiry and
//! by when they are due.

mod closing;

use std::{
    collections::{BTreeSet, HashMap},
    ops::{AddAssign, Bound},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use state_core::{CorrelationId, CorrelationKey, Cursor, Fragment, Outcome, Settings, Tenant};

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
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Removed {
    /// Correlations that were alive; of an expiry, those that had expired.
    pub(crate) correlations: u64,
    /// Bytes of the budget that are free again.
    pub(crate) bytes: u64,
}

impl AddAssign for Removed {
    fn add_assign(&mut self, other: Self) {
        self.correlations += other.correlations;
        self.bytes += other.bytes;
    }
}

#[derive(Default)]
pub(crate) struct Shard {
    correlations: HashMap<Arc<CorrelationKey>, Stored>,
    /// Each tenant's correlations, newest arrival first.
    listed: HashMap<Tenant, BTreeSet<Cursor>>,
    /// All correlations by the time to look whether they have expired.
    expiring: Index,
    /// Those that are not closed by the time to look whether they are due.
    due: Index,
    /// Those with an event that has not been removed, by when it was closed.
    outbox: Index,
}

type Index = BTreeSet<(DateTime<Utc>, Arc<CorrelationKey>)>;

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
                self.reorder(key, look);
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
    fn reorder(&mut self, key: CorrelationKey, before: Option<DateTime<Utc>>) {
        let Some((shared, _)) = self.correlations.get_key_value(&key) else { return };
        let shared = Arc::clone(shared);
        let Some(stored) = self.correlations.get_mut(&key) else { return };
        let (look, listed) = (stored.life.look, stored.listed);
        stored.listed = stored.last_updated;
        let (tenant, correlation_id) = (key.tenant, Some(key.id));
        if stored.listed != listed {
            let places = self.listed.entry(tenant).or_default();
            let mut place = Cursor { last_updated: listed, correlation_id };
            places.remove(&place);
            place.last_updated = stored.listed;
            places.insert(place);
        }
        if look != before {
            if let Some(before) = before {
                self.due.remove(&(before, Arc::clone(&shared)));
            }
            if let Some(look) = look {
                self.due.insert((look, shared));
            }
        }
    }

    pub(crate) fn get(&self, key: &CorrelationKey, now: DateTime<Utc>) -> Option<&Stored> {
        self.correlations.get(key).filter(|stored| stored.expires > now)
    }

    /// Puts a correlation in the place of what is there; answers how many bytes that has freed.
    pub(crate) fn replace(&mut self, key: CorrelationKey, stored: Stored, now: DateTime<Utc>) -> u64 {
        let removed = self.remove(&key, now);
        let place = Cursor { last_updated: stored.listed, correlation_id: Some(key.id.clone()) };
        self.listed.entry(key.tenant.clone()).or_default().insert(place);
        let key = Arc::new(key);
        self.expiring.insert((stored.expiring, Arc::clone(&key)));
        if let Some(look) = stored.life.look {
            self.due.insert((look, Arc::clone(&key)));
        }
        self.correlations.insert(key, stored);
        removed.bytes
    }

    /// Frees a correlation.
    pub(crate) fn remove(&mut self, key: &CorrelationKey, now: DateTime<Utc>) -> Removed {
        let Some((key, stored)) = self.correlations.remove_entry(key) else { return Removed::default() };
        let place = Cursor { last_updated: stored.listed, correlation_id: Some(key.id.clone()) };
        if let Some(listed) = self.listed.get_mut(&key.tenant) {
            listed.remove(&place);
            if listed.is_empty() {
                self.listed.remove(&key.tenant);
            }
        }
        self.expiring.remove(&(stored.expiring, Arc::clone(&key)));
        if let Some(look) = stored.life.look {
            self.due.remove(&(look, Arc::clone(&key)));
        }
        if let Some(record) = stored.life.events.first() {
            self.outbox.remove(&(record.closed, key));
        }
        Removed { correlations: u64::from(stored.expires > now), bytes: stored.bytes }
    }

    /// The places of a tenant's correlations after one, newest first.
    pub(crate) fn listed_after(
        &self,
        tenant: &Tenant,
        start: &Option<Cursor>,
    ) -> Option<impl Iterator<Item = &Cursor>> {
        let start = start.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        Some(self.listed.get(tenant)?.range::<Cursor, _>((start, Bound::Unbounded)))
    }

    /// The correlation at a place, if it is alive.
    pub(crate) fn listed_at<'a>(
        &'a self,
        tenant: &Tenant,
        place: &'a Cursor,
        now: DateTime<Utc>,
    ) -> Option<(&'a CorrelationId, &'a Stored)> {
        let id = place.correlation_id.as_ref()?;
        let key = CorrelationKey { tenant: tenant.clone(), id: id.clone() };
        Some((id, self.get(&key, now)?))
    }

    pub(crate) fn cleanup(&mut self, cutoff: DateTime<Utc>, now: DateTime<Utc>) -> Removed {
        let mut removed = Removed::default();
        for tenant in self.listed.keys().cloned().collect::<Vec<_>>() {
            while let Some(oldest) = self.listed.get(&tenant).and_then(|listed| listed.last())
                && oldest.last_updated < cutoff
                && let Some(id) = oldest.correlation_id.clone()
            {
                let key = CorrelationKey { tenant: tenant.clone(), id };
                match self.correlations.get(&key) {
                    Some(stored) if stored.last_updated >= cutoff => {
                        let look = stored.life.look;
                        self.reorder(key, look);
                    }
                    _ => removed += self.remove(&key, now),
                }
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
                freed += Removed { correlations: 1, ..self.remove(&key, now) };
            }
        }
        freed
    }

    /// How many correlations there are, expired ones that were not freed included.
    pub(crate) fn count(&self) -> u64 {
        self.correlations.len() as u64
    }
}
