//! What must be true of Redis before the store serves: its version, its settings, and the layout.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use fred::prelude::Value;
use futures::future::try_join_all;
use state_core::Result;
use tokio::time::Instant;

use crate::{error, keys::Keys, link::Command, node::Node, router::Router};

/// Version of the layout in `keys.rs`, `field.rs` and `packed.rs`. Another one is refused.
const LAYOUT: u32 = 5;

/// What was written at the first start beside the layout.
#[derive(Debug)]
pub(crate) struct Schema {
    /// How many replicas every primary had.
    pub(crate) replicas: usize,
    /// Random: tells this state from all others.
    pub(crate) id: String,
}

/// Writes the layout or finds the same. Answers what else was written at the first start.
///
/// # Errors
/// Another layout is there: not retryable, with what to do about it.
pub(crate) async fn verify(router: &Router, keys: &Keys, deadline: Instant) -> Result<Schema> {
    let attempted = format!("verify the layout in key {}", keys.schema());
    let layout = format!("layout={LAYOUT} buckets={}", keys.buckets().count());
    let call = |command| router.call(&attempted, keys.schema_slot(), vec![command], deadline);
    let read = || Command::new("GET", [keys.schema()]);
    let mut found = call(read()).await?.pop().and_then(Value::into_string);
    if found.is_none() {
        // The first start has to see all servers; later ones may do with those that live.
        let primaries = router.servers().primaries();
        let inspections = try_join_all(primaries.iter().map(|node| inspect(&attempted, node)));
        let replicas = inspections.await?.into_iter().min().unwrap_or_default();
        // The standard library seeds it from the operating system's random numbers.
        let schema = format!("{layout} replicas={replicas} id={:016x}", RandomState::new().hash_one(LAYOUT));
        // What later starts go by must not be lost with the server that wrote it.
        router.replicas().require(replicas.min(1));
        let set = vec![Command::new("SET", [keys.schema(), schema.as_str(), "NX"])];
        router.write(&attempted, keys.schema_slot(), set, deadline).await?;
        found = call(read()).await?.pop().and_then(Value::into_string);
    }
    let found = found.unwrap_or_default();
    let first_start = || {
        let (replicas, id) = found.strip_prefix(&layout)?.strip_prefix(" replicas=")?.split_once(" id=")?;
        Some(Schema { replicas: replicas.parse().ok()?, id: id.to_owned() })
    };
    first_start().ok_or_else(|| {
        let what_to_do = if found.starts_with(&format!("layout={LAYOUT} ")) {
            "configure the same number of buckets, or another key prefix for a state of its own"
        } else {
            "run the version that wrote it until its state has expired, and then remove the key; or configure another \
             key prefix for a state of its own"
        };
        let reason = format!("Redis holds {found:?}, this process needs {layout:?}; {what_to_do}");
        error::misconfigured(&attempted, reason)
    })
}

/// For how long a primary that was found fit is only asked whether it answers. It is asked each second by
/// each engine, and what it tells of itself costs it far more.
const FIT_FOR: Duration = Duration::from_secs(10);

/// Looks whether a primary answers, and now and then whether it is fit to keep state.
///
/// # Errors
/// As of [`inspect`].
pub(crate) async fn reach(attempted: &str, node: &Node) -> Result<()> {
    if !node.was_fit_within(FIT_FOR) {
        return inspect(attempted, node).await.map(drop);
    }
    let answer = node.send(vec![Command::bare("PING")]).await;
    answer.map(drop).map_err(|error| error::redis(attempted, Some(&node.address), &error))
}

/// Looks whether a primary is fit to keep state; answers how many replicas are connected to it.
///
/// # Errors
/// It cannot be, or does not answer.
pub(crate) async fn inspect(attempted: &str, node: &Node) -> Result<usize> {
    let info = node.send(vec![Command::new("INFO", ["server", "memory", "replication"])]).await;
    let info = info.map_err(|error| {
        // Several sections at once are new in Redis 7.
        if error.details().contains("syntax error") {
            let reason = format!("the server at {} is older than Redis 7.0", node.address);
            return error::misconfigured(attempted, reason);
        }
        error::redis(attempted, Some(&node.address), &error)
    })?;
    let info: String = info.into_iter().filter_map(|text| text.into_string()).collect();
    let field =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let address = &node.address;

    let version = field("redis_version").unwrap_or("unknown");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < 7) {
        let reason = format!("the server at {address} is Redis {version}; 7.0 or later is needed");
        return Err(error::misconfigured(attempted, reason));
    }
    match field("maxmemory_policy") {
        // A server may hide it; then it is the operator's word that counts.
        // The slot map is no help here: it leaves out a replica that has not received anything yet.
        None | Some("noeviction") => {
            node.set_fit();
            Ok(field("connected_slaves").and_then(|count| count.parse().ok()).unwrap_or_default())
        }
        Some(policy) => Err(error::unavailable(
            attempted,
            format!(
                "the server at {address} has maxmemory-policy {policy}, which removes acknowledged state \
                 without a word; set it to noeviction"
            ),
        )),
    }
}
