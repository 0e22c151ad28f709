//! Lists by time over all shards, newest first, from places that lag a little.
//!
//! A correlation that has not been looked at arrived last at most [`LISTED_LAG`] after the place that
//! was reached, so what arrived after that is settled.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use parking_lot::MutexGuard;
use state_core::{CorrelationId, Cursor, Filter, Page, RangeQuery};

use crate::{
    shard::{LISTED_LAG, Shard},
    stored::Stored,
};

/// Most correlations that a page looks at, matching or not.
const EXAMINED_MAX: usize = 10_000;

struct Found<'a> {
    id: &'a CorrelationId,
    stored: &'a Stored,
}

impl Found<'_> {
    fn order(&self) -> (Reverse<DateTime<Utc>>, &CorrelationId) {
        (Reverse(self.stored.last_updated), self.id)
    }
}

/// Reads one page of the correlations that carry a key.
fn page_of_key(
    shards: &[MutexGuard<'_, Shard>],
    query: &RangeQuery,
    key: &(String, String),
    now: DateTime<Utc>,
) -> Page {
    let carriers =
        shards.iter().flat_map(|shard| shard.carriers(&query.tenant, key).map(move |key| (shard, key)));
    let found = carriers.filter_map(|(shard, key)| Some(shard.get(key, now)?.summary(&key.id)));
    let mut correlations: Vec<_> = found.filter(|summary| query.admits(summary)).collect();
    correlations.sort_by_cached_key(Cursor::of);
    let has_more = correlations.len() > query.limit;
    correlations.truncate(query.limit);
    Page { next: correlations.last().filter(|_| has_more).map(Cursor::of), correlations }
}

/// Reads one page from all shards, which stay as they are meanwhile.
pub(crate) fn page(shards: &[MutexGuard<'_, Shard>], query: &RangeQuery, now: DateTime<Utc>) -> Page {
    if let Some(key) = &query.filter.key {
        return page_of_key(shards, query, key, now);
    }
    let start = query.after.clone().max(query.to.map(Cursor::before));
    let newest = start.as_ref().map(|start| start.last_updated);
    let places =
        shards.iter().filter_map(|shard| Some((shard, shard.listed_after(&query.tenant, start.as_ref())?)));
    let mut places: Vec<_> = places.map(|(shard, places)| (shard, places.peekable())).collect();
    let admits_all = query.filter == Filter::default();
    let mut found = Vec::<Found<'_>>::new();
    let mut last_wanted: Option<DateTime<Utc>> = None;
    let mut stopped = None;
    for examined in 1.. {
        let next = places.iter_mut().filter_map(|(shard, places)| Some((*places.peek()?, *shard, places)));
        let Some((place, shard, places)) = next.min_by_key(|(place, ..)| *place) else { break };
        places.next();
        let (Reverse(listed), key) = place;
        let settled = *listed + LISTED_LAG;
        if query.from.is_some_and(|from| settled < from) {
            break;
        }
        let is_enough = last_wanted.is_some_and(|last| settled < last)
            || (examined > EXAMINED_MAX && newest.is_none_or(|newest| settled < newest));
        if is_enough {
            stopped = Some(settled);
            break;
        }
        let (id, Some(stored)) = (&key.id, shard.get(key, now)) else { continue };
        let is_after = |start: &Cursor| {
            let (time, start_id) = (Reverse(start.last_updated), start.correlation_id.as_ref());
            (time, start_id) < (Reverse(stored.last_updated), Some(id))
        };
        let is_in_range =
            query.from.is_none_or(|from| stored.last_updated >= from) && start.as_ref().is_none_or(is_after);
        if is_in_range && (admits_all || query.filter.admits(&stored.summary(id))) {
            found.push(Found { id, stored });
            if found.len() == query.limit {
                last_wanted = found.iter().map(|found| found.stored.last_updated).min();
            }
        }
    }
    if let Some(settled) = stopped {
        found.retain(|found| found.stored.last_updated > settled);
    }
    found.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
    let has_more = found.len() > query.limit || stopped.is_some();
    found.truncate(query.limit);
    let correlations: Vec<_> = found.iter().map(|found| found.stored.summary(found.id)).collect();
    let last = correlations.last().map(Cursor::of).filter(|_| correlations.len() == query.limit);
    let border = stopped.map(|last_updated| Cursor { last_updated, correlation_id: None });
    Page { next: last.or(border).filter(|_| has_more), correlations }
}
