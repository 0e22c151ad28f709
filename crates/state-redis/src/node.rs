//! One primary: its connections, and the queue in which appends to it gather.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use fred::{error::Error, prelude::Value, types::config::Config};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    commit::{self, Commit},
    config::Address,
    error::Fault,
    link::{Command, Link},
    script,
};

/// Most connections to one primary. fred sends pipelines over each, so a few are enough; with
/// several, a command does not wait for another that is slow.
const LINKS_MAX: usize = 4;
/// Connections over which appends are sent, so that one batch gathers while another is on its way.
const COMMITTERS: usize = 2;

/// A primary and the connections to it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: Address,
    links: std::sync::Arc<[Link]>,
    next: AtomicUsize,
    commits: mpsc::UnboundedSender<Commit>,
    committers: parking_lot::Mutex<JoinSet<()>>,
}

/// What every node of a store has in common.
#[derive(Debug, Clone)]
pub(crate) struct NodeConfig {
    pub(crate) fred: Config,
    pub(crate) connections: usize,
    pub(crate) timeout: Duration,
    pub(crate) commit: commit::Config,
}

impl Node {
    /// Starts to connect.
    pub(crate) fn start(address: Address, config: &NodeConfig) -> Result<Self, Error> {
        let count = config.connections.clamp(1, LINKS_MAX);
        let links: Result<Vec<_>, _> =
            (0..count).map(|_| Link::start(&config.fred, &address, config.timeout)).collect();
        let links: std::sync::Arc<[Link]> = links?.into();
        let (commits, queue) = mpsc::unbounded_channel();
        let committers = commit::start(&links, COMMITTERS.min(count), queue, config.commit.clone());
        let committers = parking_lot::Mutex::new(committers);
        Ok(Self { address, links, next: AtomicUsize::new(0), commits, committers })
    }

    /// Waits until a connection is up, and loads the scripts.
    pub(crate) async fn connected(&self) -> Result<(), Error> {
        self.links[0].connected().await?;
        self.load_scripts().await
    }

    /// Loads the scripts that a server forgets when it restarts, is told to, or is new.
    pub(crate) async fn load_scripts(&self) -> Result<(), Error> {
        let loads = script::all().map(|script| Command::new("SCRIPT", ["LOAD", script.text.as_str()]));
        self.send(loads.into()).await.map(drop)
    }

    /// Sends commands in one pipeline; the first error stands for all.
    pub(crate) async fn send(&self, commands: Vec<Command>) -> Result<Vec<Value>, Error> {
        self.link().send(commands).await.into_iter().collect()
    }

    /// Sends commands to the keys of a slot that is being moved here.
    pub(crate) async fn send_asking(&self, commands: Vec<Command>) -> Result<Vec<Value>, Error> {
        let mut all = Vec::with_capacity(commands.len() * 2);
        for command in commands {
            all.extend([Command::bare("ASKING"), command]);
        }
        Ok(self.send(all).await?.into_iter().skip(1).step_by(2).collect())
    }

    /// Queues appends to be gathered and sent.
    pub(crate) fn commit(&self, commit: Commit) {
        // The queue ends with the committers, and they end only when the node is closed; then the
        // reply is dropped, which its owner takes as a lost connection.
        let _ = self.commits.send(commit);
    }

    fn link(&self) -> &Link {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let links = (0..self.links.len()).map(|step| &self.links[(start + step) % self.links.len()]);
        let mut connected = links.filter(|link| link.is_connected());
        connected.next().unwrap_or(&self.links[start % self.links.len()])
    }

    /// Ends the connections; appends in the queue are answered as lost.
    pub(crate) async fn close(&self) {
        let mut committers = std::mem::take(&mut *self.committers.lock());
        committers.shutdown().await;
        futures::future::join_all(self.links.iter().map(Link::close)).await;
    }
}

/// Whether an error says that the connection or the server is gone.
pub(crate) fn is_lost(error: &Error) -> bool {
    Fault::of(error) == Fault::Lost
}
