//! How each fault is done to a cluster, and how it is healed.

use std::time::Duration;

use futures::future::try_join_all;
use tokio::time::{Instant, sleep};

use super::{Course, Fault, Lasting, slot};
use crate::redis::{Network, RedisCluster, RedisNode, Shard};

/// Off by this much.
const CLOCK_OFF_SECONDS: i32 = 300;

impl Fault {
    /// What has to be there before it happens to a shard.
    ///
    /// # Errors
    /// When a server does not start again, or libfaketime is not installed.
    pub async fn prepare(self, cluster: &RedisCluster, shard: &Shard) -> anyhow::Result<()> {
        let seconds = match self {
            Self::ClockForward => CLOCK_OFF_SECONDS,
            Self::ClockBack => -CLOCK_OFF_SECONDS,
            _ => return Ok(()),
        };
        // The primary has that clock too once it is back: a shard has one time.
        cluster.nodes()[shard.primary].process().set_clock(seconds)?;
        for replica in &shard.replicas {
            let node = &cluster.nodes()[*replica];
            node.process().set_clock(seconds)?;
            node.terminate().await?;
            node.restart().await?;
        }
        cluster.mend().await
    }

    /// Undoes what `prepare` did; to be called when nothing runs any more.
    ///
    /// # Errors
    /// When a server does not start again.
    pub async fn tidy(self, cluster: &RedisCluster) -> anyhow::Result<()> {
        if matches!(self, Self::ClockForward | Self::ClockBack) {
            for node in cluster.nodes() {
                node.process().set_clock(0)?;
            }
            restart_all(cluster).await?;
        }
        Ok(())
    }

    /// Does it to the first of the shards, and heals what does not heal by itself. A server that is not
    /// needed for that may stay dead: see [`RedisCluster::mend`].
    ///
    /// # Errors
    /// When it cannot be done or healed.
    pub async fn happen(
        self,
        cluster: &RedisCluster,
        shards: &[Shard],
        lasting: Lasting,
    ) -> anyhow::Result<Course> {
        let Shard { primary, replicas } = &shards[0];
        let (node, replica) = (&cluster.nodes()[*primary], &cluster.nodes()[replicas[0]]);
        match self {
            Self::KillPrimary | Self::ClockForward | Self::ClockBack => {
                let began = Instant::now();
                node.process().kill()?;
                after_death(cluster, *primary, replicas, began).await
            }
            Self::KillPrimaryLagging => {
                let began = Instant::now();
                replica.process().pause()?;
                // Without its connection, not even the kernel receives for the replica.
                node.command(&["CLIENT", "KILL", "TYPE", "replica"]).await?;
                sleep(Duration::from_millis(300)).await;
                node.process().kill()?;
                replica.process().resume()?;
                after_death(cluster, *primary, replicas, began).await
            }
            Self::KillReplica => {
                let began = Instant::now();
                replica.process().kill()?;
                sleep(lasting.fault).await;
                replica.restart().await?;
                Ok(Course::healed(began))
            }
            Self::HangPrimary => {
                let began = Instant::now();
                node.process().pause()?;
                cluster.wait_for_failover(replicas).await?;
                // Longer, so that it wakes up long after it was replaced.
                sleep(Duration::from_secs(1)).await;
                node.process().resume()?;
                Ok(if replicas.len() > 1 { Course::by_itself(began) } else { Course::healed(began) })
            }
            Self::HangReplica => {
                let began = Instant::now();
                replica.process().pause()?;
                sleep(lasting.fault).await;
                replica.process().resume()?;
                Ok(Course::healed(began))
            }
            Self::RestartPrimary => {
                let began = Instant::now();
                node.terminate().await?;
                node.restart().await?;
                Ok(Course::healed(began))
            }
            Self::CrashPrimary => {
                let began = Instant::now();
                // Back before it is missed: nobody takes its place.
                node.process().kill()?;
                node.restart().await?;
                Ok(Course::healed(began))
            }
            Self::Failover => {
                let began = Instant::now();
                replica.command(&["CLUSTER", "FAILOVER"]).await?;
                cluster.wait_for_failover(&replicas[..1]).await?;
                Ok(Course::by_itself(began))
            }
            Self::MoveSlot => {
                let began = Instant::now();
                slot::move_two_buckets(cluster, *primary, shards[1].primary).await?;
                // And as many back, so that the next trial finds buckets on every shard.
                slot::move_two_buckets(cluster, shards[1].primary, *primary).await?;
                Ok(Course::by_itself(began))
            }
            Self::ScriptFlush => {
                let began = Instant::now();
                let flush = cluster.nodes().iter().map(async |node| node.command(&["SCRIPT", "FLUSH"]).await);
                try_join_all(flush).await?;
                Ok(Course::by_itself(began))
            }
            Self::FullMemory => configure(cluster, &shards[0], lasting, ("maxmemory", "1mb", "0")).await,
            Self::Eviction => {
                let policy = ("maxmemory-policy", "allkeys-lru", "noeviction");
                configure(cluster, &shards[0], lasting, policy).await
            }
            Self::Cut => network(node, Network::Cut, lasting).await,
            Self::HalfOpen => network(node, Network::Silent, lasting).await,
            Self::LostAnswers => network(node, Network::LosesAnswers, lasting).await,
            Self::SlowLink2 => network(node, Network::Slow(Duration::from_millis(2)), lasting).await,
            Self::SlowLink300 => network(node, Network::Slow(Duration::from_millis(300)), lasting).await,
            Self::AllHang => {
                let began = Instant::now();
                cluster.nodes().iter().try_for_each(|node| node.process().pause())?;
                sleep(lasting.all_away).await;
                cluster.nodes().iter().try_for_each(|node| node.process().resume())?;
                Ok(Course::healed(began))
            }
            Self::AllRestart => {
                let began = Instant::now();
                restart_all(cluster).await?;
                Ok(Course::healed(began))
            }
            Self::RollingRestart => {
                let began = Instant::now();
                for node in cluster.nodes() {
                    node.terminate().await?;
                    node.restart().await?;
                    cluster.mend().await?;
                }
                Ok(Course::healed(began))
            }
        }
    }
}

/// Sets something wrong on every server of a shard for a while, and then right again.
async fn configure(
    cluster: &RedisCluster,
    shard: &Shard,
    lasting: Lasting,
    (name, wrong, right): (&str, &str, &str),
) -> anyhow::Result<Course> {
    let began = Instant::now();
    for value in [wrong, right] {
        for index in [shard.primary].iter().chain(&shard.replicas) {
            cluster.nodes()[*index].command(&["CONFIG", "SET", name, value]).await?;
        }
        if value == wrong {
            sleep(lasting.fault).await;
        }
    }
    Ok(Course::healed(began))
}

/// With one replica for each primary, a write is confirmed again when the dead one is back.
async fn after_death(
    cluster: &RedisCluster,
    dead: usize,
    replicas: &[usize],
    began: Instant,
) -> anyhow::Result<Course> {
    cluster.wait_for_failover(replicas).await?;
    if replicas.len() > 1 {
        return Ok(Course::by_itself(began));
    }
    cluster.nodes()[dead].restart().await?;
    Ok(Course::healed(began))
}

async fn network(node: &RedisNode, fault: Network, lasting: Lasting) -> anyhow::Result<Course> {
    let began = Instant::now();
    node.proxy().turn(fault);
    sleep(lasting.fault).await;
    node.proxy().turn(Network::Whole);
    Ok(Course::healed(began))
}

async fn restart_all(cluster: &RedisCluster) -> anyhow::Result<()> {
    try_join_all(cluster.nodes().iter().map(async |node| node.terminate().await)).await?;
    try_join_all(cluster.nodes().iter().map(async |node| node.restart().await)).await.map(drop)
}
