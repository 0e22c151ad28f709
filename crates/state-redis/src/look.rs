//! Looks into an index of every bucket for what has come, without a script: ten idle engines look often.
//!
//! What it finds is a hint: it goes by the clock of the store as that was told lately, and is rather early
//! than late. The scripts that take what was found decide by the clock as it is.

use bytes::Bytes;
use fred::prelude::Value;
use state_core::{Error, Result};
use tokio::time::Instant;

use crate::{
    keys::{Bucket, BucketKeys, Keys},
    link::Command,
    list::read_time,
    router::Router,
};

/// Which members of an index are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Those whose time has come.
    Due,
    /// All.
    All,
}

/// Members of an index, bucket by bucket; buckets without any are left out.
pub(crate) struct Found {
    pub(crate) members: Vec<(Bucket, Vec<Bytes>)>,
    /// Why a shard was left out, if one was.
    pub(crate) unanswered: Option<Error>,
}

/// Finds at most `max` members, and `max_of_bucket` of each bucket, in buckets that begin somewhere else each
/// time, so that none keeps the others waiting.
pub(crate) async fn look(
    router: &Router,
    keys: &Keys,
    attempted: &str,
    index: impl Fn(&BucketKeys) -> &Bytes,
    wanted: Wanted,
    (max, max_of_bucket): (usize, usize),
    deadline: Instant,
) -> Found {
    if wanted == Wanted::Due {
        ask_clocks(router, keys, attempted, deadline).await;
    }
    let limit = max.min(max_of_bucket) as i64;
    let (asked, mut calls, mut ranges) = (Instant::now(), Vec::new(), Vec::new());
    for bucket in keys.buckets() {
        let names = keys.of(bucket);
        let last = match wanted {
            Wanted::All => "+inf".into(),
            Wanted::Due => {
                let clock = router.clock(names.slot);
                if clock.is_none_or(|clock| !clock.is_fresh) {
                    calls.push((names.slot, Command::bare("TIME")));
                }
                Value::from(clock.map_or(0, |clock| clock.latest))
            }
        };
        let key = Value::Bytes(index(names).clone());
        let range = [key, "-inf".into(), last, "LIMIT".into(), 0.into(), limit.into()];
        ranges.push((bucket, calls.len()));
        calls.push((names.slot, Command::new("ZRANGEBYSCORE", range)));
    }
    let slots: Vec<_> = calls.iter().map(|(slot, _)| *slot).collect();
    let mut answers: Vec<_> = router.call_each(attempted, calls, deadline).await;
    // Where the look before ended if the buckets were full: looks at the same time find something else each.
    let first = router.turn() * (max / max_of_bucket).max(1) % ranges.len();
    ranges.rotate_left(first);
    let (mut left, mut found) = (max, Found { members: Vec::new(), unanswered: None });
    for (bucket, place) in ranges {
        match std::mem::replace(&mut answers[place], Ok(Value::Null)) {
            Ok(answer) => {
                let members = answer.into_array().into_iter().filter_map(Value::into_bytes);
                let members: Vec<Bytes> = members.take(left).collect();
                left -= members.len();
                if !members.is_empty() {
                    found.members.push((bucket, members));
                }
            }
            Err(error) => found.unanswered = Some(error),
        }
    }
    // What is left of the answers are times, for the looks to come.
    take_clocks(router, asked, slots, answers);
    found
}

/// Asks the servers for their time that were never asked.
async fn ask_clocks(router: &Router, keys: &Keys, attempted: &str, deadline: Instant) {
    let slots = keys.buckets().map(|bucket| keys.of(bucket).slot);
    let slots: Vec<u16> = slots.filter(|slot| router.clock(*slot).is_none()).collect();
    if !slots.is_empty() {
        let asked = Instant::now();
        let calls = slots.iter().map(|slot| (*slot, Command::bare("TIME"))).collect();
        let answers = router.call_each(attempted, calls, deadline).await;
        take_clocks(router, asked, slots, answers);
    }
}

fn take_clocks(router: &Router, asked: Instant, slots: Vec<u16>, answers: Vec<Result<Value>>) {
    for (slot, answer) in slots.into_iter().zip(answers) {
        if let Ok(time @ Value::Array(_)) = answer {
            router.set_clock(slot, asked, read_time(time));
        }
    }
}
