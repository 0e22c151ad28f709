//! Every fault: what it is called, whom it touches, how it is done and how it is healed.

mod slot;

use std::time::Duration;

use futures::future::try_join_all;
use testbed::redis::{Network, Shard};
use tokio::time::{Instant, sleep};

use crate::deployment::Deployment;

/// How long a fault lasts that does not heal by itself, unless it says otherwise.
const LASTS: Duration = Duration::from_secs(3);
/// Off by this much.
const CLOCK_OFF_SECONDS: i32 = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    KillPrimary,
    KillPrimaryLagging,
    KillReplica,
    HangPrimary,
    HangReplica,
    RestartPrimary,
    Failover,
    MoveSlot,
    ScriptFlush,
    FullMemory,
    Eviction,
    Cut,
    HalfOpen,
    LostAnswers,
    SlowLink2,
    SlowLink300,
    ClockForward,
    ClockBack,
    AllHang,
    AllRestart,
    RollingRestart,
}

/// Whose requests a fault may disturb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those of the first shard.
    One,
    /// Those of the first two.
    Two,
    All,
}

/// When a fault was, and when what had to be healed from outside was healed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    pub(crate) began: Instant,
    pub(crate) healed: Option<Instant>,
}

impl Course {
    fn by_itself(began: Instant) -> Self {
        Self { began, healed: None }
    }

    fn healed(began: Instant) -> Self {
        Self { began, healed: Some(Instant::now()) }
    }
}

impl Fault {
    pub(crate) const ALL: [Self; 21] = [
        Self::KillPrimary,
        Self::KillPrimaryLagging,
        Self::KillReplica,
        Self::HangPrimary,
        Self::HangReplica,
        Self::RestartPrimary,
        Self::Failover,
        Self::MoveSlot,
        Self::ScriptFlush,
        Self::FullMemory,
        Self::Eviction,
        Self::Cut,
        Self::HalfOpen,
        Self::LostAnswers,
        Self::SlowLink2,
        Self::SlowLink300,
        Self::ClockForward,
        Self::ClockBack,
        Self::AllHang,
        Self::AllRestart,
        Self::RollingRestart,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KillPrimary => "kill-primary",
            Self::KillPrimaryLagging => "kill-primary-lagging",
            Self::KillReplica => "kill-replica",
            Self::HangPrimary => "hang-primary",
            Self::HangReplica => "hang-replica",
            Self::RestartPrimary => "restart-primary",
            Self::Failover => "failover",
            Self::MoveSlot => "move-slot",
            Self::ScriptFlush => "script-flush",
            Self::FullMemory => "full-memory",
            Self::Eviction => "eviction-policy",
            Self::Cut => "cut",
            Self::HalfOpen => "half-open",
            Self::LostAnswers => "lost-answers",
            Self::SlowLink2 => "slow-link-2ms",
            Self::SlowLink300 => "slow-link-300ms",
            Self::ClockForward => "clock-plus-5min",
            Self::ClockBack => "clock-minus-5min",
            Self::AllHang => "all-hang",
            Self::AllRestart => "all-restart",
            Self::RollingRestart => "rolling-restart",
        }
    }

    pub(crate) fn reach(self) -> Reach {
        match self {
            Self::MoveSlot => Reach::Two,
            Self::ScriptFlush | Self::AllHang | Self::AllRestart | Self::RollingRestart => Reach::All,
            _ => Reach::One,
        }
    }

    /// Whether what was written before is due for closing only minutes later.
    pub(crate) fn turns_the_clock_back(self) -> bool {
        self == Self::ClockBack
    }

    /// What has to be there before the load begins.
    pub(crate) async fn prepare(self, deployment: &Deployment) -> anyhow::Result<()> {
        let seconds = match self {
            Self::ClockForward => CLOCK_OFF_SECONDS,
            Self::ClockBack => -CLOCK_OFF_SECONDS,
            _ => return Ok(()),
        };
        for replica in &deployment.shards().await?[0].replicas {
            let node = deployment.node(*replica);
            node.set_clock(seconds)?;
            node.terminate().await?;
            node.restart().await?;
        }
        deployment.heal().await
    }

    /// Undoes what `prepare` did; to be called when nothing runs any more.
    pub(crate) async fn tidy(self, deployment: &Deployment) -> anyhow::Result<()> {
        if matches!(self, Self::ClockForward | Self::ClockBack) {
            for node in deployment.nodes() {
                node.set_clock(0)?;
            }
            restart_all(deployment).await?;
        }
        Ok(())
    }

    /// Does it to the first of the shards, and heals what does not heal by itself.
    pub(crate) async fn happen(
        self,
        deployment: &Deployment,
        shards: &[Shard],
        all_away: Duration,
    ) -> anyhow::Result<Course> {
        let Shard { primary, replicas } = &shards[0];
        let (node, replica) = (deployment.node(*primary), deployment.node(replicas[0]));
        match self {
            Self::KillPrimary | Self::ClockForward | Self::ClockBack => {
                let began = Instant::now();
                node.process().kill()?;
                after_death(deployment, *primary, replicas, began).await
            }
            Self::KillPrimaryLagging => {
                let began = Instant::now();
                replica.process().pause()?;
                // Without its connection, not even the kernel receives for the replica.
                node.command(&["CLIENT", "KILL", "TYPE", "replica"]).await?;
                sleep(Duration::from_millis(300)).await;
                node.process().kill()?;
                replica.process().resume()?;
                after_death(deployment, *primary, replicas, began).await
            }
            Self::KillReplica => {
                let began = Instant::now();
                replica.process().kill()?;
                sleep(LASTS).await;
                replica.restart().await?;
                Ok(Course::healed(began))
            }
            Self::HangPrimary => {
                let began = Instant::now();
                node.process().pause()?;
                deployment.wait_for_failover(replicas).await?;
                // Longer, so that it wakes up long after it was replaced.
                sleep(Duration::from_secs(1)).await;
                node.process().resume()?;
                Ok(if replicas.len() > 1 { Course::by_itself(began) } else { Course::healed(began) })
            }
            Self::HangReplica => {
                let began = Instant::now();
                replica.process().pause()?;
                sleep(LASTS).await;
                replica.process().resume()?;
                Ok(Course::healed(began))
            }
            Self::RestartPrimary => {
                let began = Instant::now();
                node.terminate().await?;
                node.restart().await?;
                Ok(Course::healed(began))
            }
            Self::Failover => {
                let began = Instant::now();
                replica.command(&["CLUSTER", "FAILOVER"]).await?;
                deployment.wait_for_failover(&replicas[..1]).await?;
                Ok(Course::by_itself(began))
            }
            Self::MoveSlot => {
                let began = Instant::now();
                slot::move_two_buckets(deployment, *primary, shards[1].primary).await?;
                // And as many back, so that the next trial finds buckets on every shard.
                slot::move_two_buckets(deployment, shards[1].primary, *primary).await?;
                Ok(Course::by_itself(began))
            }
            Self::ScriptFlush => {
                let began = Instant::now();
                let flush = async |index| deployment.node(index).command(&["SCRIPT", "FLUSH"]).await;
                try_join_all((0..deployment.nodes().len()).map(flush)).await?;
                Ok(Course::by_itself(began))
            }
            Self::FullMemory => self.configure(deployment, &shards[0], "maxmemory", "1mb", "0").await,
            Self::Eviction => {
                self.configure(deployment, &shards[0], "maxmemory-policy", "allkeys-lru", "noeviction").await
            }
            Self::Cut => network(deployment, *primary, Network::Cut).await,
            Self::HalfOpen => network(deployment, *primary, Network::Silent).await,
            Self::LostAnswers => network(deployment, *primary, Network::LosesAnswers).await,
            Self::SlowLink2 => network(deployment, *primary, Network::Slow(Duration::from_millis(2))).await,
            Self::SlowLink300 => {
                network(deployment, *primary, Network::Slow(Duration::from_millis(300))).await
            }
            Self::AllHang => {
                let began = Instant::now();
                deployment.nodes().iter().try_for_each(|node| node.process().pause())?;
                sleep(all_away).await;
                deployment.nodes().iter().try_for_each(|node| node.process().resume())?;
                Ok(Course::healed(began))
            }
            Self::AllRestart => {
                let began = Instant::now();
                restart_all(deployment).await?;
                Ok(Course::healed(began))
            }
            Self::RollingRestart => {
                let began = Instant::now();
                for node in deployment.nodes() {
                    node.terminate().await?;
                    node.restart().await?;
                    deployment.heal().await?;
                }
                Ok(Course::healed(began))
            }
        }
    }

    async fn configure(
        self,
        deployment: &Deployment,
        shard: &Shard,
        name: &str,
        wrong: &str,
        right: &str,
    ) -> anyhow::Result<Course> {
        let began = Instant::now();
        for value in [wrong, right] {
            for index in [shard.primary].iter().chain(&shard.replicas) {
                deployment.node(*index).command(&["CONFIG", "SET", name, value]).await?;
            }
            if value == wrong {
                sleep(LASTS).await;
            }
        }
        Ok(Course::healed(began))
    }
}

/// With one replica for each primary, a write is confirmed again when the dead one is back.
async fn after_death(
    deployment: &Deployment,
    dead: usize,
    replicas: &[usize],
    began: Instant,
) -> anyhow::Result<Course> {
    deployment.wait_for_failover(replicas).await?;
    if replicas.len() > 1 {
        return Ok(Course::by_itself(began));
    }
    deployment.node(dead).restart().await?;
    Ok(Course::healed(began))
}

async fn network(deployment: &Deployment, node: usize, fault: Network) -> anyhow::Result<Course> {
    let began = Instant::now();
    let proxy = deployment.node(node).proxy();
    proxy.turn(fault);
    sleep(LASTS).await;
    proxy.turn(Network::Whole);
    Ok(Course::healed(began))
}

async fn restart_all(deployment: &Deployment) -> anyhow::Result<()> {
    try_join_all(deployment.nodes().iter().map(async |node| node.terminate().await)).await?;
    try_join_all(deployment.nodes().iter().map(async |node| node.restart().await)).await.map(drop)
}
