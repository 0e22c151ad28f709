//! Planned changes of the Redis Cluster, under load.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use testbed::redis::{Fault, Lasting};

use crate::rollout::Rollout;

/// A planned failover heals by itself.
const NOTHING_LASTS: Lasting = Lasting { fault: Duration::ZERO, all_away: Duration::ZERO };

/// `CLUSTER FAILOVER` at a replica of each shard.
pub(super) async fn fail_over(rollout: &mut Rollout) -> anyhow::Result<String> {
    let redis = &rollout.site.redis;
    let shards = redis.shards().await?;
    for shard in &shards {
        Fault::Failover.happen(redis, std::slice::from_ref(shard), NOTHING_LASTS).await?;
        redis.wait_healthy().await?;
    }
    Ok(format!("replicas of {} shards took over", shards.len()))
}

/// A primary with its replica, and slots from all others to it.
pub(super) async fn add_shard(rollout: &mut Rollout) -> anyhow::Result<String> {
    let redis = &mut rollout.site.redis;
    redis.add_shard().await?;
    redis.rebalance().await?;
    let shards = redis.shards().await?;
    ensure!(
        shards.len() == redis.primaries(),
        "{} of {} primaries have slots",
        shards.len(),
        redis.primaries()
    );
    let mut keys = Vec::new();
    for shard in &shards {
        let size = redis.nodes()[shard.primary].command(&["DBSIZE"]).await?;
        keys.push(size.trim().parse::<u64>().context("Redis does not tell how many keys it has")?);
    }
    ensure!(!keys.contains(&0), "a primary holds nothing: {keys:?}");
    Ok(format!("{} primaries hold {keys:?} keys", keys.len()))
}
