//! A part of the state that is locked as one: correlations, and their order by time and by expiry.

use std::{
    collections::{BTreeSet, HashMap},
    ops::{AddAssign, Bound},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use state_core::{CorrelationKey, Cursor, Fragment, Outcome, RangeQuery, Settings, Tenant};

use crate::{Part, stored::Stored};

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
    due: BTreeSet<(DateTime<Utc>, Arc<CorrelationKey>)>,
}

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
            let (before, bytes) = (stored.last_updated, stored.bytes);
            let outcome = stored.append(fragment, now, &settings.limits);
            let (after, taken) = (stored.last_updated, stored.bytes - bytes);
            if after != before {
                let listed = self.listed.entry(key.tenant).or_default();
                listed.remove(&Cursor { last_updated: before, correlation_id: Some(key.id.clone()) });
                listed.insert(Cursor { last_updated: after, correlation_id: Some(key.id) });
            }
            return Appended { outcome, taken, freed: 0 };
        }
        let mut stored = Stored::new(settings.ttl, now);
        let outcome = stored.append(fragment, now, &settings.limits);
        if outcome != Outcome::Added {
            return Appended { outcome, taken: 0, freed: 0 };
        }
        let taken = stored.bytes;
        Appended { outcome, taken, freed: self.replace(key, stored, now) }
    }

    pub(crate) fn get(&self, key: &CorrelationKey, now: DateTime<Utc>) -> Option<&Stored> {
        self.correlations.get(key).filter(|stored| stored.expires > now)
    }

    /// Puts a correlation in the place of what is there; answers how many bytes that has freed.
    pub(crate) fn replace(&mut self, key: CorrelationKey, stored: Stored, now: DateTime<Utc>) -> u64 {
        let removed = self.remove(&key, now);
        let place = Cursor { last_updated: stored.last_updated, correlation_id: Some(key.id.clone()) };
        self.listed.entry(key.tenant.clone()).or_default().insert(place);
        let key = Arc::new(key);
        self.due.insert((stored.due, Arc::clone(&key)));
        self.correlations.insert(key, stored);
        removed.bytes
    }

    /// Frees a correlation.
    pub(crate) fn remove(&mut self, key: &CorrelationKey, now: DateTime<Utc>) -> Removed {
        let Some((key, stored)) = self.correlations.remove_entry(key) else { return Removed::default() };
        let place = Cursor { last_updated: stored.last_updated, correlation_id: Some(key.id.clone()) };
        if let Some(listed) = self.listed.get_mut(&key.tenant) {
            listed.remove(&place);
            if listed.is_empty() {
                self.listed.remove(&key.tenant);
            }
        }
        self.due.remove(&(stored.due, key));
        Removed { correlations: u64::from(stored.expires > now), bytes: stored.bytes }
    }

    pub(crate) fn list(&self, query: &RangeQuery, now: DateTime<Utc>, examined_max: usize) -> Part {
        let Some(listed) = self.listed.get(&query.tenant) else { return Part::default() };
        let start = query.after.clone().max(query.to.map(Cursor::before));
        let start = start.map_or(Bound::Unbounded, Bound::Excluded);
        let mut part = Part::default();
        for (number, place) in listed.range((start, Bound::Unbounded)).enumerate() {
            if query.from.is_some_and(|from| place.last_updated < from) {
                break;
            }
            let Some(id) = place.correlation_id.clone() else { continue };
            let key = CorrelationKey { tenant: query.tenant.clone(), id };
            if let Some(stored) = self.get(&key, now)
                && query.service.as_ref().is_none_or(|service| stored.involves(service))
            {
                part.matches.push(stored.summary(&key.id));
            }
            if part.matches.len() >= query.limit || number + 1 >= examined_max {
                part.stopped = Some(place.clone());
                break;
            }
        }
        part
    }

    pub(crate) fn cleanup(&mut self, cutoff: DateTime<Utc>, now: DateTime<Utc>) -> Removed {
        let mut removed = Removed::default();
        for tenant in self.listed.keys().cloned().collect::<Vec<_>>() {
            while let Some(oldest) = self.listed.get(&tenant).and_then(|listed| listed.last())
                && oldest.last_updated < cutoff
                && let Some(id) = oldest.correlation_id.clone()
            {
                let key = CorrelationKey { tenant: tenant.clone(), id };
                removed += self.remove(&key, now);
            }
        }
        removed
    }

    /// Frees what has expired.
    pub(crate) fn expire(&mut self, now: DateTime<Utc>) -> Removed {
        let mut freed = Removed::default();
        while let Some((due, _)) = self.due.first()
            && *due <= now
            && let Some((_, key)) = self.due.pop_first()
        {
            let Some(stored) = self.correlations.get_mut(&key) else { continue };
            if stored.expires > now {
                stored.due = stored.expires;
                self.due.insert((stored.due, key));
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
