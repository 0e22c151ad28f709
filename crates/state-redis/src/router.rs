//! Sends commands to the primary of a slot, follows it when it moves, and repeats what may be repeated.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::{
    error::{Error as RedisError, ErrorKind},
    prelude::Value,
};
use futures::future::join_all;
use state_core::{Error, Result};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    acknowledge::Replicas,
    config::{ATTEMPTS, Address, Seeds},
    error::{self, Fault},
    link::Command,
    list::read_time,
    metric,
    node::{Clock, Node, NodeConfig},
    servers::Servers,
};

/// Pause before a call is repeated.
pub(crate) const RETRY_DELAY: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Router {
    servers: Servers,
    replicas: Replicas,
    timeout: Duration,
    turn: AtomicUsize,
}

impl Router {
    pub(crate) fn new(seeds: Seeds, node_config: NodeConfig, timeout: Duration) -> Self {
        let replicas = node_config.commit.replicas.clone();
        Self { servers: Servers::new(seeds, node_config), replicas, timeout, turn: AtomicUsize::new(0) }
    }

    pub(crate) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// How many replicas a write waits for.
    pub(crate) fn replicas(&self) -> &Replicas {
        &self.replicas
    }

    /// By when an operation that begins now must have ended.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// By when one that passes over what does not answer must have ended.
    pub(crate) fn attempt_deadline(&self) -> Instant {
        Instant::now() + self.timeout / ATTEMPTS
    }

    /// A number that is another one each time.
    pub(crate) fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends commands on keys of one slot, in one pipeline, to the primary that has it; repeats them
    /// until the deadline. They must leave the same behind when they are done twice.
    pub(crate) async fn call(
        &self,
        attempted: &str,
        slot: u16,
        commands: Vec<Command>,
        deadline: Instant,
    ) -> Result<Vec<Value>> {
        self.repeat(attempted, slot, commands, deadline, None).await
    }

    /// Sends writes likewise, and waits until replicas have received them.
    pub(crate) async fn write(
        &self,
        attempted: &str,
        slot: u16,
        commands: Vec<Command>,
        deadline: Instant,
    ) -> Result<Vec<Value>> {
        self.repeat(attempted, slot, commands, deadline, Some(&self.replicas)).await
    }

    /// The time by the clock of the primary that has a slot, in microseconds, or a little before.
    pub(crate) async fn store_time(&self, attempted: &str, slot: u16, deadline: Instant) -> Result<i64> {
        if let Some(clock) = self.clock(slot).filter(|clock| clock.is_fresh) {
            return Ok(clock.earliest);
        }
        let asked = Instant::now();
        let answers = self.call(attempted, slot, vec![Command::bare("TIME")], deadline).await?;
        let time = answers.into_iter().next().map(read_time).unwrap_or_default();
        self.set_clock(slot, asked, time);
        Ok(time)
    }

    /// The clock of the primary that has a slot, if it was ever asked.
    pub(crate) fn clock(&self, slot: u16) -> Option<Clock> {
        self.servers.primary(slot)?.clock()
    }

    /// Takes the time that the primary of a slot has just told, after it was asked.
    pub(crate) fn set_clock(&self, slot: u16, asked: Instant, time: i64) {
        if let Some(node) = self.servers.primary(slot) {
            node.set_clock(asked, time);
        }
    }

    /// Sends each command to the primary of its slot, one pipeline for each primary; answers in their
    /// order. What fails is repeated on its own until the deadline.
    pub(crate) async fn call_each(
        &self,
        attempted: &str,
        calls: Vec<(u16, Command)>,
        deadline: Instant,
    ) -> Vec<Result<Value>> {
        self.scatter(attempted, calls, deadline, None).await
    }

    /// Sends writes likewise, and waits until replicas have received them.
    pub(crate) async fn write_each(
        &self,
        attempted: &str,
        calls: Vec<(u16, Command)>,
        deadline: Instant,
    ) -> Vec<Result<Value>> {
        self.scatter(attempted, calls, deadline, Some(&self.replicas)).await
    }

    async fn scatter(
        &self,
        attempted: &str,
        calls: Vec<(u16, Command)>,
        deadline: Instant,
        confirm: Option<&Replicas>,
    ) -> Vec<Result<Value>> {
        let mut groups = HashMap::<Address, (Arc<Node>, Vec<usize>)>::new();
        for (place, (slot, _)) in calls.iter().enumerate() {
            if let Some(node) = self.servers.primary(*slot) {
                groups.entry(node.address.clone()).or_insert_with(|| (node, Vec::new())).1.push(place);
            }
        }
        let sent = groups.into_values().map(async |(node, places)| {
            let commands = places.iter().map(|place| calls[*place].1.clone()).collect();
            let results = timeout_at(deadline, node.send_each(commands, confirm)).await.unwrap_or_default();
            (places, results)
        });
        let mut answers: Vec<Option<Value>> = vec![None; calls.len()];
        for (places, results) in join_all(sent).await {
            for (place, result) in places.into_iter().zip(results) {
                answers[place] = result.ok();
            }
        }
        // Futures for these alone: one for each call would cost more than its answer.
        let unanswered = calls.into_iter().zip(&answers).filter(|(_, answer)| answer.is_none());
        let unanswered = unanswered.map(async |((slot, command), _)| {
            let answers = self.repeat(attempted, slot, vec![command], deadline, confirm).await?;
            Ok(answers.into_iter().next().unwrap_or(Value::Null))
        });
        let mut repeated = join_all(unanswered).await.into_iter();
        let answer =
            |answer: Option<Value>| answer.map_or_else(|| repeated.next(), |answer| Some(Ok(answer)));
        answers.into_iter().filter_map(answer).collect()
    }

    async fn repeat(
        &self,
        attempted: &str,
        slot: u16,
        commands: Vec<Command>,
        deadline: Instant,
        confirm: Option<&Replicas>,
    ) -> Result<Vec<Value>> {
        let mut last = RedisError::new(ErrorKind::Timeout, "no server has answered in time");
        loop {
            if self.servers.are_closed() {
                return Err(Error::Closed { attempted: attempted.into() });
            }
            let attempt = self.attempt(slot, commands.clone(), confirm);
            last = match timeout_at(deadline, attempt).await {
                Ok(Ok(answers)) => return Ok(answers),
                Ok(Err(error)) => error,
                // What went wrong before says more than that time is up.
                Err(_) => return Err(self.error(attempted, slot, &last)),
            };
            self.recover(attempted, slot, &last, deadline).await?;
            if Instant::now() + RETRY_DELAY >= deadline {
                return Err(self.error(attempted, slot, &last));
            }
            sleep(RETRY_DELAY).await;
        }
    }

    /// The public form of an error of a command on a slot.
    pub(crate) fn error(&self, attempted: &str, slot: u16, error: &RedisError) -> Error {
        let primary = self.servers.primary(slot);
        error::redis(attempted, primary.as_ref().map(|node| &node.address), error)
    }

    /// Does what an error of a command on a slot asks for before the command is repeated.
    ///
    /// # Errors
    /// Repeating it is of no use.
    pub(crate) async fn recover(
        &self,
        attempted: &str,
        slot: u16,
        error: &RedisError,
        deadline: Instant,
    ) -> Result<()> {
        let fault = Fault::of(error);
        match fault {
            Fault::Lost => metric::connection_error(),
            Fault::Behind => metric::unconfirmed(),
            _ => {}
        }
        match fault {
            Fault::Unable | Fault::Denied | Fault::Permanent => Err(self.error(attempted, slot, error)),
            Fault::Ask(_) | Fault::TryAgain | Fault::Behind => Ok(()),
            Fault::NoScript => {
                // All are asked: which of them has forgotten is not worth telling apart. If loading
                // fails, the repeated call finds no script again.
                let primaries = self.servers.primaries();
                let loads = join_all(primaries.iter().map(|node| node.load_scripts()));
                let _ = timeout_at(deadline, loads).await;
                Ok(())
            }
            Fault::Moved | Fault::Lost => match self.servers.look(attempted, deadline).await {
                Err(error) if !error.is_retryable() => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// Sends commands once: to the primary of the slot, and those that it redirects after their keys.
    async fn attempt(
        &self,
        slot: u16,
        commands: Vec<Command>,
        confirm: Option<&Replicas>,
    ) -> Result<Vec<Value>, RedisError> {
        let Some(node) = self.servers.primary(slot) else {
            return Err(RedisError::new(
                ErrorKind::Canceled,
                format!("no server is known to have slot {slot}"),
            ));
        };
        let results = node.send_each(commands.clone(), confirm).await;
        let mut answers = Vec::with_capacity(results.len());
        for (command, result) in commands.into_iter().zip(results) {
            answers.push(match result {
                Ok(answer) => answer,
                Err(error) => match Fault::of(&error) {
                    // The others of the same pipeline may be where they were.
                    Fault::Ask(address) => {
                        self.follow(&address, command, confirm).await.unwrap_or(Err(error))?
                    }
                    _ => return Err(error),
                },
            });
        }
        Ok(answers)
    }

    /// Sends a command to where its key has moved; `None` if there is no such server.
    async fn follow(
        &self,
        address: &Address,
        command: Command,
        confirm: Option<&Replicas>,
    ) -> Option<Result<Value, RedisError>> {
        let node: Arc<Node> = self.servers.at(address).await?;
        let answer = node.ask(command.clone(), confirm).await;
        match answer {
            Err(error) if Fault::of(&error) == Fault::NoScript => {
                node.load_scripts().await.ok()?;
                Some(node.ask(command, confirm).await)
            }
            answer => Some(answer),
        }
    }
}
