//! The servers that suffer the faults: a cluster of real processes behind proxies.

use clap::ValueEnum;
use serde::Serialize;
use testbed::{
    RedisCluster, Topology,
    redis::{Layout, Options, Program, RedisNode, Shard},
};

/// A failover with this takes some two seconds; the default of Redis is 15,000.
const NODE_TIMEOUT_MS: u64 = 1_000;

/// What the servers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Server {
    Redis,
    Valkey,
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
}

impl Deployment {
    pub(crate) async fn start(server: Server, layout: Layout) -> anyhow::Result<Self> {
        let program = match server {
            Server::Redis => Program::Redis,
            Server::Valkey => Program::Valkey,
        };
        let options = Options { program, proxied: true, ..Options::default() };
        let topology = Topology {
            replicas_per_primary: layout.replicas(),
            node_timeout_ms: NODE_TIMEOUT_MS,
            options,
            ..Topology::default()
        };
        Ok(Self { cluster: RedisCluster::start(topology).await? })
    }

    pub(crate) fn url(&self) -> String {
        self.cluster.url()
    }

    pub(crate) fn cluster(&self) -> &RedisCluster {
        &self.cluster
    }

    pub(crate) fn node(&self, index: usize) -> &RedisNode {
        &self.cluster.nodes()[index]
    }

    pub(crate) async fn shards(&self) -> anyhow::Result<Vec<Shard>> {
        self.cluster.shards().await
    }

    /// Removes everything, so that one fault leaves the next nothing to carry.
    pub(crate) async fn empty(&self) -> anyhow::Result<()> {
        for shard in self.shards().await? {
            self.node(shard.primary).command(&["FLUSHALL"]).await?;
        }
        Ok(())
    }
}
