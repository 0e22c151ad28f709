//! The servers that suffer the faults: a cluster of real processes behind proxies.

use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;
use testbed::{
    RedisCluster, Topology,
    redis::{Options, Program, RedisNode, Shard},
};
use tokio::time::{Instant, sleep};

/// A failover with this takes some two seconds; the default of Redis is 15,000.
const NODE_TIMEOUT_MS: u64 = 1_000;
/// Time between two looks at a server.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Generous for a failover on a busy machine.
const FAILOVER_DEADLINE: Duration = Duration::from_secs(30);

/// What the servers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Server {
    Redis,
    Valkey,
}

/// Shape of the cluster: three primaries, and replicas of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
pub(crate) enum Shape {
    /// One replica for each primary.
    #[value(name = "3+3")]
    #[serde(rename = "3+3")]
    OneReplica,
    /// Two replicas for each primary.
    #[value(name = "3x(1+2)")]
    #[serde(rename = "3x(1+2)")]
    TwoReplicas,
}

impl Shape {
    pub(crate) fn replicas(self) -> usize {
        match self {
            Self::OneReplica => 1,
            Self::TwoReplicas => 2,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneReplica => "3+3",
            Self::TwoReplicas => "3x(1+2)",
        }
    }
}

impl Server {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
        }
    }
}

/// A cluster that runs; ends when dropped.
#[derive(Debug)]
pub(crate) struct Deployment {
    cluster: RedisCluster,
    pub(crate) shape: Shape,
}

impl Deployment {
    pub(crate) async fn start(server: Server, shape: Shape) -> anyhow::Result<Self> {
        let program = match server {
            Server::Redis => Program::Redis,
            Server::Valkey => Program::Valkey,
        };
        let options = Options { program, proxied: true, ..Options::default() };
        let topology = Topology {
            replicas_per_primary: shape.replicas(),
            node_timeout_ms: NODE_TIMEOUT_MS,
            options,
            ..Topology::default()
        };
        Ok(Self { cluster: RedisCluster::start(topology).await?, shape })
    }

    pub(crate) fn url(&self) -> String {
        self.cluster.url()
    }

    pub(crate) fn nodes(&self) -> &[RedisNode] {
        self.cluster.nodes()
    }

    pub(crate) fn node(&self, index: usize) -> &RedisNode {
        &self.cluster.nodes()[index]
    }

    pub(crate) async fn shards(&self) -> anyhow::Result<Vec<Shard>> {
        self.cluster.shards().await
    }

    /// Starts what has ended and waits until the cluster is whole, with every replica in its place.
    pub(crate) async fn heal(&self) -> anyhow::Result<()> {
        for node in self.nodes() {
            if node.process().exit_status()?.is_some() {
                node.restart().await?;
            }
        }
        let deadline = Instant::now() + FAILOVER_DEADLINE;
        loop {
            self.cluster.wait_healthy().await?;
            let shards = self.shards().await?;
            let is_whole = |shard: &Shard| shard.replicas.len() == self.shape.replicas();
            if shards.len() == 3 && shards.iter().all(is_whole) && self.have_replicas(&shards).await? {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "the cluster did not become whole: {shards:?}");
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Whether each primary sees all its replicas.
    async fn have_replicas(&self, shards: &[Shard]) -> anyhow::Result<bool> {
        for shard in shards {
            let said = self.node(shard.primary).command(&["INFO", "replication"]).await?;
            if said.matches("state=online").count() != self.shape.replicas() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes everything, so that one fault leaves the next nothing to carry.
    pub(crate) async fn empty(&self) -> anyhow::Result<()> {
        for shard in self.shards().await? {
            self.node(shard.primary).command(&["FLUSHALL"]).await?;
        }
        Ok(())
    }

    /// Waits until one of the replicas has taken the place of its primary.
    pub(crate) async fn wait_for_failover(&self, replicas: &[usize]) -> anyhow::Result<()> {
        let deadline = Instant::now() + FAILOVER_DEADLINE;
        loop {
            for replica in replicas {
                let role = self.node(*replica).command(&["ROLE"]).await;
                if role.is_ok_and(|role| role.starts_with("master")) {
                    return Ok(());
                }
            }
            anyhow::ensure!(Instant::now() < deadline, "no replica took over within {FAILOVER_DEADLINE:?}");
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Id of a node in its cluster.
    pub(crate) async fn id(&self, index: usize) -> anyhow::Result<String> {
        let id = self.node(index).command(&["CLUSTER", "MYID"]).await.context("failed to ask for an id")?;
        Ok(id.trim().to_owned())
    }
}
