//! CPU and commands: what was used between two moments, by this process and by every Redis server.

use std::time::Duration;

use anyhow::Context as _;
use bench_kit::cpu;
use testbed::redis::RedisNode;
use tokio::time::Instant;

use crate::deployment::Deployed;

/// What something took, or what had been taken at a moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// CPU of this process, user and system.
    pub(crate) client: Duration,
    /// CPU of all Redis servers that take writes, children for append-only files included.
    pub(crate) primaries: Duration,
    /// CPU of those that follow them.
    pub(crate) replicas: Duration,
    /// Commands that primaries processed, those within scripts included.
    pub(crate) commands: u64,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.wall += other.wall;
        self.client += other.client;
        self.primaries += other.primaries;
        self.replicas += other.replicas;
        self.commands += other.commands;
    }
}

/// Reads the meters before and after.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    deployed: &'a Deployed,
    before: Cost,
    begin: Instant,
}

impl<'a> Meter<'a> {
    pub(crate) async fn start(deployed: &'a Deployed) -> anyhow::Result<Self> {
        let mut before = servers(deployed).await?;
        before.client = cpu::of_this_process()?;
        Ok(Self { deployed, before, begin: Instant::now() })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<Cost> {
        let (wall, client) = (self.begin.elapsed(), cpu::of_this_process()?);
        let after = servers(self.deployed).await?;
        Ok(Cost {
            wall,
            client: client.saturating_sub(self.before.client),
            primaries: after.primaries.saturating_sub(self.before.primaries),
            replicas: after.replicas.saturating_sub(self.before.replicas),
            commands: after.commands.saturating_sub(self.before.commands),
        })
    }
}

async fn servers(deployed: &Deployed) -> anyhow::Result<Cost> {
    let mut cost = Cost::default();
    for node in deployed.primaries() {
        let (cpu, commands) = server(node).await?;
        cost.primaries += cpu;
        cost.commands += commands;
    }
    for node in deployed.replicas() {
        cost.replicas += server(node).await?.0;
    }
    Ok(cost)
}

async fn server(node: &RedisNode) -> anyhow::Result<(Duration, u64)> {
    let info = node.command(&["INFO", "cpu", "stats"]).await?;
    let mut seconds = 0.0;
    for name in ["used_cpu_user", "used_cpu_sys", "used_cpu_user_children", "used_cpu_sys_children"] {
        seconds += field(&info, name)?;
    }
    Ok((Duration::from_secs_f64(seconds), field(&info, "total_commands_processed")? as u64))
}

/// A number that a server tells of itself.
pub(crate) fn field(info: &str, name: &str) -> anyhow::Result<f64> {
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = value.with_context(|| format!("INFO of Redis has no {name}"))?;
    value.trim().parse().with_context(|| format!("INFO of Redis has {name}:{value}"))
}
