//! Group commit: the appends of concurrent requests go out together, one script call per bucket.

use std::{sync::Arc, time::Duration};

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
    packed::Packer,
    script,
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
    /// Packs fragments for their correlations, all in one piece of memory.
    pub(crate) fn pack(keys: &Keys, batch: &[Append]) -> Arc<[Self]> {
        let mut packer = Packer::new();
        let mut memory =
            Vec::with_capacity(batch.iter().map(|append| append.fragment.payload().len() + 128).sum());
        let parts: Vec<_> = batch
            .iter()
            .map(|Append { key, fragment }| {
                let bucket = keys.bucket(key);
                keys.of(bucket).put_correlation(key, &mut memory);
                let key_end = memory.len();
                memory.extend_from_slice(fragment.id().bytes());
                let name_end = memory.len();
                field::put_facts(&mut memory, fragment);
                let facts_end = memory.len();
                packer.pack(fragment, &mut memory);
                (bucket, [key_end, name_end, facts_end, memory.len()])
            })
            .collect();
        let memory = Bytes::from(memory);
        let mut start = 0;
        let entry = |(bucket, [key, name, facts, packed]): (Bucket, [usize; 4])| {
            let entry = Self {
                bucket,
                key: memory.slice(start..key),
                name: memory.slice(key..name),
                facts: memory.slice(name..facts),
                packed: memory.slice(facts..packed),
            };
            start = packed;
            entry
        };
        parts.into_iter().map(entry).collect()
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
    /// All of the request.
    pub(crate) entries: Arc<[Entry]>,
    /// Which of them are for this primary.
    pub(crate) places: Vec<usize>,
    pub(crate) reply: oneshot::Sender<Vec<Result<Outcome, Error>>>,
    /// Its share of what may be in flight, given back when it is done.
    pub(crate) _permit: Arc<OwnedSemaphorePermit>,
}

impl Commit {
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.places.iter().map(|place| &self.entries[*place])
    }
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
                let commits: Vec<_> =
                    commits.into_iter().filter(|commit| !commit.reply.is_closed()).collect();
                let entries: Vec<&Entry> = commits.iter().flat_map(Commit::entries).collect();
                let mut outcomes = Vec::with_capacity(entries.len());
                for entries in batches(&entries) {
                    let link = any_connected(&links[..count], index);
                    outcomes.extend(config.append(link, entries).await);
                }
                answer(outcomes, commits);
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
        fragments += last.places.len();
        bytes += last.entries().map(|entry| entry.packed.len()).sum::<usize>();
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
fn batches<'a, 'b>(entries: &'b [&'a Entry]) -> impl Iterator<Item = &'b [&'a Entry]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |(number, entry): &(usize, &&Entry)| {
            bytes += entry.packed.len();
            *number < FRAGMENTS_PER_BATCH && (*number == 0 || bytes <= BYTES_PER_BATCH)
        };
        let count = rest.iter().enumerate().take_while(fits).count();
        let (batch, after) = rest.split_at(count);
        rest = after;
        (!batch.is_empty()).then_some(batch)
    })
}

fn answer(outcomes: Vec<Result<Outcome, Error>>, commits: Vec<Commit>) {
    let mut outcomes = outcomes.into_iter();
    for commit in commits {
        // Who asked may have given up; the append itself is done all the same.
        let _ = commit.reply.send(outcomes.by_ref().take(commit.places.len()).collect());
    }
}

impl Config {
    /// Sends entries over one connection; answers in their order.
    async fn append(&self, link: &Link, entries: &[&Entry]) -> Vec<Result<Outcome, Error>> {
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
    pub(crate) fn calls(&self, entries: &[&Entry]) -> Vec<(Vec<usize>, Command)> {
        let mut places: Vec<usize> = (0..entries.len()).collect();
        // A stable sort: fragments of one correlation stay in the order in which they came.
        let order = |place: &usize| (entries[*place].bucket, &entries[*place].key);
        places.sort_by(|one, other| order(one).cmp(&order(other)));
        places
            .chunk_by(|one, other| entries[*one].bucket == entries[*other].bucket)
            .flat_map(|places| places.chunks(FRAGMENTS_PER_CALL_MAX))
            .map(|places| (places.to_vec(), self.call(entries[places[0]].bucket, places, entries)))
            .collect()
    }

    fn call(&self, bucket: Bucket, places: &[usize], entries: &[&Entry]) -> Command {
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
