//! Finds correlations by their correlation keys: one sorted set for each key and value.
//!
//! It lies in a bucket of its own, since a key belongs to many correlations. It is written before a
//! fragment that carries the key is acknowledged, and read with the correlations it names: what is gone
//! from them is left out.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use fred::prelude::Value;
use state_core::{Cursor, Fragment, Page, RangeQuery, Result, Tenant};
use tokio::time::Instant;

use crate::{
    keys::{Bucket, Keys},
    link::Command,
    list,
    router::Router,
    script,
};

/// Most correlations that are remembered for one key and value, those that live longest.
const MEMBERS_MAX: i64 = 10_000;
/// Most indexes that one script call writes.
const INDEXES_PER_CALL: usize = 256;

/// Members by the index they belong to, bucket by bucket.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    by_bucket: HashMap<Bucket, HashMap<Bytes, BTreeSet<Vec<u8>>>>,
}

impl Entries {
    /// Notes that the correlation `<tenant>/<id>` carries the keys of a fragment.
    pub(crate) fn add(&mut self, keys: &Keys, tenant: &Tenant, id: &str, fragment: &Fragment) {
        for (name, value) in &fragment.facts().keys {
            let (bucket, index) = keys.index(tenant, name, value);
            let member = [tenant.as_str(), "/", id].concat().into_bytes();
            self.by_bucket.entry(bucket).or_default().entry(index).or_default().insert(member);
        }
    }

    /// Writes them; they outlive a correlation that is created now by its TTL.
    ///
    /// # Errors
    /// Any of them was not confirmed.
    pub(crate) async fn write(
        self,
        router: &Router,
        keys: &Keys,
        ttl: std::time::Duration,
        attempted: &str,
        deadline: Instant,
    ) -> Result<()> {
        if self.by_bucket.is_empty() {
            return Ok(());
        }
        let lifetime = 2 * ttl.as_micros().min(1 << 50) as i64;
        let mut calls = Vec::new();
        for (bucket, indexes) in self.by_bucket {
            let indexes: Vec<_> = indexes.into_iter().collect();
            for part in indexes.chunks(INDEXES_PER_CALL) {
                let mut arguments = vec![Value::from(lifetime), Value::from(MEMBERS_MAX)];
                for (_, members) in part {
                    arguments.push(Value::from(members.len() as i64));
                    arguments
                        .extend(members.iter().map(|member| Value::Bytes(Bytes::copy_from_slice(member))));
                }
                let names = part.iter().map(|(index, _)| index.clone()).collect();
                calls.push((keys.of(bucket).slot, script::INDEX_KEYS.call(names, arguments)));
            }
        }
        let answers = router.write_each(attempted, calls, deadline).await;
        answers.into_iter().try_for_each(|answer| answer.map(drop))
    }
}

/// Reads one page of the correlations that carry a key.
pub(crate) async fn page(
    router: &Router,
    keys: &Keys,
    query: &RangeQuery,
    (name, value): &(String, String),
    deadline: Instant,
) -> Result<Page> {
    let (bucket, index) = keys.index(&query.tenant, name, value);
    let range = [Value::Bytes(index), Value::from(0), Value::from(-1)];
    let read = vec![Command::bare("TIME"), Command::new("ZREVRANGE", range)];
    let answers = router.call(list::ATTEMPTED, keys.of(bucket).slot, read, deadline).await?;
    let (now, members) = list::read_time_and(answers);
    let members = members.into_iter().filter_map(Value::into_bytes);
    let places = members.filter_map(|member| Some((keys.bucket_of_member(&member)?, member, now)));
    let mut found = list::summaries(router, keys, query, places.collect(), deadline).await?;
    found.sort_by_cached_key(Cursor::of);
    let has_more = found.len() > query.limit;
    found.truncate(query.limit);
    Ok(Page { next: found.last().filter(|_| has_more).map(Cursor::of), correlations: found })
}
