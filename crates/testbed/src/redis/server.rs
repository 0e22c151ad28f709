//! A single Redis server.

use super::{Options, RedisNode};
use crate::{directory::Directory, ports};

/// Settings of every server; nothing may be written or evicted behind the back of a test.
pub(super) const SETTINGS: [(&str, &str); 4] = [
    ("save", "\"\""),
    ("appendonly", "yes"),
    ("appendfsync", "everysec"),
    ("maxmemory-policy", "noeviction"),
];

/// A single Redis server, killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    // Dropped in this order: the process ends before its directory goes.
    node: RedisNode,
    _directory: Directory,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When `redis-server` is missing or does not answer within 30 s.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        ports::retry_when_taken(async || {
            let directory = Directory::create(options.directory.as_deref())?;
            let port = ports::next(options.first_port, 0)?;
            let settings = settings(&SETTINGS, &options);
            let node = RedisNode::start("redis-1", directory.path(), port, None, &settings, &options)?;
            node.wait_ready().await?;
            Ok(Self { node, _directory: directory })
        })
        .await
    }

    /// URL as the engine's `redis.url` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.node.is_encrypted() { "rediss" } else { "redis" };
        format!("{scheme}://{}", self.node.announced())
    }

    /// The server's process and commands.
    #[must_use]
    pub fn node(&self) -> &RedisNode {
        &self.node
    }
}

pub(super) fn settings(own: &[(&str, &str)], options: &Options) -> Vec<(String, String)> {
    let own = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    own.chain(options.settings.iter().cloned()).collect()
}
