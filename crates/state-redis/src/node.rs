//! One primary: its connections, and the queue in which appends to it gather.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::Utc;
use fred::{error::Error, prelude::Value, types::config::Config};
use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::{
    sync::mpsc::{self, UnboundedSender},
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    acknowledge::Replicas,
    commit::{self, Commit},
    config::Address,
    link::{Command, Link},
    script,
};

/// Most connections to one primary. fred sends pipelines over each, so a few are enough; with
/// several, a command does not wait for another that is slow.
const LINKS_MAX: usize = 4;
/// Connections over which appends are sent, so that one batch gathers while another is on its way.
/// Reads go over the others, because a `WAIT` keeps its connection from everything behind it.
const COMMITTERS: usize = 2;

/// For how long a time that a server has told is reckoned on. Clocks that run drift apart by far less
/// than an operation takes; one that is set is noticed after this.
const CLOCK_AGE_MAX: Duration = Duration::from_secs(5);

/// A primary and the connections to it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: Address,
    links: Arc<[Link]>,
    /// Links for writes that a `WAIT` follows, the first ones.
    committing: usize,
    /// The first link for all else; the first of all if there are few.
    first: usize,
    next: AtomicUsize,
    /// `None` once the node is closed. What is in the queue is bounded by the store.
    commits: Mutex<Option<UnboundedSender<Commit>>>,
    committers: Mutex<JoinSet<()>>,
    clock: Mutex<Option<Reading>>,
    /// When the scripts began to be loaded last, if they were.
    scripts_loaded: tokio::sync::Mutex<Option<Instant>>,
    /// When it was found fit to keep state.
    fit: Mutex<Option<Instant>>,
    /// How long a command may take, and so the last batch when the node is closed.
    timeout: Duration,
}

/// What a server's clock showed between two moments.
#[derive(Debug, Clone, Copy)]
struct Reading {
    asked: Instant,
    told: Instant,
    time: i64,
}

/// What a server's clock shows now, as far as it is known here: in microseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) earliest: i64,
    pub(crate) latest: i64,
    /// Whether the server was asked lately enough for this to be reckoned on.
    pub(crate) is_fresh: bool,
}

impl Clock {
    /// How far it is ahead of another time, at least; negative if it is behind, 0 if both may be the same.
    fn ahead_of(&self, time: i64) -> i64 {
        (self.earliest - time).max(0) + (self.latest - time).min(0)
    }
}

/// What every node of a store has in common.
#[derive(Debug, Clone)]
pub(crate) struct NodeConfig {
    pub(crate) fred: Config,
    pub(crate) connections: usize,
    /// How long one command may take. Less than an operation, which then tries elsewhere.
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
        let committing = COMMITTERS.min(count);
        let first = if count > COMMITTERS { COMMITTERS } else { 0 };
        Ok(Self {
            address,
            links,
            committing,
            first,
            next: AtomicUsize::new(0),
            commits: Mutex::new(Some(commits)),
            committers: Mutex::new(committers),
            clock: Mutex::default(),
            scripts_loaded: tokio::sync::Mutex::default(),
            fit: Mutex::default(),
            timeout: config.timeout,
        })
    }

    /// Waits until the connections are up, and loads the scripts.
    pub(crate) async fn connected(&self) -> Result<(), Error> {
        try_join_all(self.links.iter().map(Link::connected)).await?;
        self.load_scripts().await
    }

    /// Loads the scripts that a server forgets when it restarts, is told to, or is new. However many calls
    /// find at once that they are not there, they are loaded twice at most: compiling them takes the server
    /// milliseconds.
    pub(crate) async fn load_scripts(&self) -> Result<(), Error> {
        let missed = Instant::now();
        let mut loaded = self.scripts_loaded.lock().await;
        if loaded.is_some_and(|began| began > missed) {
            return Ok(());
        }
        let began = Instant::now();
        let loads = script::all().map(|script| Command::new("SCRIPT", ["LOAD", script.text.as_str()]));
        self.send(loads.into()).await?;
        *loaded = Some(began);
        Ok(())
    }

    /// The server's clock, if it was ever asked.
    pub(crate) fn clock(&self) -> Option<Clock> {
        let Reading { asked, told, time } = (*self.clock.lock())?;
        let after = |moment: Instant| time + moment.elapsed().as_micros() as i64;
        Some(Clock { earliest: after(told), latest: after(asked), is_fresh: told.elapsed() < CLOCK_AGE_MAX })
    }

    /// Takes the time in microseconds that the server has just told, after it was asked.
    pub(crate) fn set_clock(&self, asked: Instant, time: i64) {
        *self.clock.lock() = Some(Reading { asked, told: Instant::now(), time });
    }

    /// How far the server's clock is from this machine's, in microseconds: ahead if positive. 0 as long as both may
    /// show the same, `None` if the server was never asked.
    pub(crate) fn clock_skew(&self) -> Option<i64> {
        Some(self.clock()?.ahead_of(Utc::now().timestamp_micros()))
    }

    /// Whether it was found fit to keep state not longer ago than this.
    pub(crate) fn was_fit_within(&self, time: Duration) -> bool {
        self.fit.lock().is_some_and(|fit| fit.elapsed() < time)
    }

    /// Notes that it was found fit.
    pub(crate) fn set_fit(&self) {
        *self.fit.lock() = Some(Instant::now());
    }

    /// Sends commands in one pipeline; the first error stands for all.
    pub(crate) async fn send(&self, commands: Vec<Command>) -> Result<Vec<Value>, Error> {
        self.link().send(commands).await.into_iter().collect()
    }

    /// Sends commands in one pipeline; answers one result for each, and for none a success that too
    /// few replicas have received.
    pub(crate) async fn send_each(
        &self,
        mut commands: Vec<Command>,
        confirm: Option<&Replicas>,
    ) -> Vec<Result<Value, Error>> {
        let Some(replicas) = confirm else { return self.link().send(commands).await };
        let sent = commands.len();
        replicas.wait_behind(&mut commands);
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let mut results = any_connected(&self.links[..self.committing], start).send(commands).await;
        replicas.confirm(&mut results, sent);
        results
    }

    /// Sends a command on a key of a slot that is being moved here.
    pub(crate) async fn ask(&self, command: Command, confirm: Option<&Replicas>) -> Result<Value, Error> {
        let mut results = self.send_each(vec![Command::bare("ASKING"), command], confirm).await;
        results.pop().unwrap_or_else(|| Err(commit::lost()))
    }

    /// Queues appends to be gathered and sent. If the node is closed the reply is dropped, which its
    /// owner takes as a lost connection.
    pub(crate) fn commit(&self, commit: Commit) {
        if let Some(commits) = &*self.commits.lock() {
            let _ = commits.send(commit);
        }
    }

    fn link(&self) -> &Link {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        any_connected(&self.links[self.first..], start)
    }

    /// Answers what is queued, if the server does, and ends the connections.
    pub(crate) async fn close(&self) {
        drop(self.commits.lock().take());
        let mut committers = std::mem::take(&mut *self.committers.lock());
        let finished = timeout(self.timeout, async { while committers.join_next().await.is_some() {} });
        if finished.await.is_err() {
            committers.shutdown().await;
        }
    }
}

/// A link that is up, beginning with one; that one if none is.
pub(crate) fn any_connected(links: &[Link], start: usize) -> &Link {
    let mut in_turn = (0..links.len()).map(|step| &links[(start + step) % links.len()]);
    in_turn.find(|link| link.is_connected()).unwrap_or(&links[start % links.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_only_as_far_as_it_must_be() {
        // Asked of a server that took a while: it shows something from 100 to 140.
        let clock = Clock { earliest: 100, latest: 140, is_fresh: true };
        for (here, ahead) in [(90, 10), (100, 0), (120, 0), (140, 0), (155, -15)] {
            assert_eq!(clock.ahead_of(here), ahead, "at {here}");
        }
    }
}
