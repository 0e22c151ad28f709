//! Every key in Redis: name, type, hash tag, TTL and writer.
//!
//! `{T}` is the hash tag of a bucket; all keys of a bucket are in one slot. Before each stands the
//! configured prefix.
//!
//! | key | type | holds | TTL | written by |
//! |---|---|---|---|---|
//! | `c:{T}:<tenant>/<id>` | HASH | one correlation: its fragments, what is folded from them, and where it stands (`field.rs`) | from the first write; covers its life twice and a minute, renewed when half is used | `append`, `set`, `claim`, `finish`, `release`, `put_back_events`, `remove_events`, `cleanup` |
//! | `time:{T}` | ZSET | the bucket's correlations by last arrival, at most [`INDEX_LAG`](crate::list::INDEX_LAG) behind | one to two minutes longer than that of any correlation in it | `append`, `set`, `cleanup` |
//! | `exp:{T}` | ZSET | the bucket's correlations by the time to look whether they have expired, never after they do | likewise | `append`, `set`, `expire` |
//! | `due:{T}` | ZSET | the bucket's active correlations by the time to look whether they are to be closed | likewise | `append`, `set`, `claim`, `finish`, `release` |
//! | `out:{T}` | ZSET | outbox: the bucket's correlations with events that nobody has removed, by when somebody may take them | likewise | `finish`, `claim_events`, `put_back_events`, `remove_events` |
//! | `key:{T}:<tenant>/<name>=<value>` | ZSET | the correlations that carry a correlation key, by when they need not be found any more; `{T}` is of the key, not of them | one to two minutes longer than its last entry | `index_keys` |
//! | `n:{T}` | HASH | ledger: what has become of the items that the bucket was given, `spans.<account>` and `logs.<account>` | 30 days from the last entry | `append`, `set`, `finish`, `remove_events`, `note_refused`, and whatever removes a correlation |
//! | `gone:{T}` | STRING | when something was removed last: a write for a `WAIT` to vouch for | one minute | `delete`, `cleanup` |
//! | `schema` | STRING | layout version, number of buckets, replicas that every primary had at the first start, id of the state | none: it says how to read all others | the first client |
//!
//! What removes a correlation (`delete`, `cleanup`, `expire`, and `append` and `set` in the place of
//! an old one) removes its members from all four sorted sets in the same step.
//!
//! Members of the sorted sets are `<tenant>/<id>`. Scores are microseconds since 1970.

use bytes::Bytes;
use state_core::{CorrelationId, CorrelationKey, Tenant};

/// Slots of a Redis Cluster.
pub(crate) const SLOTS: u16 = 16_384;

/// Number of a bucket.
pub(crate) type Bucket = u16;

/// Names of all keys of one deployment.
#[derive(Debug)]
pub(crate) struct Keys {
    schema: String,
    buckets: Vec<BucketKeys>,
}

#[derive(Debug)]
pub(crate) struct BucketKeys {
    pub(crate) slot: u16,
    /// `c:{T}:`
    correlation: String,
    pub(crate) time: Bytes,
    pub(crate) exp: Bytes,
    pub(crate) due: Bytes,
    pub(crate) out: Bytes,
    /// `n:{T}`
    pub(crate) ledger: Bytes,
    pub(crate) gone: Bytes,
    /// `key:{T}:`
    key: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str, buckets: u16) -> Self {
        let buckets = tags(buckets)
            .map(|(tag, slot)| BucketKeys {
                slot,
                correlation: format!("{prefix}c:{{{tag}}}:"),
                time: format!("{prefix}time:{{{tag}}}").into(),
                exp: format!("{prefix}exp:{{{tag}}}").into(),
                due: format!("{prefix}due:{{{tag}}}").into(),
                out: format!("{prefix}out:{{{tag}}}").into(),
                ledger: format!("{prefix}n:{{{tag}}}").into(),
                gone: format!("{prefix}gone:{{{tag}}}").into(),
                key: format!("{prefix}key:{{{tag}}}:"),
            })
            .collect();
        Self { schema: format!("{prefix}schema"), buckets }
    }

    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    pub(crate) fn schema_slot(&self) -> u16 {
        slot(self.schema.as_bytes())
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = Bucket> + use<> {
        0..self.buckets.len() as Bucket
    }

    pub(crate) fn of(&self, bucket: Bucket) -> &BucketKeys {
        &self.buckets[usize::from(bucket)]
    }

    /// The bucket of a correlation: part of the layout, so the hash must never change.
    pub(crate) fn bucket(&self, key: &CorrelationKey) -> Bucket {
        self.share(&[key.tenant.as_str(), "/", key.id.as_str()])
    }

    /// The bucket of a member of the sorted sets; `None` if it names no correlation.
    pub(crate) fn bucket_of_member(&self, member: &[u8]) -> Option<Bucket> {
        Some(self.share(&[std::str::from_utf8(member).ok()?]))
    }

    /// Bucket and name of the index of a correlation key.
    pub(crate) fn index(&self, tenant: &Tenant, name: &str, value: &str) -> (Bucket, Bytes) {
        let parts = [tenant.as_str(), "/", name, "=", value];
        let bucket = self.share(&parts);
        let name = [&[self.of(bucket).key.as_str()], &parts[..]].concat().concat();
        (bucket, name.into())
    }

    /// Which bucket a text belongs to.
    fn share(&self, parts: &[&str]) -> Bucket {
        let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
        parts.iter().for_each(|part| hasher.update(part.as_bytes()));
        (hasher.digest() % self.buckets.len() as u64) as Bucket
    }
}

impl BucketKeys {
    pub(crate) fn correlation(&self, key: &CorrelationKey) -> Bytes {
        let mut name = Vec::new();
        self.put_correlation(key, &mut name);
        name.into()
    }

    /// Writes the key of a correlation behind what is there.
    pub(crate) fn put_correlation(&self, key: &CorrelationKey, out: &mut Vec<u8>) {
        for part in [self.correlation.as_str(), key.tenant.as_str(), "/", key.id.as_str()] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// The sorted sets and the ledger, in the order in which the scripts take them.
    pub(crate) fn indexes(&self) -> [Bytes; 5] {
        [&self.time, &self.exp, &self.due, &self.out, &self.ledger].map(Bytes::clone)
    }

    /// The key of a member of the sorted sets.
    pub(crate) fn of_member(&self, member: &[u8]) -> Bytes {
        [self.correlation.as_bytes(), member].concat().into()
    }
}

/// The correlation that a member of the sorted sets names; `None` if it is not one.
pub(crate) fn parse_member(member: &[u8]) -> Option<(Tenant, CorrelationId)> {
    let (tenant, id) = std::str::from_utf8(member).ok()?.split_once('/')?;
    Some((tenant.parse().ok()?, id.parse().ok()?))
}

/// A hash tag for each bucket, so that buckets spread evenly over the slots: the smallest number
/// whose slot lies in the bucket's share.
fn tags(buckets: u16) -> impl Iterator<Item = (u32, u16)> {
    let mut found = vec![None; usize::from(buckets)];
    let mut missing = buckets;
    for tag in 0_u32.. {
        if missing == 0 {
            break;
        }
        let slot = slot(tag.to_string().as_bytes());
        let bucket = u32::from(slot) * u32::from(buckets) / u32::from(SLOTS);
        let place = &mut found[bucket as usize];
        if place.is_none() {
            *place = Some((tag, slot));
            missing -= 1;
        }
    }
    found.into_iter().flatten()
}

/// Slot of a key without braces, or of a hash tag.
fn slot(tag: &[u8]) -> u16 {
    fred::util::redis_keyslot(tag) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_spread_evenly_over_the_slots() {
        for buckets in [1, 3, 64, 1024] {
            let keys = Keys::new("", buckets);
            for bucket in keys.buckets() {
                let slot = u32::from(keys.of(bucket).slot);
                assert_eq!(slot * u32::from(buckets) / u32::from(SLOTS), u32::from(bucket));
                assert_eq!(fred::util::redis_keyslot(&keys.of(bucket).time), keys.of(bucket).slot);
            }
        }
    }

    #[test]
    fn all_keys_of_a_bucket_share_its_slot() {
        let keys = Keys::new("staging:", 64);
        let key = CorrelationKey { tenant: "t".parse().unwrap(), id: "order=7/8".parse().unwrap() };
        let bucket = keys.of(keys.bucket(&key));
        let name = bucket.correlation(&key);
        assert!(name.starts_with(b"staging:c:{"));
        for name in [&name, &bucket.time, &bucket.exp, &bucket.due, &bucket.out, &bucket.ledger, &bucket.gone]
        {
            assert_eq!(fred::util::redis_keyslot(name), bucket.slot);
        }
        assert_eq!(bucket.of_member(b"t/order=7/8"), name);
        assert_eq!(parse_member(b"t/order=7/8"), Some((key.tenant.clone(), key.id.clone())));
        assert_eq!(keys.bucket_of_member(b"t/order=7/8"), Some(keys.bucket(&key)));
        let (bucket, index) = keys.index(&key.tenant, "order.id", "7/8");
        assert!(index.starts_with(b"staging:key:{") && index.ends_with(b"}:t/order.id=7/8"));
        assert_eq!(fred::util::redis_keyslot(&index), keys.of(bucket).slot);
    }

    /// What is stored under a layout must be found again by every later version of it.
    #[test]
    fn the_layout_does_not_drift() {
        let keys = Keys::new("", 64);
        let key = CorrelationKey {
            tenant: Tenant::default(),
            id: "4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap(),
        };
        let name = keys.of(keys.bucket(&key)).correlation(&key);
        assert_eq!(name, "c:{79}:/4bf92f3577b34da6a3ce929d0e0e4736");
    }
}
