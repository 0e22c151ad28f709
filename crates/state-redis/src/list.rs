//! Lists by time over all buckets, newest first, from indexes that lag a little.
//!
//! The score of a correlation in `time:{T}` is at most [`INDEX_LAG`] before its last arrival. So a
//! correlation that has not been looked at in a bucket arrived last before (score reached there) +
//! lag, and what arrived at or after the latest of these borders is settled.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use fred::prelude::Value;
use futures::future::try_join_all;
use state_core::{CorrelationId, Cursor, Page, RangeQuery, Result, Summary};
use tokio::time::Instant;
use tracing::warn;

use crate::{
    error,
    field::{self, Meta},
    keys::{Bucket, Keys, parse_member},
    link::Command,
    router::Router,
};

/// How far the index by time may lag behind the last arrival: one ZADD per second is enough for a
/// trace that keeps growing.
pub(crate) const INDEX_LAG: Duration = Duration::from_secs(1);
const INDEX_LAG_MICROS: i64 = INDEX_LAG.as_micros() as i64;
/// Correlations after which a page ends early, once it has got beyond its first second.
const EXAMINED_MAX: usize = 10_000;

const ATTEMPTED: &str = "list correlations";

/// How far a bucket has been read.
struct Reader {
    bucket: Bucket,
    /// Score of the last member read; none before has a lower one.
    reached: i64,
    /// Members read that have this score. The next look begins with this score again, because one
    /// of them may have moved away meanwhile, and leaves them out by name.
    at_reached: HashSet<Bytes>,
    exhausted: bool,
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
    let reader = |bucket| Reader { bucket, reached: newest, at_reached: HashSet::new(), exhausted: false };
    let mut readers: Vec<Reader> = keys.buckets().map(reader).collect();
    let chunk = (query.limit / readers.len() * 2 + 16).min(1_000);
    let (mut found, mut examined) = (Vec::<Summary>::new(), 0);
    loop {
        // What is already certain needs no further look.
        found.sort_by_cached_key(Cursor::of);
        let last_wanted =
            found.get(query.limit.saturating_sub(1)).map(|summary| summary.last_updated.timestamp_micros());
        let open = |reader: &&mut Reader| {
            !reader.exhausted
                && last_wanted.is_none_or(|wanted| reader.reached.saturating_add(INDEX_LAG_MICROS) > wanted)
        };
        let border = readers.iter().filter(|reader| !reader.exhausted).map(|reader| reader.reached).max();
        let border = border.map(|reached| reached.saturating_add(INDEX_LAG_MICROS));
        let enough = examined >= EXAMINED_MAX && border.is_some_and(|border| border <= newest);
        let reads: Vec<_> = readers.iter_mut().filter(open).collect();
        if enough || reads.is_empty() {
            return Ok(finish(found, border, query.limit));
        }
        let reads = reads.into_iter().map(|reader| reader.next(router, keys, oldest, chunk, query, deadline));
        for (summaries, count) in try_join_all(reads).await? {
            examined += count;
            found.extend(summaries);
        }
    }
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
    /// Reads the next members, newest first; answers those that match, and how many were read.
    async fn next(
        &mut self,
        router: &Router,
        keys: &Keys,
        oldest: i64,
        chunk: usize,
        query: &RangeQuery,
        deadline: Instant,
    ) -> Result<(Vec<Summary>, usize)> {
        let names = keys.of(self.bucket);
        let limit = |border: i64, open: &str| match border {
            i64::MAX => "+inf".to_owned(),
            i64::MIN => "-inf".to_owned(),
            border => format!("{open}{border}"),
        };
        let (max, min) = (limit(self.reached, ""), limit(oldest, "("));
        let count = chunk + self.at_reached.len();
        let key = Value::Bytes(names.time.clone());
        let rest =
            [max.as_str(), min.as_str(), "WITHSCORES", "LIMIT", "0", &count.to_string()].map(Value::from);
        let range = Command::new("ZREVRANGEBYSCORE", [key].into_iter().chain(rest));
        let answers =
            router.call(ATTEMPTED, names.slot, vec![Command::bare("TIME"), range], deadline).await?;
        let (now, members) = read_time_and(answers)?;
        self.exhausted = members.len() / 2 < count;
        let examined = members.len() / 2;

        let (mut ids, mut reads) = (Vec::new(), Vec::new());
        let mut members = members.into_iter();
        while let (Some(member), Some(score)) = (members.next().and_then(Value::into_bytes), members.next()) {
            let score = score.as_f64().unwrap_or_default() as i64;
            if score != self.reached {
                self.at_reached.clear();
                self.reached = score;
            }
            if let Some((tenant, id)) = parse_member(&member)
                && tenant == query.tenant
                && !self.at_reached.contains(&member)
            {
                reads.push(read_summary(names.of_member(&member)));
                ids.push(id);
            }
            self.at_reached.insert(member);
        }
        if reads.is_empty() {
            return Ok((Vec::new(), examined));
        }
        let answers = router.call(ATTEMPTED, names.slot, reads, deadline).await?;
        let mut matches = Vec::new();
        for (id, fields) in ids.into_iter().zip(answers) {
            match summary(id, fields, now) {
                Ok(summary) => matches.extend(summary.filter(|summary| query.admits(summary))),
                // One that cannot be read must not hide the others.
                Err(error) => warn!(error = &error as &dyn std::error::Error, "left out of a list"),
            }
        }
        Ok((matches, examined))
    }
}

fn read_summary(key: Bytes) -> Command {
    let fields = [field::META, field::LABELS, field::OVERRIDES].map(Value::from);
    Command::new("HMGET", [Value::Bytes(key)].into_iter().chain(fields))
}

/// Reads the answer to `TIME` in microseconds, and the list after it.
pub(crate) fn read_time_and(answers: Vec<Value>) -> Result<(i64, Vec<Value>)> {
    let mut answers = answers.into_iter();
    let time = answers.next().map(Value::into_array).unwrap_or_default();
    let number = |place: usize| time.get(place).and_then(Value::as_i64).unwrap_or_default();
    let micros = number(0) * 1_000_000 + number(1);
    Ok((micros, answers.next().map(Value::into_array).unwrap_or_default()))
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
    field::summary(id.clone(), &meta, field(1), field(2)).map(Some).map_err(unreadable)
}
