//! The contract on Redis: each operation as the calls it makes.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use fred::prelude::Value;
use futures::future::try_join_all;
use state_core::{
    Append, Backend, Claim, CorrelationEntry, CorrelationKey, Counts, Error, Event, EventId, Finish,
    Finished, Ledger, Outcome, Page, PutBack, RangeQuery, Refused, Release, Result, Settings, StateManager,
    Summary,
};
use tokio::{
    sync::OnceCell,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};
use tracing::{info, warn};

use crate::{
    acknowledge::Replicas,
    append::{self, InFlight},
    closing,
    commit::{self, Entry},
    config::{Acknowledge, Config, InvalidConfig},
    content::Content,
    error, field, key_index,
    keys::{Bucket, Keys},
    ledger,
    link::Command,
    list,
    look::{Wanted, look},
    metric,
    node::NodeConfig,
    packed::Packer,
    router::Router,
    schema::{self, Schema},
    script,
};

/// Batches above this are packed where that does not hold up others: LZ4 takes about 2 ns a byte.
const INLINE_BYTES_MAX: usize = 1 << 20;
/// Correlations that one script call frees or removes at most.
const REMOVED_PER_CALL: usize = 500;

/// Correlation state in Redis.
#[derive(Debug)]
pub struct RedisStateManager {
    settings: Settings,
    keys: Arc<Keys>,
    append: commit::Config,
    router: Router,
    acknowledge: Acknowledge,
    in_flight: InFlight,
    /// Whether the servers were found fit to serve.
    verified: OnceCell<Schema>,
}

impl RedisStateManager {
    /// Checks the settings; connects with the first call, so a Redis that is not there yet is none
    /// of its errors.
    ///
    /// # Errors
    /// A setting that can never work.
    pub fn new(config: &Config, settings: Settings) -> Result<Self, InvalidConfig> {
        let seeds = config.parse()?;
        let keys = Arc::new(Keys::new(&config.key_prefix, config.buckets));
        let append = commit::Config {
            keys: Arc::clone(&keys),
            gather: config.gather,
            limits: settings.limits,
            ttl: settings.ttl,
            index_lag: list::INDEX_LAG,
            grace: settings.grace,
            replicas: Replicas::new(config.attempt_timeout()),
        };
        let node_config = NodeConfig {
            fred: seeds.fred.clone(),
            connections: config.max_connections,
            timeout: config.attempt_timeout(),
            commit: append.clone(),
        };
        let router = Router::new(seeds, node_config, config.timeout);
        Ok(Self {
            settings,
            keys,
            append,
            router,
            acknowledge: config.acknowledge,
            in_flight: InFlight::new(config.in_flight_bytes_max),
            verified: OnceCell::new(),
        })
    }

    /// Connects and verifies the layout, once.
    async fn open(&self, attempted: &str) -> Result<&Schema> {
        if self.router.servers().are_closed() {
            return Err(Error::Closed { attempted: attempted.into() });
        }
        if let Some(schema) = self.verified.get() {
            return Ok(schema);
        }
        let deadline = self.router.deadline();
        let verify = async || {
            self.router.servers().look(attempted, deadline).await?;
            let schema = schema::verify(&self.router, &self.keys, deadline).await?;
            let at_first_start = schema.replicas;
            let required = match self.acknowledge {
                Acknowledge::Auto => at_first_start.min(1),
                Acknowledge::Primary => 0,
                Acknowledge::Replicated => 1,
                Acknowledge::AllReplicas => at_first_start.max(1),
            };
            if required == 0 && self.acknowledge == Acknowledge::Auto && self.router.servers().are_clustered()
            {
                warn!("a primary had no replica at the first start: its death can lose acknowledged state");
            }
            info!(replicas = required, level = ?self.acknowledge, "writes are confirmed by primary and replicas");
            self.append.replicas.require(required);
            Ok(schema)
        };
        // Each caller waits for its own time, not for those before it in turn.
        let opened = timeout_at(deadline, self.verified.get_or_try_init(verify));
        opened.await.unwrap_or_else(|_| Err(error::unavailable(attempted, "Redis was not reached in time")))
    }

    /// Asks every primary whether it can keep state.
    async fn reach(&self) -> Result<()> {
        let attempted = "reach Redis";
        self.in_flight.publish();
        self.open(attempted).await?;
        let deadline = self.router.deadline();
        let inspect = async || {
            let primaries = self.router.servers().primaries();
            try_join_all(primaries.iter().map(|node| schema::reach(attempted, node))).await
        };
        match timeout_at(deadline, inspect()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                if error.is_retryable() {
                    // Whoever did not answer may have been replaced.
                    let _ = self.router.servers().look(attempted, deadline).await;
                }
                Err(error)
            }
            Err(_) => Err(error::unavailable(attempted, "a Redis primary did not answer in time")),
        }
    }

    fn keys_of(&self, bucket: Bucket, members: &[Bytes]) -> Vec<Bytes> {
        let names = self.keys.of(bucket);
        let correlations = members.iter().map(|member| names.of_member(member));
        names.indexes().into_iter().chain(correlations).collect()
    }

    /// The last moment, by the clock of the store, at which a call of this operation may be done. One
    /// that was stuck must not undo what came after its caller was told that it failed.
    async fn not_after(&self, attempted: &str, slot: u16, deadline: Instant) -> Result<Value> {
        let now = self.router.store_time(attempted, slot, deadline).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        Ok(Value::from(now + left.as_micros() as i64))
    }

    /// Counts buckets, and finds what in them may have expired, bucket by bucket.
    async fn count(
        &self,
        attempted: &str,
        buckets: Vec<Bucket>,
        deadline: Instant,
    ) -> Result<Vec<(u64, Bucket, Vec<Bytes>)>> {
        let calls = buckets.iter().map(|bucket| {
            let names = self.keys.of(*bucket);
            let keys = vec![names.time.clone(), names.exp.clone()];
            (names.slot, script::COUNT.call(keys, [Value::from(REMOVED_PER_CALL as i64)]))
        });
        let answers = self.router.call_each(attempted, calls.collect(), deadline).await;
        let count = |(bucket, answer): (Bucket, Result<Value>)| {
            let mut answer = answer?.into_array().into_iter();
            let count = read_count(attempted, answer.next().as_ref())?;
            Ok((count, bucket, answer.filter_map(Value::into_bytes).collect()))
        };
        buckets.into_iter().zip(answers).map(count).collect()
    }

    /// Frees those of these members that have expired. Replicas need not have heard of it: they expire there
    /// all the same.
    async fn free(&self, attempted: &str, due: &[(Bucket, Vec<Bytes>)], deadline: Instant) -> Result<u64> {
        let calls = due.iter().map(|(bucket, members)| {
            (self.keys.of(*bucket).slot, script::EXPIRE.call(self.keys_of(*bucket, members), []))
        });
        let answers = self.router.call_each(attempted, calls.collect(), deadline).await;
        answers.into_iter().map(|answer| read_count(attempted, Some(&answer?))).sum()
    }
}

fn read_count(attempted: &str, answer: Option<&Value>) -> Result<u64> {
    let number = answer.and_then(Value::as_u64);
    number.ok_or_else(|| error::unavailable(attempted, "a script answered no number"))
}

#[async_trait]
impl StateManager for RedisStateManager {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Outcome>> {
        let attempted = format!("append {} fragments", batch.len());
        let deadline = self.router.deadline();
        self.open(&attempted).await?;
        let mut indexed = key_index::Entries::default();
        for Append { key, fragment } in &batch {
            indexed.add(&self.keys, &key.tenant, key.id.as_str(), fragment);
        }
        let bytes: usize = batch.iter().map(|append| append.fragment.payload().len()).sum();
        let keys = Arc::clone(&self.keys);
        let pack = move || Entry::pack(&keys, &batch);
        let entries = if bytes > INLINE_BYTES_MAX {
            let packed = spawn_blocking(pack).await;
            packed.map_err(|error| error::unavailable(&attempted, error.to_string()))?
        } else {
            pack()
        };
        // What is there can be found by its keys, whatever fails in between.
        indexed.write(&self.router, &self.keys, self.settings.ttl, &attempted, deadline).await?;
        append::append(&self.router, &self.append, &attempted, entries, &self.in_flight, deadline).await
    }

    async fn get_correlation(&self, key: &CorrelationKey) -> Result<Option<CorrelationEntry>> {
        let attempted = format!("get correlation {key}");
        self.open(&attempted).await?;
        let names = self.keys.of(self.keys.bucket(key));
        let read = Command::new("HGETALL", [Value::Bytes(names.correlation(key))]);
        let commands = vec![Command::bare("TIME"), read];
        let answers = self.router.call(&attempted, names.slot, commands, self.router.deadline()).await?;
        let (now, fields) = list::read_time_and(answers);
        let content = Content::read(fields, now).map_err(|error| error::unreadable(&attempted, error))?;
        let entry = content.map(|content| content.entry(&key.id)).transpose();
        entry.map_err(|error| error::unreadable(&attempted, error))
    }

    async fn get_summary(&self, key: &CorrelationKey) -> Result<Option<Summary>> {
        self.open(&format!("get the summary of correlation {key}")).await?;
        list::one(&self.router, &self.keys, key, self.router.deadline()).await
    }

    async fn set_correlation(
        &self,
        key: &CorrelationKey,
        entry: CorrelationEntry,
        ttl: Option<Duration>,
    ) -> Result<()> {
        let attempted = format!("set correlation {key}");
        self.open(&attempted).await?;
        let ttl = self.settings.admit(key, &entry, ttl)?;
        let (mut counts, mut labels, mut names) = (Counts::default(), Vec::new(), Vec::new());
        let (mut known, mut fields, mut packer) = (HashSet::new(), Vec::new(), Packer::new());
        for fragment in entry.fragments() {
            if known.insert(fragment.id()) {
                counts.absorb(fragment);
                field::add_labels(&mut labels, fragment);
                names.push(*fragment.id().bytes());
                let mut packed = Vec::new();
                packer.pack(fragment, &mut packed);
                fields.push(Value::Bytes(Bytes::copy_from_slice(fragment.id().bytes())));
                fields.push(Value::Bytes(packed.into()));
            }
        }
        for (name, names) in field::order(&names) {
            fields.push(name.into());
            fields.push(Value::Bytes(Bytes::copy_from_slice(names)));
        }
        let times = [entry.first_seen.timestamp_micros(), entry.last_updated.timestamp_micros()];
        let numbers = times.into_iter().chain([ttl.as_micros() as i64]).chain(field::numbers(&counts));
        let mut arguments: Vec<Value> = numbers.map(Value::from).collect();
        arguments.push(Value::Bytes(labels.into()));
        arguments.push(field::write_overrides(&entry.overrides()).into());
        let (deadline, bucket) = (self.router.deadline(), self.keys.of(self.keys.bucket(key)));
        let slot = bucket.slot;
        arguments.push(self.not_after(&attempted, slot, deadline).await?);
        arguments.push((self.settings.grace.as_micros() as i64).into());
        arguments.push((names.len() as i64).into());
        arguments.extend(fields);
        let mut indexed = key_index::Entries::default();
        entry
            .fragments()
            .for_each(|fragment| indexed.add(&self.keys, &key.tenant, key.id.as_str(), fragment));
        indexed.write(&self.router, &self.keys, ttl, &attempted, deadline).await?;
        let keys = bucket.indexes().into_iter().chain([bucket.correlation(key)]).collect();
        let command = script::SET.call(keys, arguments);
        self.router.write(&attempted, slot, vec![command], deadline).await.map(drop)
    }

    async fn delete_correlation(&self, key: &CorrelationKey) -> Result<bool> {
        let attempted = format!("delete correlation {key}");
        self.open(&attempted).await?;
        let (deadline, bucket) = (self.router.deadline(), self.keys.bucket(key));
        let names = self.keys.of(bucket);
        let not_after = self.not_after(&attempted, names.slot, deadline).await?;
        let keys = names.indexes().into_iter().chain([names.gone.clone(), names.correlation(key)]).collect();
        let command = script::DELETE.call(keys, [not_after]);
        let answers = self.router.write(&attempted, names.slot, vec![command], deadline).await?;
        Ok(read_count(&attempted, answers.first())? == 1)
    }

    async fn claim_due(&self, max: usize, lease: Duration) -> Result<Vec<Claim>> {
        self.open("claim correlations").await?;
        closing::claim(&self.router, &self.keys, &self.settings, Wanted::Due, max, lease).await
    }

    async fn claim_active(&self, max: usize, lease: Duration) -> Result<Vec<Claim>> {
        self.open("claim correlations").await?;
        closing::claim(&self.router, &self.keys, &self.settings, Wanted::All, max, lease).await
    }

    async fn finish(&self, finishes: Vec<Finish>) -> Result<Vec<Finished>> {
        self.open("finish correlations").await?;
        closing::finish(&self.router, &self.keys, &self.settings, finishes).await
    }

    async fn release(&self, releases: Vec<Release>) -> Result<()> {
        self.open("release correlations").await?;
        closing::release(&self.router, &self.keys, &self.settings, releases).await
    }

    async fn claim_events(&self, max: usize, lease: Duration) -> Result<Vec<Event>> {
        self.open("claim events").await?;
        closing::claim_events(&self.router, &self.keys, max, lease).await
    }

    async fn put_back_events(&self, events: Vec<PutBack>) -> Result<()> {
        self.open("put back events").await?;
        closing::put_back_events(&self.router, &self.keys, events).await
    }

    async fn remove_events(&self, events: &[EventId]) -> Result<u64> {
        self.open("remove events").await?;
        closing::remove_events(&self.router, &self.keys, events).await
    }

    async fn get_correlations_by_time_range(&self, query: &RangeQuery) -> Result<Page> {
        self.open("list correlations").await?;
        let deadline = self.router.deadline();
        match &query.filter.key {
            Some(key) => key_index::page(&self.router, &self.keys, query, key, deadline).await,
            None => list::page(&self.router, &self.keys, query, deadline).await,
        }
    }

    async fn cleanup_old_correlations(&self, cutoff: DateTime<Utc>) -> Result<u64> {
        let attempted = format!("clean up before {cutoff}");
        self.open(&attempted).await?;
        let cutoff = cutoff.timestamp_micros();
        let mut removed = 0;
        let mut buckets: Vec<Bucket> = self.keys.buckets().collect();
        while !buckets.is_empty() {
            // Each round has its own time: the whole is as large as what is stored.
            let deadline = self.router.deadline();
            let ranges = buckets.iter().map(|bucket| {
                let names = self.keys.of(*bucket);
                let key = Value::Bytes(names.time.clone());
                let (max, limit) = (format!("({cutoff}"), REMOVED_PER_CALL.to_string());
                let rest = ["-inf", &max, "LIMIT", "0", &limit].map(Value::from);
                (names.slot, Command::new("ZRANGEBYSCORE", [key].into_iter().chain(rest)))
            });
            let found = self.router.call_each(&attempted, ranges.collect(), deadline).await;
            let (mut calls, mut unfinished) = (Vec::new(), Vec::new());
            for (bucket, members) in buckets.into_iter().zip(found) {
                let members = members?.into_array().into_iter().filter_map(Value::into_bytes);
                let members: Vec<Bytes> = members.collect();
                if !members.is_empty() {
                    let names = self.keys.of(bucket);
                    let mut keys = self.keys_of(bucket, &members);
                    keys.insert(names.indexes().len(), names.gone.clone());
                    calls.push((names.slot, script::CLEANUP.call(keys, [Value::from(cutoff)])));
                }
                if members.len() == REMOVED_PER_CALL {
                    unfinished.push(bucket);
                }
            }
            for answer in self.router.write_each(&attempted, calls, deadline).await {
                removed += read_count(&attempted, Some(&answer?))?;
            }
            buckets = unfinished;
        }
        Ok(removed)
    }

    async fn expire(&self) -> Result<u64> {
        let attempted = "expire correlations";
        self.open(attempted).await?;
        let (deadline, limits) = (self.router.deadline(), (usize::MAX, REMOVED_PER_CALL));
        let (router, keys) = (&self.router, &self.keys);
        let found = look(router, keys, attempted, |names| &names.exp, Wanted::Due, limits, deadline).await;
        let freed = self.free(attempted, &found.members, deadline).await?;
        found.unanswered.map_or(Ok(freed), Err)
    }

    async fn get_correlation_count(&self) -> Result<u64> {
        let attempted = "count correlations";
        self.open(attempted).await?;
        let mut sum = 0;
        let mut buckets: Vec<Bucket> = self.keys.buckets().collect();
        while !buckets.is_empty() {
            let deadline = self.router.deadline();
            let mut expired = Vec::new();
            for (count, bucket, due) in self.count(attempted, buckets, deadline).await? {
                if due.is_empty() {
                    sum += count;
                } else {
                    expired.push((bucket, due));
                }
            }
            self.free(attempted, &expired, deadline).await?;
            // Counted again without them.
            buckets = expired.into_iter().map(|(bucket, _)| bucket).collect();
        }
        Ok(sum)
    }

    async fn get_ledger(&self) -> Result<Ledger> {
        self.open("read the ledger").await?;
        ledger::read(&self.router, &self.keys).await
    }

    async fn note_refused(&self, refused: Vec<Refused>) -> Result<()> {
        self.open("note what was refused").await?;
        ledger::note_refused(&self.router, &self.keys, &refused).await
    }

    async fn ready(&self) -> Result<()> {
        let reached = self.reach().await;
        metric::up(reached.is_ok());
        self.router.servers().clock_skew().into_iter().for_each(metric::clock_skew);
        reached
    }

    fn backend(&self) -> Backend {
        if self.router.servers().are_clustered() { Backend::RedisCluster } else { Backend::Redis }
    }

    async fn state_id(&self) -> Result<String> {
        self.open("tell the id of the state").await.map(|schema| schema.id.clone())
    }

    async fn close(&self) -> Result<()> {
        self.router.servers().close().await;
        Ok(())
    }
}
