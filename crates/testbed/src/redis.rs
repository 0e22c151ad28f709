//! Redis as real processes: one server, or a cluster of primaries and replicas.

mod backup;
mod cluster;
mod fault;
mod formation;
mod layout;
mod mend;
mod node;
mod program;
mod proxy;
mod resp;
mod server;
mod tls;

pub use cluster::{RedisCluster, Topology};
pub use fault::{Course, Fault, Lasting, Reach};
pub use formation::Shard;
pub use layout::Layout;
pub use node::{RedisNode, Role};
pub use program::Program;
pub use proxy::{Network, Proxy};
pub use server::RedisServer;
pub use tls::Tls;

use std::{net::SocketAddr, path::PathBuf};

use anyhow::ensure;

/// What every Redis server of a test has in common.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Further lines of `redis.conf` as name and value, `("maxmemory", "64mb")`. They win.
    pub settings: Vec<(String, String)>,
    /// Where data and logs go; a temporary directory when `None`.
    pub directory: Option<PathBuf>,
    /// Port of the first server, one more for each further one, where those are free.
    pub first_port: Option<u16>,
    /// Survives Ctrl-C and the end of the terminal: own process group.
    pub background: bool,
    /// What the servers run. Default Redis.
    pub program: Program,
    /// Puts a [`Proxy`] before every server; clients are told its address. Not with TLS: it could not
    /// tell replicas from clients.
    pub proxied: bool,
    /// The servers speak TLS, and nothing else. Default plain text.
    pub tls: Option<Tls>,
}

/// Fails with what the server says when it does not answer, or its cluster is down.
pub(crate) async fn is_ready(address: SocketAddr) -> anyhow::Result<()> {
    resp::command(address, None, &["PING"]).await?;
    let server = resp::command(address, None, &["INFO", "cluster"]).await?.to_string();
    if server.contains("cluster_enabled:1") {
        let cluster = resp::command(address, None, &["CLUSTER", "INFO"]).await?.to_string();
        ensure!(cluster.contains("cluster_state:ok"), "it says that its cluster is down");
    }
    Ok(())
}
