//! Makes a cluster whole again after servers have failed, and sees what became of it meanwhile.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep};

use super::{RedisCluster, Shard};

/// Time between two looks at a server.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Generous for a failover on a busy machine.
const FAILOVER_DEADLINE: Duration = Duration::from_secs(30);

impl RedisCluster {
    /// Starts what has ended and waits until the cluster is whole, with every replica in its place.
    ///
    /// # Errors
    /// When it is not within half a minute after its servers agree.
    pub async fn mend(&self) -> anyhow::Result<()> {
        for node in self.nodes() {
            if node.process().exit_status()?.is_some() {
                node.restart().await?;
            }
        }
        let deadline = Instant::now() + FAILOVER_DEADLINE;
        loop {
            self.wait_healthy().await?;
            let shards = self.shards().await?;
            let is_whole = |shard: &Shard| shard.replicas.len() == self.replicas_per_primary();
            let are_all_here = shards.len() == self.primaries() && shards.iter().all(is_whole);
            if are_all_here && self.have_replicas(&shards).await? {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the cluster did not become whole: {shards:?}");
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Whether each primary sees all its replicas.
    async fn have_replicas(&self, shards: &[Shard]) -> anyhow::Result<bool> {
        for shard in shards {
            let said = self.nodes()[shard.primary].command(&["INFO", "replication"]).await?;
            if said.matches("state=online").count() != self.replicas_per_primary() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits until one of the replicas has taken the place of its primary.
    ///
    /// # Errors
    /// When none has within half a minute.
    pub async fn wait_for_failover(&self, replicas: &[usize]) -> anyhow::Result<()> {
        let deadline = Instant::now() + FAILOVER_DEADLINE;
        loop {
            for replica in replicas {
                let role = self.nodes()[*replica].command(&["ROLE"]).await;
                if role.is_ok_and(|role| role.starts_with("master")) {
                    return Ok(());
                }
            }
            ensure!(Instant::now() < deadline, "no replica took over within {FAILOVER_DEADLINE:?}");
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Id of a node in its cluster.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn id_of(&self, index: usize) -> anyhow::Result<String> {
        let id =
            self.nodes()[index].command(&["CLUSTER", "MYID"]).await.context("failed to ask for an id")?;
        Ok(id.trim().to_owned())
    }
}
