//! One correlation as it is kept: its fragments and what is folded from them as they arrive.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use foldhash::quality::RandomState;
use state_core::{
    CorrelationEntry, CorrelationId, Counts, Fragment, FragmentId, Items, Labels, Limits, Outcome, Overrides,
    Refusal, Settings, Status, Summary,
};

use crate::{ledger::Whereabouts, life::Life};

pub(crate) struct Stored {
    pub(crate) first_seen: DateTime<Utc>,
    pub(crate) last_updated: DateTime<Utc>,
    /// When it is gone, unless something arrives before.
    pub(crate) expires: DateTime<Utc>,
    /// Its place among the expiring; never after `expires`. Kept back so that an arrival does not
    /// have to move it.
    pub(crate) expiring: DateTime<Utc>,
    /// Its place in the list; at most [`LISTED_LAG`](crate::shard::LISTED_LAG) behind `last_updated`.
    pub(crate) listed: DateTime<Utc>,
    pub(crate) life: Life,
    counts: Counts,
    /// What it takes of the budget.
    pub(crate) bytes: u64,
    ttl: Duration,
    overrides: Overrides,
    /// Names of the fragments, once there are too many to look through.
    known: Option<HashSet<FragmentId, RandomState>>,
    /// In order of arrival.
    fragments: Vec<Fragment>,
}

impl Stored {
    /// An empty correlation, created now.
    pub(crate) fn new(ttl: Duration, now: DateTime<Utc>, settings: &Settings) -> Self {
        let expires = after(now, ttl);
        Self {
            first_seen: now,
            last_updated: now,
            expires,
            expiring: expires,
            listed: now,
            life: Life::new(now, settings.grace),
            counts: Counts::default(),
            bytes: CORRELATION_BYTES,
            ttl,
            overrides: Overrides::default(),
            known: None,
            fragments: Vec::new(),
        }
    }

    /// An entry as it was given; its life begins now.
    pub(crate) fn of(
        entry: CorrelationEntry,
        ttl: Duration,
        now: DateTime<Utc>,
        settings: &Settings,
    ) -> Self {
        let mut stored = Self::new(ttl, now, settings);
        stored.overrides = entry.overrides();
        let to_micros =
            |time: DateTime<Utc>| DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time);
        (stored.first_seen, stored.last_updated) =
            (to_micros(entry.first_seen), to_micros(entry.last_updated));
        stored.listed = stored.last_updated;
        entry.spans.into_iter().chain(entry.logs).for_each(|fragment| stored.add(fragment));
        stored
    }

    /// Adds a fragment, unless it is known or too much.
    pub(crate) fn append(&mut self, fragment: Fragment, now: DateTime<Utc>, settings: &Settings) -> Outcome {
        let outcome = if self.knows(&fragment.id()) {
            Outcome::Duplicate
        } else if let Some(refusal) = self.exceeds(&fragment, &settings.limits) {
            self.life.filled(now);
            return Outcome::Refused(refusal);
        } else {
            self.push(fragment);
            self.life.arrived(now, settings.grace);
            Outcome::Added
        };
        self.last_updated = self.last_updated.max(now);
        self.expires = self.expires.max(after(now, self.ttl));
        outcome
    }

    fn exceeds(&self, fragment: &Fragment, limits: &Limits) -> Option<Refusal> {
        let items = self.counts.items(fragment.signal()) + fragment.identities().len() as u64;
        let bytes = self.counts.bytes + fragment.payload().len() as u64;
        if items > limits.spans_max {
            Some(Refusal::SpansMax)
        } else if bytes > limits.bytes_max {
            Some(Refusal::BytesMax)
        } else {
            None
        }
    }

    /// What it holds, copies within other batches included.
    pub(crate) fn items(&self) -> Items {
        Items { spans: self.counts.spans, logs: self.counts.logs }
    }

    /// What has arrived since it was closed last.
    pub(crate) fn pending(&self) -> Items {
        let mut pending = self.items();
        pending -= self.life.settled;
        pending
    }

    /// Where its items are.
    pub(crate) fn whereabouts(&self) -> Whereabouts {
        let events = self.life.events.iter().map(|event| event.items);
        let undelivered = events.fold(Items::default(), |sum, items| sum + items);
        let mut stored = self.life.stored;
        stored -= undelivered;
        Whereabouts { pending: self.pending(), undelivered, stored }
    }

    fn add(&mut self, fragment: Fragment) {
        if !self.knows(&fragment.id()) {
            self.push(fragment);
        }
    }

    fn knows(&self, id: &FragmentId) -> bool {
        match &self.known {
            Some(known) => known.contains(id),
            None => self.fragments.iter().any(|fragment| fragment.id() == *id),
        }
    }

    /// Adds one that is not known.
    fn push(&mut self, fragment: Fragment) {
        self.counts.absorb(&fragment);
        self.bytes += bytes_of(&fragment);
        if let Some(known) = &mut self.known {
            known.insert(fragment.id());
        }
        self.fragments.push(fragment);
        if self.known.is_none() && self.fragments.len() > LOOKED_THROUGH_MAX {
            self.known = Some(self.fragments.iter().map(Fragment::id).collect());
        }
    }

    pub(crate) fn fragments(&self) -> &[Fragment] {
        &self.fragments
    }

    /// Folded when they are asked for, which is seldom beside the arrivals.
    fn labels(&self) -> Labels {
        let mut labels = Labels::default();
        self.fragments.iter().for_each(|fragment| labels.absorb(fragment));
        labels
    }

    pub(crate) fn entry(&self, id: &CorrelationId) -> CorrelationEntry {
        let (fragments, overrides) = (self.fragments.clone(), self.overrides.clone());
        CorrelationEntry::fold(id.clone(), self.first_seen, self.last_updated, fragments, overrides)
    }

    pub(crate) fn summary(&self, id: &CorrelationId) -> Summary {
        let (labels, counts) = (self.labels(), self.counts.clone());
        let (first, last) = (self.first_seen, self.last_updated);
        let status = if self.life.is_closed { Status::Closed } else { Status::Active };
        Summary {
            status: Some(status),
            ..Summary::fold(id.clone(), first, last, counts, &labels, &self.overrides)
        }
    }
}

/// Up to here it is quicker to look through the names than to keep a set of them.
const LOOKED_THROUGH_MAX: usize = 32;

/// What a correlation takes without its fragments, estimated: 200,000 of them with a fragment of
/// 116 bytes each took 3,251 bytes each, 20,000 with ten of them 1,279 bytes a fragment.
pub(crate) const CORRELATION_BYTES: u64 = 2_048;
/// What a fragment takes besides its payload and identities, estimated likewise.
const FRAGMENT_BYTES: u64 = 1_024;

/// What a fragment takes, estimated.
pub(crate) fn bytes_of(fragment: &Fragment) -> u64 {
    (fragment.payload().len() + size_of_val(fragment.identities())) as u64 + FRAGMENT_BYTES
}

/// The time a duration later; a duration beyond the end of time means the end of time.
pub(crate) fn after(now: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    let end =
        chrono::TimeDelta::from_std(duration).ok().and_then(|duration| now.checked_add_signed(duration));
    end.unwrap_or(DateTime::<Utc>::MAX_UTC)
}
