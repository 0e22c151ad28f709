//! A part of the state that is locked as one: correlations, and their order by time and by expiry.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use state_core::{CorrelationKey, Cursor, Fragment, Outcome, RangeQuery, Settings, Tenant};

use crate::{Part, stored::Stored};

#[derive(Default)]
pub(crate) struct Shard {
    correlations: HashMap<Arc<CorrelationKey>, Stored>,
    /// Each tenant's correlations, newest arrival first.
    listed: HashMap<Tenant, BTreeSet<Cursor>>,
    /// All correlations by the time to look whether they have expired.
    due: BTreeSet<(DateTime<Utc>, Arc<CorrelationKey>)>,
}

impl Shard {
    pub(crate) fn append(
        &mut self,
        key: CorrelationKey,
        fragment: Fragment,
        now: DateTime<Utc>,
        settings: &Settings,
    ) -> Outcome {
        if let Some(stored) = self.correlations.get_mut(&key)
            && stored.expires > now
        {
            let before = stored.last_updated;
            let outcome = stored.append(fragment, now, &settings.limits);
            let after = stored.last_updated;
            if after != before {
                let listed = self.listed.entry(key.tenant).or_default();
                listed.remove(&Cursor { last_updated: before, correlation_id: Some(key.id.clone()) });
                listed.insert(Cursor { last_updated: after, correlation_id: Some(key.id) });
            }
            return outcome;
        }
        let mut stored = Stored::new(settings.ttl, now);
        let outcome = stored.append(fragment, now, &settings.limits);
        if matches!(outcome, Outcome::Added) {
            self.replace(key, stored, now);
        }
        outcome
    }

    pub(crate) fn get(&self, key: &CorrelationKey, now: DateTime<Utc>) -> Option<&Stored> {
        self.correlations.get(key).filter(|stored| stored.expires > now)
    }

    pub(crate) fn replace(&mut self, key: CorrelationKey, stored: Stored, now: DateTime<Utc>) {
        self.remove(&key, now);
        let place = Cursor { last_updated: stored.last_updated, correlation_id: Some(key.id.clone()) };
        self.listed.entry(key.tenant.clone()).or_default().insert(place);
        let key = Arc::new(key);
        self.due.insert((stored.due, Arc::clone(&key)));
        self.correlations.insert(key, stored);
    }

    /// Frees a correlation; answers whether it was alive.
    pub(crate) fn remove(&mut self, key: &CorrelationKey, now: DateTime<Utc>) -> bool {
        let Some((key, stored)) = self.correlations.remove_entry(key) else { return false };
        let place = Cursor { last_updated: stored.last_updated, correlation_id: Some(key.id.clone()) };
        if let Some(listed) = self.listed.get_mut(&key.tenant) {
            listed.remove(&place);
            if listed.is_empty() {
                self.listed.remove(&key.tenant);
            }
        }
        self.due.remove(&(stored.due, key));
        stored.expires > now
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

    pub(crate) fn cleanup(&mut self, cutoff: DateTime<Utc>, now: DateTime<Utc>) -> u64 {
        let mut removed = 0;
        for tenant in self.listed.keys().cloned().collect::<Vec<_>>() {
            while let Some(oldest) = self.listed.get(&tenant).and_then(|listed| listed.last())
                && oldest.last_updated < cutoff
                && let Some(id) = oldest.correlation_id.clone()
            {
                let key = CorrelationKey { tenant: tenant.clone(), id };
                removed += u64::from(self.remove(&key, now));
            }
        }
        removed
    }

    /// Frees what has expired; answers how many.
    pub(crate) fn expire(&mut self, now: DateTime<Utc>) -> u64 {
        let mut freed = 0;
        while let Some((due, _)) = self.due.first()
            && *due <= now
            && let Some((_, key)) = self.due.pop_first()
        {
            let Some(stored) = self.correlations.get_mut(&key) else { continue };
            if stored.expires > now {
                stored.due = stored.expires;
                self.due.insert((stored.due, key));
            } else {
                self.remove(&key, now);
                freed += 1;
            }
        }
        freed
    }

    pub(crate) fn count(&mut self, now: DateTime<Utc>) -> u64 {
        self.expire(now);
        self.correlations.len() as u64
    }
}
