//! The stores that are measured: memory, and Redis in three shapes, as real processes.

use std::sync::Arc;

use clap::ValueEnum;
use serde::Serialize;
use state_core::{Settings, StateManager};
use state_memory::InMemoryStateManager;
use state_redis::{Acknowledge, RedisStateManager};
use testbed::redis::{Options, RedisCluster, RedisNode, RedisServer, Topology};

/// Primaries of a cluster.
const PRIMARIES: usize = 3;

/// Where the state is, and what confirms it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Deployment {
    /// In this process.
    Memory,
    /// One Redis server.
    Single,
    /// A Redis Cluster of three primaries.
    Cluster,
    /// A Redis Cluster of three primaries with a replica each that confirms, all with an append-only file.
    Replicated,
}

impl Deployment {
    pub(crate) const ALL: [Self; 4] = [Self::Memory, Self::Single, Self::Cluster, Self::Replicated];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Single => "single",
            Self::Cluster => "cluster",
            Self::Replicated => "replicated",
        }
    }

    /// What it is, for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Memory => "Memory",
            Self::Single => "One Redis server",
            Self::Cluster => "Redis Cluster of 3 primaries",
            Self::Replicated => {
                "Redis Cluster of 3 primaries and 3 replicas that confirm, append-only files (everysec)"
            }
        }
    }
}

/// A deployment that runs.
#[derive(Debug)]
pub(crate) struct Deployed {
    pub(crate) deployment: Deployment,
    servers: Servers,
}

#[derive(Debug)]
enum Servers {
    None,
    One(Box<RedisServer>),
    Cluster(RedisCluster),
}

impl Deployed {
    /// Starts the servers; they end when it is dropped. The append-only file of `Replicated` is
    /// always on.
    pub(crate) async fn start(deployment: Deployment, append_only: bool) -> anyhow::Result<Self> {
        let append_only = append_only || deployment == Deployment::Replicated;
        let setting = ("appendonly".to_owned(), if append_only { "yes" } else { "no" }.to_owned());
        let options = Options { settings: vec![setting], ..Options::default() };
        let servers = match deployment {
            Deployment::Memory => Servers::None,
            Deployment::Single => Servers::One(Box::new(RedisServer::start(options).await?)),
            Deployment::Cluster => Servers::Cluster(cluster(0, options).await?),
            Deployment::Replicated => Servers::Cluster(cluster(1, options).await?),
        };
        Ok(Self { deployment, servers })
    }

    /// A client of an empty state, with default settings.
    pub(crate) async fn open(&self) -> anyhow::Result<Arc<dyn StateManager>> {
        self.open_with(&self.config(), Settings::default()).await
    }

    /// A client of an empty state.
    pub(crate) async fn open_with(
        &self,
        config: &state_redis::Config,
        settings: Settings,
    ) -> anyhow::Result<Arc<dyn StateManager>> {
        for node in self.primaries() {
            node.command(&["FLUSHALL"]).await?;
        }
        let manager = self.client(config, settings)?;
        manager.ready().await?;
        Ok(manager)
    }

    /// A client of the state as it is; memory has no state to share.
    pub(crate) fn client(
        &self,
        config: &state_redis::Config,
        settings: Settings,
    ) -> anyhow::Result<Arc<dyn StateManager>> {
        Ok(match self.servers {
            // More than is ever stored: what the bound costs is measured, being refused is not.
            Servers::None => {
                Arc::new(InMemoryStateManager::new(&state_memory::Config { bytes_max: 64 << 30 }, settings))
            }
            Servers::One(_) | Servers::Cluster(_) => Arc::new(RedisStateManager::new(config, settings)?),
        })
    }

    /// Default settings for these servers.
    pub(crate) fn config(&self) -> state_redis::Config {
        let url = match &self.servers {
            Servers::None => String::new(),
            Servers::One(server) => server.url(),
            Servers::Cluster(cluster) => cluster.url(),
        };
        let acknowledge = match self.deployment {
            Deployment::Replicated => Acknowledge::Replicated,
            _ => Acknowledge::Primary,
        };
        state_redis::Config { url, acknowledge, ..state_redis::Config::default() }
    }

    /// Servers that take writes.
    pub(crate) fn primaries(&self) -> &[RedisNode] {
        let nodes = self.nodes();
        &nodes[..nodes.len().min(PRIMARIES)]
    }

    /// Servers that follow them.
    pub(crate) fn replicas(&self) -> &[RedisNode] {
        let nodes = self.nodes();
        &nodes[nodes.len().min(PRIMARIES)..]
    }

    fn nodes(&self) -> &[RedisNode] {
        match &self.servers {
            Servers::None => &[],
            Servers::One(server) => std::slice::from_ref(server.node()),
            Servers::Cluster(cluster) => cluster.nodes(),
        }
    }
}

async fn cluster(replicas_per_primary: usize, options: Options) -> anyhow::Result<RedisCluster> {
    RedisCluster::start(Topology {
        primaries: PRIMARIES,
        replicas_per_primary,
        options,
        ..Topology::default()
    })
    .await
}
