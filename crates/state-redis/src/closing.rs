//! Claims, closes and releases correlations, and reads the outbox, over all buckets.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use fred::prelude::Value;
use state_core::{
    Claim, CorrelationKey, Event, EventId, Finish, Finished, PutBack, Release, Result, Settings, Ticket,
};

use crate::{
    content::Content,
    error,
    keys::{Bucket, BucketKeys, Keys},
    link::Command,
    look::{Wanted, look},
    router::Router,
    script,
    taken::{Mark, Taken},
};

/// Most correlations that one call claims in a bucket: a call keeps its server from everything else, at
/// about 7 µs a correlation.
const CLAIMED_PER_CALL: usize = 64;
/// Payload bytes, before compression, after which one call claims no more.
const CLAIMED_BYTES: i64 = 4 << 20;
/// Most correlations that one call closes or releases, or of which it removes events.
const FINISHED_PER_CALL: usize = 256;

/// Claims correlations. A shard that does not answer is left out: its correlations stay due.
pub(crate) async fn claim(
    router: &Router,
    keys: &Keys,
    settings: &Settings,
    wanted: Wanted,
    max: usize,
    lease: Duration,
) -> Result<Vec<Claim>> {
    const ATTEMPTED: &str = "claim correlations";
    let deadline = router.attempt_deadline();
    let limits = (max, CLAIMED_PER_CALL);
    let found = look(router, keys, ATTEMPTED, |names| &names.due, wanted, limits, deadline).await;
    let age_max = match wanted {
        Wanted::Due => micros(settings.age_max),
        // With a maximum age before its birth everything is due.
        Wanted::All => -micros(Duration::MAX),
    };
    let call = |names: &BucketKeys, members: &[Bytes]| {
        let times = [micros(lease), micros(settings.grace), age_max];
        let arguments = times.into_iter().chain([CLAIMED_BYTES]).map(Value::from);
        (names.slot, script::CLAIM.call(with_index(&names.due, names, members), arguments))
    };
    let calls = found.members.iter().map(|(bucket, members)| call(keys.of(*bucket), members)).collect();
    let answers = router.write_each(ATTEMPTED, calls, deadline).await;
    let read =
        |content: Content, key, Mark { now, fence }| content.claim(key, now, fence).map(Vec::from_iter);
    Taken::read(keys, found, answers, 2).contents(router, ATTEMPTED, deadline, read).await
}

/// The keys of a call: an index, then correlations.
fn with_index(index: &Bytes, names: &BucketKeys, members: &[Bytes]) -> Vec<Bytes> {
    [index.clone()].into_iter().chain(members.iter().map(|member| names.of_member(member))).collect()
}

/// Closes correlations, one call for each bucket.
pub(crate) async fn finish(
    router: &Router,
    keys: &Keys,
    settings: &Settings,
    finishes: Vec<Finish>,
) -> Result<Vec<Finished>> {
    let attempted = format!("finish {} correlations", finishes.len());
    let calls = by_bucket(
        keys,
        &finishes,
        |finish| &finish.ticket.key,
        |names, correlations, part| {
            let call_keys = [&names.due, &names.out, &names.ledger].map(Bytes::clone);
            let call_keys = call_keys.into_iter().chain(correlations).collect();
            let mut arguments = vec![Value::from(micros(settings.grace))];
            for finish in part {
                arguments.push(numbers(finish));
                arguments.push(finish.note.as_deref().unwrap_or_default().into());
            }
            script::FINISH.call(call_keys, arguments)
        },
    );
    let (places, calls): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
    let mut finished = vec![Finished::Lost; finishes.len()];
    let answers = router.write_each(&attempted, calls, router.deadline()).await;
    for (places, answer) in places.into_iter().zip(answers) {
        let digits = answer?.into_string().filter(|digits| digits.len() == places.len());
        let digits = digits
            .ok_or_else(|| error::unavailable(&attempted, "the finish script answered something else"))?;
        for (place, digit) in places.into_iter().zip(digits.chars()) {
            finished[place] = match digit {
                '0' => Finished::Finished,
                '1' => Finished::Changed,
                _ => Finished::Lost,
            };
        }
    }
    Ok(finished)
}

/// The numbers of a correlation that is to be closed, as `finish.lua` unpacks them.
fn numbers(finish: &Finish) -> Value {
    let Finish { ticket, note, new_items, outbox } = finish;
    let mut packed = Vec::with_capacity(29);
    packed.extend(ticket.fence.to_le_bytes());
    packed.extend(count(ticket.version));
    packed.push(u8::from(note.is_some()));
    packed.extend(outbox.map_or(-1, micros).to_le_bytes());
    packed.extend(count(new_items.spans));
    packed.extend(count(new_items.logs));
    Value::Bytes(packed.into())
}

/// A count of 4 bytes, as all that are stored; there is no correlation of four thousand million fragments.
fn count(count: u64) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes()
}

/// Ends claims, one call for each bucket.
pub(crate) async fn release(
    router: &Router,
    keys: &Keys,
    settings: &Settings,
    releases: Vec<Release>,
) -> Result<()> {
    let attempted = format!("release {} correlations", releases.len());
    let calls = by_bucket(
        keys,
        &releases,
        |release| &release.ticket.key,
        |names, correlations, part| {
            let call_keys = [names.due.clone()].into_iter().chain(correlations).collect();
            let mut arguments = vec![Value::from(micros(settings.grace))];
            for Release { ticket, look_after } in part {
                arguments.extend(of_ticket(ticket));
                arguments.push(micros(*look_after).into());
            }
            script::RELEASE.call(call_keys, arguments)
        },
    );
    let calls = calls.into_iter().map(|(_, call)| call).collect();
    // A release that is lost in a failover leaves the claim to its lease: not worth waiting for replicas.
    router
        .call_each(&attempted, calls, router.deadline())
        .await
        .into_iter()
        .try_for_each(|answer| answer.map(drop))
}

/// Takes events whose time has come. A shard that does not answer is left out.
pub(crate) async fn claim_events(
    router: &Router,
    keys: &Keys,
    max: usize,
    lease: Duration,
) -> Result<Vec<Event>> {
    const ATTEMPTED: &str = "claim events";
    let deadline = router.attempt_deadline();
    let limits = (max, CLAIMED_PER_CALL);
    let found = look(router, keys, ATTEMPTED, |names| &names.out, Wanted::Due, limits, deadline).await;
    let call = |names: &BucketKeys, members: &[Bytes]| {
        let arguments = [Value::from(micros(lease)), Value::from(CLAIMED_BYTES)];
        (names.slot, script::CLAIM_EVENTS.call(with_index(&names.out, names, members), arguments))
    };
    let calls = found.members.iter().map(|(bucket, members)| call(keys.of(*bucket), members)).collect();
    // A lease that is lost in a failover has an event delivered once more, which may happen anyway.
    let answers = router.call_each(ATTEMPTED, calls, deadline).await;
    let read = |content: Content, key, _| content.events(&key);
    Taken::read(keys, found, answers, 1).contents(router, ATTEMPTED, deadline, read).await
}

/// Gives events back, one call for each bucket.
pub(crate) async fn put_back_events(router: &Router, keys: &Keys, events: Vec<PutBack>) -> Result<()> {
    let attempted = format!("put back {} events", events.len());
    let calls = by_bucket(
        keys,
        &events,
        |put_back| &put_back.event.key,
        |names, correlations, part| {
            let call_keys = [names.out.clone()].into_iter().chain(correlations).collect();
            let arguments = part.iter().flat_map(|PutBack { event, delivered, look_after }| {
                let delivered: Vec<u8> = delivered.iter().flat_map(|receiver| *receiver.bytes()).collect();
                [
                    Value::from(event.generation as i64),
                    Value::from(event.first_seen.timestamp_micros()),
                    Value::from(micros(*look_after)),
                    Value::Bytes(delivered.into()),
                ]
            });
            script::PUT_BACK_EVENTS.call(call_keys, arguments)
        },
    );
    let calls = calls.into_iter().map(|(_, call)| call).collect();
    // What is lost in a failover is delivered once more, which may happen anyway.
    let answers = router.call_each(&attempted, calls, router.deadline()).await;
    answers.into_iter().try_for_each(|answer| answer.map(drop))
}

/// Removes events, one call for each bucket.
pub(crate) async fn remove_events(router: &Router, keys: &Keys, events: &[EventId]) -> Result<u64> {
    let attempted = format!("remove {} events", events.len());
    let calls = by_bucket(
        keys,
        events,
        |event| &event.key,
        |names, correlations, part| {
            let call_keys =
                [names.out.clone(), names.ledger.clone()].into_iter().chain(correlations).collect();
            let arguments = part.iter().map(|EventId { key: _, first_seen, generation }| {
                let first_seen = first_seen.timestamp_micros().to_le_bytes();
                Value::Bytes([&count(*generation)[..], &first_seen].concat().into())
            });
            script::REMOVE_EVENTS.call(call_keys, arguments)
        },
    );
    let calls = calls.into_iter().map(|(_, call)| call).collect();
    // One that is lost in a failover has an event delivered once more, which may happen anyway.
    let answers = router.call_each(&attempted, calls, router.deadline()).await;
    answers.into_iter().map(|answer| Ok(answer?.as_u64().unwrap_or_default())).sum()
}

/// The calls for items, one for each bucket and [`FINISHED_PER_CALL`] of them, each with the places of
/// its items.
fn by_bucket<T>(
    keys: &Keys,
    items: &[T],
    key: impl Fn(&T) -> &CorrelationKey,
    call: impl Fn(&BucketKeys, Vec<Bytes>, &[&T]) -> Command,
) -> Vec<(Vec<usize>, (u16, Command))> {
    let mut buckets = HashMap::<Bucket, Vec<usize>>::new();
    for (place, item) in items.iter().enumerate() {
        buckets.entry(keys.bucket(key(item))).or_default().push(place);
    }
    let of_part = |bucket: Bucket, places: &[usize]| {
        let names = keys.of(bucket);
        let part: Vec<&T> = places.iter().map(|place| &items[*place]).collect();
        let correlations = part.iter().map(|item| names.correlation(key(item))).collect();
        (places.to_vec(), (names.slot, call(names, correlations, &part)))
    };
    let parts = buckets
        .iter()
        .flat_map(|(bucket, places)| places.chunks(FINISHED_PER_CALL).map(|places| (*bucket, places)));
    parts.map(|(bucket, places)| of_part(bucket, places)).collect()
}

fn of_ticket(ticket: &Ticket) -> [Value; 2] {
    [Value::from(ticket.fence), Value::from(ticket.version as i64)]
}

/// At most 71 years, so that a sum with the time of day stays exact in the doubles of the scripts.
fn micros(time: Duration) -> i64 {
    time.as_micros().min(1 << 51) as i64
}
