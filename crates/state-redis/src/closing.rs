//! Claims, closes and releases correlations, and reads the outbox, over all buckets.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use fred::prelude::Value;
use state_core::{
    Claim, CorrelationKey, Event, EventId, Finish, Finished, Release, Result, Settings, Ticket,
};
use tracing::warn;

use crate::{
    content::Content,
    error,
    keys::{Bucket, BucketKeys, Keys, parse_member},
    link::Command,
    list::read_time_and,
    router::Router,
    script,
};

/// Most correlations that one call claims in a bucket: a call keeps its server from everything else, at
/// about 20 µs a correlation.
const CLAIMED_PER_CALL: usize = 64;
/// Payload bytes, before compression, after which one call claims no more.
const CLAIMED_BYTES: i64 = 4 << 20;
/// Most correlations that one call closes or releases, or of which it removes events.
const FINISHED_PER_CALL: usize = 256;

/// Claims what is due. A shard that does not answer is left out: its correlations stay due.
pub(crate) async fn claim_due(
    router: &Router,
    keys: &Keys,
    settings: &Settings,
    max: usize,
    lease: Duration,
) -> Result<Vec<Claim>> {
    const ATTEMPTED: &str = "claim correlations";
    let deadline = router.attempt_deadline();
    let looks = keys.buckets().map(|bucket| {
        let names = keys.of(bucket);
        let limit = Value::from(max.min(CLAIMED_PER_CALL) as i64);
        (names.slot, script::DUE.call(vec![names.time.clone(), names.due.clone()], [limit]))
    });
    let looked = router.call_each(ATTEMPTED, looks.collect(), deadline).await;
    let (mut left, mut unanswered) = (max, None);
    let (mut asked, mut calls) = (Vec::new(), Vec::new());
    // Begins somewhere else each time, so that no bucket keeps the others waiting.
    let mut looked: Vec<_> = keys.buckets().zip(looked).collect();
    let first = router.turn() % looked.len();
    looked.rotate_left(first);
    for (bucket, answer) in looked {
        let members = match answer {
            Ok(answer) => answer.into_array().into_iter().skip(1).filter_map(Value::into_bytes),
            Err(error) => {
                unanswered = Some(error);
                continue;
            }
        };
        let members: Vec<Bytes> = members.take(left).collect();
        if !members.is_empty() {
            left -= members.len();
            let names = keys.of(bucket);
            let correlations = members.iter().map(|member| names.of_member(member));
            let call_keys = [names.due.clone()].into_iter().chain(correlations).collect();
            let times = [lease, settings.grace, settings.age_max].map(|time| Value::from(micros(time)));
            let arguments = times.into_iter().chain([Value::from(CLAIMED_BYTES)]);
            calls.push((names.slot, script::CLAIM.call(call_keys, arguments)));
            asked.push(members);
        }
    }
    if asked.is_empty() {
        return unanswered.map_or(Ok(Vec::new()), Err);
    }
    let mut claims = Vec::new();
    for (members, answer) in asked.into_iter().zip(router.write_each(ATTEMPTED, calls, deadline).await) {
        match answer {
            Ok(answer) => claims.extend(read_claims(&members, answer)),
            Err(error) => unanswered = Some(error),
        }
    }
    match unanswered {
        Some(error) if claims.is_empty() => Err(error),
        _ => Ok(claims),
    }
}

fn read_claims(members: &[Bytes], answer: Value) -> Vec<Claim> {
    let mut answer = answer.into_array().into_iter();
    let now = answer.next().and_then(|now| now.as_i64()).unwrap_or_default();
    let claim = |fields: Value| {
        let mut fields = fields.into_array();
        // The first key of the call is the index, and places count from 1.
        let member = members.get(fields.pop()?.as_usize()?.checked_sub(2)?)?;
        let (tenant, id) = parse_member(member)?;
        let key = CorrelationKey { tenant, id };
        let content = Content::read(fields, now).transpose()?;
        match content.and_then(|content| content.claim(key.clone(), now)) {
            Ok(claim) => Some(claim),
            Err(error) => {
                // Left to its lease, again and again, until it expires.
                warn!(%key, error = &error as &dyn std::error::Error, "a claimed correlation cannot be read");
                None
            }
        }
    };
    answer.filter_map(claim).collect()
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
            let call_keys = [names.due.clone(), names.out.clone()].into_iter().chain(correlations).collect();
            let mut arguments = vec![Value::from(micros(settings.grace))];
            for Finish { ticket, note } in part {
                arguments.extend(of_ticket(ticket));
                arguments.push(i64::from(note.is_some()).into());
                arguments.push(note.as_deref().unwrap_or_default().into());
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

/// Reads events of the buckets in turn, until there are enough.
pub(crate) async fn get_events(router: &Router, keys: &Keys, max: usize) -> Result<Vec<Event>> {
    const ATTEMPTED: &str = "read events";
    let deadline = router.deadline();
    let last = (max as i64 - 1).max(0).to_string();
    let looks = keys.buckets().map(|bucket| {
        let names = keys.of(bucket);
        (names.slot, Command::new("ZRANGE", [names.out.clone(), "0".into(), last.clone().into()]))
    });
    let looked = router.call_each(ATTEMPTED, looks.collect(), deadline).await;
    let mut events = Vec::new();
    for (bucket, members) in keys.buckets().zip(looked) {
        let names = keys.of(bucket);
        let members = members?.into_array().into_iter().filter_map(Value::into_bytes);
        for member in members {
            if events.len() >= max {
                return Ok(events);
            }
            let Some((tenant, id)) = parse_member(&member) else { continue };
            let key = CorrelationKey { tenant, id };
            let commands = vec![Command::bare("TIME"), Command::new("HGETALL", [names.of_member(&member)])];
            // Each has its own time: together they may be as large as the outbox.
            let (now, fields) =
                read_time_and(router.call(ATTEMPTED, names.slot, commands, router.deadline()).await?);
            match Content::read(fields, now)
                .and_then(|content| content.map(|content| content.events(&key)).transpose())
            {
                Ok(read) => events.extend(read.into_iter().flatten().take(max - events.len())),
                Err(error) => warn!(%key, error = &error as &dyn std::error::Error, "events cannot be read"),
            }
        }
    }
    Ok(events)
}

/// Removes events, one call for each bucket.
pub(crate) async fn remove_events(router: &Router, keys: &Keys, events: &[EventId]) -> Result<u64> {
    let attempted = format!("remove {} events", events.len());
    let calls = by_bucket(
        keys,
        events,
        |event| &event.key,
        |names, correlations, part| {
            let call_keys = [names.out.clone()].into_iter().chain(correlations).collect();
            let arguments = part.iter().flat_map(|EventId { key: _, first_seen, generation }| {
                [Value::from(*generation as i64), Value::from(first_seen.timestamp_micros())]
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
