//! Lists by time over all buckets, newest first, from indexes that lag a little.
//!
//! The score of a correlation in `time:{T}` is at most [`INDEX_LAG`] before its last arrival. So a
//! correlation that has not been looked at arrived last before the highest score that is left + lag,
//! and what arrived at or after this border is settled.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use fred::prelude::Value;
use state_core::{CorrelationId, CorrelationKey, Cursor, Page, RangeQuery, Result, Summary};
use tokio::time::Instant;
use tracing::warn;

use crate::{
    error,
    field::{self, Meta},
    keys::{Bucket, Keys, parse_member},
    link::Command,
    router::Router,
};

/// How far the index by time may lag behind the last arrival: the fragments of a burst move it once. A
/// list looks at everything that arrived in its newest lag.
pub(crate) const INDEX_LAG: Duration = Duration::from_millis(20);
const INDEX_LAG_MICROS: i64 = INDEX_LAG.as_micros() as i64;
/// Correlations after which a page ends early, once it has got beyond its first lag.
const EXAMINED_MAX: usize = 10_000;
/// Correlations that are read at once.
const READ_MAX: usize = 1_000;
/// Correlations that are read beyond those that are wanted: some do not match.
const READ_SPARE: usize = 16;

pub(crate) const ATTEMPTED: &str = "list correlations";

/// How far the index of a bucket has been read.
struct Reader {
    bucket: Bucket,
    /// Members and scores that were read of the index, but not looked at.
    ahead: VecDeque<(Bytes, i64)>,
    /// Score of the last member read; none before has a lower one.
    reached: i64,
    /// Members read that have this score. The next read begins with this score again, because one
    /// of them may have moved away meanwhile, and leaves them out by name.
    at_reached: HashSet<Bytes>,
    is_exhausted: bool,
    /// When the index was read, by the clock of its server.
    now: i64,
}

/// Reads one page.
pub(crate) async fn page(
    router: &Router,
    keys: &Keys,
    query: &RangeQuery,
    deadline: Instant,
) -> Result<Page> {
    let start = query.after.clone().max(query.to.map(Cursor::before));
    let newest = start.map_or(i64::MAX, |start| start.last_updated.timestamp_micros());
    let oldest = query.from.map_or(i64::MIN, |from| from.timestamp_micros().saturating_sub(INDEX_LAG_MICROS));
    let mut readers: Vec<Reader> = keys.buckets().map(|bucket| Reader::new(bucket, newest)).collect();
    let chunk = (query.limit / readers.len() * 2 + 16).min(READ_MAX);
    let (mut found, mut examined) = (Vec::<Summary>::new(), 0);
    loop {
        read_ahead(router, keys, &mut readers, oldest, chunk, deadline).await?;
        let border = readers.iter().filter_map(Reader::highest).max();
        let border = border.map(|highest| highest.saturating_add(INDEX_LAG_MICROS));
        found.sort_by_cached_key(Cursor::of);
        let last_wanted = found.get(query.limit.saturating_sub(1));
        let last_wanted = last_wanted.map(|summary| summary.last_updated.timestamp_micros());
        let is_enough = border.is_none_or(|border| {
            last_wanted.is_some_and(|wanted| border <= wanted)
                || (examined >= EXAMINED_MAX && border <= newest)
        });
        if is_enough {
            return Ok(finish(found, border, query.limit));
        }
        let missing = query.limit.saturating_sub(found.len()) + READ_SPARE;
        let looked_at = next(&mut readers, missing.min(READ_MAX));
        examined += looked_at.len();
        found.extend(summaries(router, keys, query, looked_at, deadline).await?);
    }
}

/// Reads on in the indexes of which nothing is left to look at.
async fn read_ahead(
    router: &Router,
    keys: &Keys,
    readers: &mut [Reader],
    oldest: i64,
    chunk: usize,
    deadline: Instant,
) -> Result<()> {
    loop {
        let mut short: Vec<_> = readers.iter_mut().filter(|reader| reader.is_short()).collect();
        if short.is_empty() {
            return Ok(());
        }
        let calls = short.iter().flat_map(|reader| {
            let names = keys.of(reader.bucket);
            [Command::bare("TIME"), reader.range(&names.time, oldest, chunk)]
                .map(|command| (names.slot, command))
        });
        let mut answers = router.call_each(ATTEMPTED, calls.collect(), deadline).await.into_iter();
        for reader in &mut short {
            if let (Some(time), Some(members)) = (answers.next(), answers.next()) {
                reader.take(read_time(time?), members?.into_array(), chunk);
            }
        }
    }
}

/// Takes the members with the highest scores to look at, as long as what was read of the indexes
/// reaches.
fn next(readers: &mut [Reader], most: usize) -> Vec<(Bucket, Bytes, i64)> {
    let mut looked_at = Vec::new();
    while looked_at.len() < most {
        let highest = readers
            .iter_mut()
            .filter(|reader| reader.highest().is_some())
            .max_by_key(|reader| reader.highest());
        let Some(reader) = highest else { break };
        let Some((member, _)) = reader.ahead.pop_front() else { break };
        looked_at.push((reader.bucket, member, reader.now));
    }
    looked_at
}

/// Reads correlations; answers those that match.
pub(crate) async fn summaries(
    router: &Router,
    keys: &Keys,
    query: &RangeQuery,
    looked_at: Vec<(Bucket, Bytes, i64)>,
    deadline: Instant,
) -> Result<Vec<Summary>> {
    let (mut ids, mut reads) = (Vec::new(), Vec::new());
    for (bucket, member, now) in looked_at {
        if let Some((tenant, id)) = parse_member(&member)
            && tenant == query.tenant
        {
            let names = keys.of(bucket);
            reads.push((names.slot, read_summary(names.of_member(&member))));
            ids.push((id, now));
        }
    }
    let answers = router.call_each(ATTEMPTED, reads, deadline).await;
    let mut matches = Vec::new();
    for ((id, now), answer) in ids.into_iter().zip(answers) {
        // One that cannot be read must not hide the others.
        let summary = match answer {
            Err(error) if error.is_retryable() => return Err(error),
            answer => answer.and_then(|fields| summary(id, fields, now)),
        };
        match summary {
            Ok(summary) => matches.extend(summary.filter(|summary| query.admits(summary))),
            Err(error) => warn!(error = &error as &dyn std::error::Error, "left out of a list"),
        }
    }
    Ok(matches)
}

fn finish(mut found: Vec<Summary>, border: Option<i64>, limit: usize) -> Page {
    if let Some(border) = border {
        found.retain(|summary| summary.last_updated.timestamp_micros() >= border);
    }
    let next = if found.len() > limit {
        found.truncate(limit);
        found.last().map(Cursor::of)
    } else {
        let time = |border| chrono::DateTime::from_timestamp_micros(border);
        match found.last().map(Cursor::of) {
            // A full page goes on after its last one, however far the readers got.
            Some(last) if found.len() == limit && border.is_some() => Some(last),
            _ => border.and_then(time).map(Cursor::before),
        }
    };
    Page { correlations: found, next }
}

impl Reader {
    fn new(bucket: Bucket, newest: i64) -> Self {
        let (ahead, at_reached) = (VecDeque::new(), HashSet::new());
        Self { bucket, ahead, reached: newest, at_reached, is_exhausted: false, now: 0 }
    }

    /// The highest score of what has not been looked at; `None` if that is everything.
    fn highest(&self) -> Option<i64> {
        let read = self.ahead.front().map(|(_, score)| *score);
        read.or((!self.is_exhausted).then_some(self.reached))
    }

    fn is_short(&self) -> bool {
        self.ahead.is_empty() && !self.is_exhausted
    }

    /// The command that reads on in the index.
    fn range(&self, index: &Bytes, oldest: i64, chunk: usize) -> Command {
        let limit = |border: i64, open: &str| match border {
            i64::MAX => "+inf".to_owned(),
            i64::MIN => "-inf".to_owned(),
            border => format!("{open}{border}"),
        };
        let (max, min) = (limit(self.reached, ""), limit(oldest, "("));
        let count = (chunk + self.at_reached.len()).to_string();
        let rest = [max.as_str(), min.as_str(), "WITHSCORES", "LIMIT", "0", &count].map(Value::from);
        Command::new("ZREVRANGEBYSCORE", [Value::Bytes(index.clone())].into_iter().chain(rest))
    }

    /// Takes the answer to it.
    fn take(&mut self, now: i64, members: Vec<Value>, chunk: usize) {
        self.now = now;
        self.is_exhausted = members.len() / 2 < chunk + self.at_reached.len();
        let mut members = members.into_iter();
        while let (Some(member), Some(score)) = (members.next().and_then(Value::into_bytes), members.next()) {
            let score = score.as_f64().unwrap_or_default() as i64;
            if score != self.reached {
                self.at_reached.clear();
                self.reached = score;
            }
            if self.at_reached.insert(member.clone()) {
                self.ahead.push_back((member, score));
            }
        }
    }
}

/// Reads the summary of one correlation.
pub(crate) async fn one(
    router: &Router,
    keys: &Keys,
    key: &CorrelationKey,
    deadline: Instant,
) -> Result<Option<Summary>> {
    let attempted = format!("get the summary of correlation {key}");
    let names = keys.of(keys.bucket(key));
    let commands = vec![Command::bare("TIME"), read_summary(names.correlation(key))];
    let mut answers = router.call(&attempted, names.slot, commands, deadline).await?.into_iter();
    let (Some(time), Some(fields)) = (answers.next(), answers.next()) else { return Ok(None) };
    summary(key.id.clone(), fields, read_time(time))
}

fn read_summary(key: Bytes) -> Command {
    let fields = [field::META, field::LABELS, field::OVERRIDES, field::STATE].map(Value::from);
    Command::new("HMGET", [Value::Bytes(key)].into_iter().chain(fields))
}

/// Reads the answer to `TIME` in microseconds.
pub(crate) fn read_time(time: Value) -> i64 {
    let time = time.into_array();
    let number = |place: usize| time.get(place).and_then(Value::as_i64).unwrap_or_default();
    number(0) * 1_000_000 + number(1)
}

/// Reads the answer to `TIME` in microseconds, and the list after it.
pub(crate) fn read_time_and(answers: Vec<Value>) -> (i64, Vec<Value>) {
    let mut answers = answers.into_iter();
    let now = answers.next().map(read_time).unwrap_or_default();
    (now, answers.next().map(Value::into_array).unwrap_or_default())
}

/// The summary of a correlation; `None` if it has gone meanwhile or has expired.
fn summary(id: CorrelationId, fields: Value, now: i64) -> Result<Option<Summary>> {
    let fields: Vec<Option<Bytes>> = fields.into_array().into_iter().map(Value::into_bytes).collect();
    let field = |place: usize| fields.get(place).and_then(Option::as_deref);
    let Some(meta) = field(0) else { return Ok(None) };
    let unreadable = |error| error::unreadable(&format!("list correlation {id}"), error);
    let meta = Meta::read(meta).map_err(unreadable)?;
    if meta.expires <= now {
        return Ok(None);
    }
    field::summary(id.clone(), &meta, field(1), field(2), field(3)).map(Some).map_err(unreadable)
}
