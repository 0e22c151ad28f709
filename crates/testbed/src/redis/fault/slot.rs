//! Moves slots from one primary to another under load, key by key, as `redis-cli` does.

use anyhow::ensure;

use crate::redis::RedisCluster;

/// Passes over the keys of a slot; a key that is written meanwhile is in the next one.
const PASSES_MAX: usize = 100;
/// Keys that move at once.
const KEYS_PER_CALL: &str = "100";

/// Moves two buckets of `from`, each of which is a slot.
pub(super) async fn move_two_buckets(cluster: &RedisCluster, from: usize, to: usize) -> anyhow::Result<()> {
    let node = &cluster.nodes()[from];
    let indexes = node.command(&["KEYS", "*time:*"]).await?;
    let indexes: Vec<&str> = indexes.lines().take(2).collect();
    ensure!(indexes.len() == 2, "the shard holds fewer than two buckets: {indexes:?}");
    for index in indexes {
        let slot = node.command(&["CLUSTER", "KEYSLOT", index]).await?;
        move_slot(cluster, slot.trim(), from, to).await?;
    }
    Ok(())
}

async fn move_slot(cluster: &RedisCluster, slot: &str, from: usize, to: usize) -> anyhow::Result<()> {
    let (source, target) = (&cluster.nodes()[from], &cluster.nodes()[to]);
    let (source_id, target_id) = (cluster.id_of(from).await?, cluster.id_of(to).await?);
    target.command(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &source_id]).await?;
    source.command(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &target_id]).await?;
    let (host, port) = (target.address().ip().to_string(), target.address().port().to_string());
    for _ in 0..PASSES_MAX {
        let keys = source.command(&["CLUSTER", "GETKEYSINSLOT", slot, KEYS_PER_CALL]).await?;
        let keys: Vec<&str> = keys.lines().map(str::trim).filter(|key| !key.is_empty()).collect();
        if keys.is_empty() {
            // The target first: then nobody is sent to where the slot is not any more.
            for node in [target, source] {
                node.command(&["CLUSTER", "SETSLOT", slot, "NODE", &target_id]).await?;
            }
            return Ok(());
        }
        let mut words = vec!["MIGRATE", &host, &port, "", "0", "5000", "KEYS"];
        words.extend(keys);
        source.command(&words).await?;
    }
    anyhow::bail!("slot {slot} still held keys after {PASSES_MAX} passes")
}
