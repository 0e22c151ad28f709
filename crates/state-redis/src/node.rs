//! One primary: its connections, and the queue in which appends to it gather.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::{error::Error, prelude::Value, types::config::Config};
use futures::future::{join_all, try_join_all};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    acknowledge::Replicas,
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
/// Reads go over the others, because a `WAIT` keeps its connection from everything behind it.
const COMMITTERS: usize = 2;

/// A primary and the connections to it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: Address,
    links: Arc<[Link]>,
    /// The first link for anything but gathered appends; all of them if there are few.
    first: usize,
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
        let links: Arc<[Link]> = links?.into();
        let (commits, queue) = mpsc::unbounded_channel();
        let committers = commit::start(&links, COMMITTERS.min(count), queue, config.commit.clone());
        let committers = parking_lot::Mutex::new(committers);
        let first = if count > COMMITTERS { COMMITTERS } else { 0 };
        Ok(Self { address, links, first, next: AtomicUsize::new(0), commits, committers })
    }

    /// Waits until the connections are up, and loads the scripts.
    pub(crate) async fn connected(&self) -> Result<(), Error> {
        try_join_all(self.links.iter().map(Link::connected)).await?;
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

    /// Sends writes in one pipeline, and waits until replicas have received them.
    pub(crate) async fn write(
        &self,
        mut commands: Vec<Command>,
        replicas: &Replicas,
    ) -> Result<Vec<Value>, Error> {
        let sent = commands.len();
        replicas.wait_behind(&mut commands);
        let mut results = self.link().send(commands).await;
        replicas.confirm(&mut results, sent)?;
        results.into_iter().collect()
    }

    /// Sends commands to the keys of a slot that is being moved here.
    pub(crate) async fn send_asking(
        &self,
        commands: Vec<Command>,
        confirm: Option<&Replicas>,
    ) -> Result<Vec<Value>, Error> {
        let mut all = Vec::with_capacity(commands.len() * 2);
        for command in commands {
            all.extend([Command::bare("ASKING"), command]);
        }
        let answers = match confirm {
            Some(replicas) => self.write(all, replicas).await?,
            None => self.send(all).await?,
        };
        Ok(answers.into_iter().skip(1).step_by(2).collect())
    }

    /// Queues appends to be gathered and sent.
    pub(crate) fn commit(&self, commit: Commit) {
        // The queue ends with the committers, and they end only when the node is closed; then the
        // reply is dropped, which its owner takes as a lost connection.
        let _ = self.commits.send(commit);
    }

    fn link(&self) -> &Link {
        let links = &self.links[self.first..];
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let mut in_turn = (0..links.len()).map(|step| &links[(start + step) % links.len()]);
        in_turn.find(|link| link.is_connected()).unwrap_or(&links[start % links.len()])
    }

    /// Ends the connections; appends in the queue are answered as lost.
    pub(crate) async fn close(&self) {
        let mut committers = std::mem::take(&mut *self.committers.lock());
        committers.shutdown().await;
        join_all(self.links.iter().map(Link::close)).await;
    }
}

/// Whether an error says that the connection or the server is gone.
pub(crate) fn is_lost(error: &Error) -> bool {
    Fault::of(error) == Fault::Lost
}
