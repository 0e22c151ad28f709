//! A Redis Cluster of primaries and replicas.

use std::{fmt::Write as _, net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, ensure};

use super::{
    Options, RedisNode, Shard, formation,
    server::{SETTINGS, settings},
};
use crate::{directory::Directory, ports, process::Process};

/// Generous for some 4,000 slots on a busy machine.
const REBALANCE_DEADLINE: Duration = Duration::from_secs(120);

/// Shape of a cluster and the settings of its servers.
#[derive(Debug, Clone)]
pub struct Topology {
    /// Default 3, the fewest that can elect a replica.
    pub primaries: usize,
    /// Default 1.
    pub replicas_per_primary: usize,
    /// `cluster-node-timeout`: a node that is silent for so long counts as dead. Default 2,000 ms,
    /// which a busy machine does not reach by itself; a test of failover may take less.
    pub node_timeout_ms: u64,
    /// Directory, ports and further settings.
    pub options: Options,
}

impl Default for Topology {
    fn default() -> Self {
        Self { primaries: 3, replicas_per_primary: 1, node_timeout_ms: 2_000, options: Options::default() }
    }
}

/// A Redis Cluster of real processes, killed when dropped.
#[derive(Debug)]
pub struct RedisCluster {
    // Dropped in this order: the processes end before their directory goes.
    nodes: Vec<RedisNode>,
    directory: Directory,
    primaries: usize,
    /// To start more servers like them.
    topology: Box<Topology>,
}

impl RedisCluster {
    /// Starts all servers, forms the cluster and waits until every node agrees on it.
    ///
    /// The first `primaries` nodes begin as primaries; node `primaries + i` follows node
    /// `i % primaries`. It takes some 3 s: a primary waits 2 s before it takes writes.
    ///
    /// # Errors
    /// When `redis-server` is missing, or the cluster does not form within 60 s.
    pub async fn start(topology: Topology) -> anyhow::Result<Self> {
        ports::retry_when_taken(async || {
            let cluster = Self::start_servers(&topology)?;
            formation::form(&cluster.nodes, topology.primaries).await?;
            Ok(cluster)
        })
        .await
    }

    /// Starts one more primary with as many replicas as the others have; it serves no slots yet. See
    /// [`RedisCluster::rebalance`].
    ///
    /// # Errors
    /// When a server does not start, or the others do not get to know it within 60 s.
    pub async fn add_shard(&mut self) -> anyhow::Result<()> {
        let (first, count) = (self.nodes.len(), 1 + self.replicas_per_primary());
        for index in first..first + count {
            let node = start_server(index, self.directory.path(), &self.topology)?;
            self.nodes.push(node);
        }
        formation::join(&self.nodes, first).await?;
        self.primaries += 1;
        Ok(())
    }

    /// Gives every primary as many slots as the others, with what is in them, as `redis-cli` does it.
    ///
    /// # Errors
    /// When `redis-cli` is not installed, fails, or takes longer than two minutes; quotes the end of what it
    /// printed.
    pub async fn rebalance(&self) -> anyhow::Result<()> {
        let mut command = Command::new("redis-cli");
        command.args(["--cluster", "rebalance", &self.nodes[0].address().to_string()]);
        command.arg("--cluster-use-empty-masters");
        let log = self.directory.path().join("rebalance.log");
        let rebalance =
            Process::start("redis-cli", command, &log).context("install it with: sh deploy/setup.sh")?;
        let status = rebalance.wait(REBALANCE_DEADLINE).await?;
        ensure!(status.success(), "redis-cli ended with {status}; see {}", log.display());
        self.wait_healthy().await
    }

    fn start_servers(topology: &Topology) -> anyhow::Result<Self> {
        ensure!(topology.primaries > 0, "a cluster needs at least one primary");
        let directory = Directory::create(topology.options.directory.as_deref())?;
        let count = topology.primaries * (1 + topology.replicas_per_primary);
        let nodes = (0..count).map(|index| start_server(index, directory.path(), topology));
        let nodes = nodes.collect::<anyhow::Result<_>>()?;
        Ok(Self { nodes, directory, primaries: topology.primaries, topology: Box::new(topology.clone()) })
    }

    /// URL that names every node, as the engine's `redis.url` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = match self.nodes[0].is_encrypted() {
            true => "rediss-cluster",
            false => "redis-cluster",
        };
        cluster_url(scheme, self.nodes.iter().map(RedisNode::announced))
    }

    /// All nodes; an index is a node's for the cluster's life, whatever its role.
    #[must_use]
    pub fn nodes(&self) -> &[RedisNode] {
        &self.nodes
    }

    /// How many nodes serve slots while nothing is broken.
    #[must_use]
    pub fn primaries(&self) -> usize {
        self.primaries
    }

    /// How many nodes follow each of them.
    #[must_use]
    pub fn replicas_per_primary(&self) -> usize {
        self.nodes.len() / self.primaries - 1
    }

    /// Index of the primary that serves a hash slot, as the first node that answers sees it.
    ///
    /// # Errors
    /// When no node answers, or nobody serves the slot.
    pub async fn primary_of_slot(&self, slot: u16) -> anyhow::Result<usize> {
        let view = formation::View::of_any(&self.nodes).await?;
        let address =
            view.primary_of_slot(slot).with_context(|| format!("no primary serves the slot {slot}"))?;
        self.nodes
            .iter()
            .position(|node| node.announced() == address)
            .with_context(|| format!("the slot {slot} is served by {address}, not one of ours"))
    }

    /// Primaries that serve slots, in the order of their slots, with their replicas, as the first node
    /// that answers sees them.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn shards(&self) -> anyhow::Result<Vec<Shard>> {
        let view = formation::View::of_any(&self.nodes).await?;
        Ok(view.shards(|address| self.nodes.iter().position(|node| node.announced() == address)))
    }

    /// Waits until every running node says that the cluster is whole.
    ///
    /// # Errors
    /// When it is not after 60 s; the error names what the last node said.
    pub async fn wait_healthy(&self) -> anyhow::Result<()> {
        formation::wait_healthy(&self.nodes).await
    }
}

/// Starts the server of this index.
fn start_server(index: usize, directory: &Path, topology: &Topology) -> anyhow::Result<RedisNode> {
    let options = &topology.options;
    let node_timeout_ms = topology.node_timeout_ms.to_string();
    let mut own = SETTINGS.to_vec();
    own.extend([
        ("cluster-node-timeout", node_timeout_ms.as_str()),
        // The shards that are alive go on when one is dead.
        ("cluster-require-full-coverage", "no"),
        ("cluster-allow-replica-migration", "no"),
        // A replica gets its copy at once instead of waiting 5 s for others to join in.
        ("repl-diskless-sync-delay", "0"),
    ]);
    let offset = u16::try_from(index).context("a cluster has at most 65,535 nodes")?;
    let port = ports::next(options.first_port, offset)?;
    // Redis' own convention, kept where a port is asked for.
    let bus = ports::next(options.first_port.map(|first| first + 10_000), offset)?;
    let name = format!("redis-{}", index + 1);
    RedisNode::start(&name, directory, port, Some(bus), &settings(&own, options), options)
}

pub(super) fn cluster_url(scheme: &str, addresses: impl Iterator<Item = SocketAddr>) -> String {
    let mut url = format!("{scheme}://");
    for (index, address) in addresses.enumerate() {
        let separator = match index {
            0 => "",
            1 => "?node=",
            _ => "&node=",
        };
        write!(url, "{separator}{address}").expect("a string takes any text");
    }
    url
}
