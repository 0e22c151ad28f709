//! Group commit: the appends of concurrent requests go out together, one script call per bucket.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use fred::{
    error::{Error, ErrorKind},
    prelude::Value,
};
use state_core::{Append, Outcome, Refusal};
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    acknowledge::Replicas,
    field,
    keys::{Bucket, Keys},
    link::{Command, Link},
    node::any_connected,
    packed, script,
};

/// Most fragments in one script call: a call keeps its server from everything else, at about
/// 2 µs a fragment. Far below the 8,000 values that Lua can unpack.
const FRAGMENTS_PER_CALL_MAX: usize = 512;
/// Fragments that are enough not to wait for more.
const FRAGMENTS_PER_BATCH: usize = 4_096;
/// Bytes that are enough not to wait for more.
const BYTES_PER_BATCH: usize = 4 << 20;

/// A fragment as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) bucket: Bucket,
    /// Redis key of the correlation.
    pub(crate) key: Bytes,
    pub(crate) name: Bytes,
    pub(crate) facts: Bytes,
    pub(crate) packed: Bytes,
}

impl Entry {
    /// Packs a fragment for its correlation.
    pub(crate) fn pack(keys: &Keys, append: &Append) -> Self {
        let Append { key, fragment } = append;
        let bucket = keys.bucket(key);
        Self {
            bucket,
            key: keys.of(bucket).correlation(key),
            name: Bytes::copy_from_slice(fragment.id().bytes()),
            facts: field::facts(fragment),
            packed: packed::pack(fragment),
        }
    }

    /// What it takes while it is on its way, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let Self { bucket: _, key, name, facts, packed } = self;
        size_of::<Self>() + key.len() + name.len() + facts.len() + packed.len()
    }
}

/// Fragments of one request for one primary. Answered in their order, or left out if nobody waits
/// for the answer any more.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) entries: Vec<Entry>,
    pub(crate) reply: oneshot::Sender<Vec<Result<Outcome, Error>>>,
    /// Its share of what may be in flight, given back when it is done.
    pub(crate) permit: Arc<OwnedSemaphorePermit>,
}

/// What every append is sent with.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) keys: Arc<Keys>,
    pub(crate) gather: Duration,
    pub(crate) limits: state_core::Limits,
    pub(crate) ttl: Duration,
    pub(crate) index_lag: Duration,
    pub(crate) grace: Duration,
    pub(crate) replicas: Replicas,
}

/// Starts tasks that take turns: while one batch is on its way, another one gathers.
pub(crate) fn start(
    links: &Arc<[Link]>,
    count: usize,
    queue: mpsc::UnboundedReceiver<Commit>,
    config: Config,
) -> JoinSet<()> {
    let queue = Arc::new(Mutex::new(queue));
    let mut committers = JoinSet::new();
    for index in 0..count {
        let (links, queue, config) = (Arc::clone(links), Arc::clone(&queue), config.clone());
        committers.spawn(async move {
            loop {
                // The queue is free for the other one while this one sends.
                let commits = {
                    let mut queue = queue.lock().await;
                    gather(&mut queue, config.gather).await
                };
                let Some(commits) = commits else { return };
                let (entries, replies) = split(commits);
                let mut outcomes = Vec::with_capacity(entries.len());
                for entries in batches(&entries) {
                    let link = any_connected(&links[..count], index);
                    outcomes.extend(config.append(link, entries).await);
                }
                answer(outcomes, replies);
            }
        });
    }
    committers
}

/// Waits for a commit, and then for what comes within the time to gather. `None` when the queue
/// has ended.
async fn gather(queue: &mut mpsc::UnboundedReceiver<Commit>, gather: Duration) -> Option<Vec<Commit>> {
    let mut commits = vec![queue.recv().await?];
    let deadline = Instant::now() + gather;
    let (mut fragments, mut bytes) = (0, 0);
    loop {
        let last = commits.last().expect("it began with one");
        fragments += last.entries.len();
        bytes += last.entries.iter().map(|entry| entry.packed.len()).sum::<usize>();
        if fragments >= FRAGMENTS_PER_BATCH || bytes >= BYTES_PER_BATCH {
            return Some(commits);
        }
        let next = match queue.try_recv() {
            Ok(commit) => Some(commit),
            Err(_) => timeout_at(deadline, queue.recv()).await.ok().flatten(),
        };
        match next {
            Some(commit) => commits.push(commit),
            None => return Some(commits),
        }
    }
}

/// Cuts entries so that each part is sent, and answered, in the time of a command: a single request
/// can be of any size.
fn batches(entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |(number, entry): &(usize, &Entry)| {
            bytes += entry.packed.len();
            *number < FRAGMENTS_PER_BATCH && (*number == 0 || bytes <= BYTES_PER_BATCH)
        };
        let count = rest.iter().enumerate().take_while(fits).count();
        let (batch, after) = rest.split_at(count);
        rest = after;
        (!batch.is_empty()).then_some(batch)
    })
}

type Reply = (usize, oneshot::Sender<Vec<Result<Outcome, Error>>>, Arc<OwnedSemaphorePermit>);

fn split(commits: Vec<Commit>) -> (Vec<Entry>, Vec<Reply>) {
    let mut entries = Vec::new();
    let mut replies = Vec::new();
    for commit in commits.into_iter().filter(|commit| !commit.reply.is_closed()) {
        replies.push((commit.entries.len(), commit.reply, commit.permit));
        entries.extend(commit.entries);
    }
    (entries, replies)
}

fn answer(outcomes: Vec<Result<Outcome, Error>>, replies: Vec<Reply>) {
    let mut outcomes = outcomes.into_iter();
    for (count, reply, _permit) in replies {
        // Who asked may have given up; the append itself is done all the same.
        let _ = reply.send(outcomes.by_ref().take(count).collect());
    }
}

impl Config {
    /// Sends entries over one connection; answers in their order.
    async fn append(&self, link: &Link, entries: &[Entry]) -> Vec<Result<Outcome, Error>> {
        let calls = self.calls(entries);
        let (places, mut commands): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
        self.replicas.wait_behind(&mut commands);
        let mut results = link.send(commands).await;
        self.replicas.confirm(&mut results, places.len());
        let mut outcomes = vec![Err(lost()); entries.len()];
        for (places, result) in places.into_iter().zip(results) {
            for (place, outcome) in places.iter().zip(read_outcomes(result, places.len())) {
                outcomes[*place] = outcome;
            }
        }
        outcomes
    }

    /// The script calls for entries, each with the places of the entries it adds.
    pub(crate) fn calls(&self, entries: &[Entry]) -> Vec<(Vec<usize>, Command)> {
        let mut buckets = HashMap::<Bucket, Vec<usize>>::new();
        for (place, entry) in entries.iter().enumerate() {
            buckets.entry(entry.bucket).or_default().push(place);
        }
        let mut calls = Vec::with_capacity(buckets.len());
        for (bucket, mut places) in buckets {
            // A stable sort: fragments of one correlation stay in the order in which they came.
            places.sort_by(|one, other| entries[*one].key.cmp(&entries[*other].key));
            for places in places.chunks(FRAGMENTS_PER_CALL_MAX) {
                calls.push((places.to_vec(), self.call(bucket, places, entries)));
            }
        }
        calls
    }

    fn call(&self, bucket: Bucket, places: &[usize], entries: &[Entry]) -> Command {
        let names = self.keys.of(bucket);
        let mut keys = names.indexes().to_vec();
        let mut arguments: Vec<Value> = vec![
            (self.limits.spans_max as i64).into(),
            (self.limits.bytes_max as i64).into(),
            (self.ttl.as_micros() as i64).into(),
            (self.index_lag.as_micros() as i64).into(),
            (self.grace.as_micros() as i64).into(),
        ];
        for places in places.chunk_by(|one, other| entries[*one].key == entries[*other].key) {
            keys.push(entries[places[0]].key.clone());
            arguments.push((places.len() as i64).into());
            for place in places {
                let entry = &entries[*place];
                arguments.extend([
                    Value::Bytes(entry.name.clone()),
                    Value::Bytes(entry.facts.clone()),
                    Value::Bytes(entry.packed.clone()),
                ]);
            }
        }
        script::APPEND.call(keys, arguments)
    }
}

/// Reads the digits that the script answers.
pub(crate) fn read_outcomes(result: Result<Value, Error>, count: usize) -> Vec<Result<Outcome, Error>> {
    let digits = match result.map(Value::into_string) {
        Ok(Some(digits)) if digits.len() == count => digits,
        Ok(_) => {
            return vec![
                Err(Error::new(ErrorKind::Protocol, "the append script answered something else"));
                count
            ];
        }
        Err(error) => return vec![Err(error); count],
    };
    let outcome = |digit| {
        Ok(match digit {
            '0' => Outcome::Added,
            '1' => Outcome::Duplicate,
            '2' => Outcome::Refused(Refusal::SpansMax),
            '3' => Outcome::Refused(Refusal::BytesMax),
            _ => {
                return Err(Error::new(ErrorKind::Parse, "what is stored of the correlation cannot be read"));
            }
        })
    };
    digits.chars().map(outcome).collect()
}

/// What is said of an append that was not answered.
pub(crate) fn lost() -> Error {
    Error::new(ErrorKind::Canceled, "the connection ended before the answer came")
}
