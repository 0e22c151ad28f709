//! What must be true of Redis before the store serves: its version, its settings, and the layout.

use state_core::Result;
use tokio::time::Instant;

use crate::{error, keys::Keys, link::Command, node::Node, router::Router};

/// Version of the layout in `keys.rs` and `field.rs`. Another one is refused.
const LAYOUT: u32 = 1;

/// Checks every primary, and writes the layout or finds the same. Answers how many replicas every
/// primary had when the layout was written.
///
/// # Errors
/// Not retryable, with what to do about it, unless a server did not answer.
pub(crate) async fn verify(router: &Router, keys: &Keys, deadline: Instant) -> Result<usize> {
    const ATTEMPTED: &str = "verify the Redis servers";
    let mut replicas = usize::MAX;
    for node in router.primaries() {
        replicas = replicas.min(verify_server(ATTEMPTED, &node).await?);
    }
    verify_layout(router, keys, replicas, deadline).await
}

/// Checks one primary; answers how many replicas are connected to it.
async fn verify_server(attempted: &str, node: &Node) -> Result<usize> {
    let sections = ["server", "memory", "replication"].map(|section| Command::new("INFO", [section]));
    let info = node.send(sections.into()).await;
    let info = info.map_err(|error| error::redis(attempted, error))?;
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

async fn verify_layout(router: &Router, keys: &Keys, replicas: usize, deadline: Instant) -> Result<usize> {
    let attempted = format!("verify the layout in key {}", keys.schema());
    let layout = format!("layout={LAYOUT} buckets={}", keys.buckets().count());
    let schema = format!("{layout} replicas={replicas}");
    let commands = vec![
        Command::new("SET", [keys.schema(), schema.as_str(), "NX"]),
        Command::new("GET", [keys.schema()]),
    ];
    let answers = router.call(&attempted, keys.schema_slot(), commands, deadline).await?;
    let found = answers.into_iter().nth(1).and_then(|value| value.into_string()).unwrap_or_default();
    let replicas = found.strip_prefix(&layout).and_then(|rest| rest.strip_prefix(" replicas=")?.parse().ok());
    replicas.ok_or_else(|| {
        let reason = format!(
            "Redis holds {found:?}, this process is configured for {layout:?}; configure the same number of \
             buckets, or another key prefix for a state of its own"
        );
        error::misconfigured(&attempted, reason)
    })
}
