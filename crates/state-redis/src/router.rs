//! Sends commands to the primary of a slot, follows it when it moves, and repeats what may be repeated.

use std::{sync::Arc, time::Duration};

use fred::{
    error::{Error as RedisError, ErrorKind},
    prelude::Value,
};
use futures::future::join_all;
use state_core::{Error, Result};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    acknowledge::Replicas,
    config::{Address, Seeds},
    error::{self, Fault},
    link::Command,
    node::{Node, NodeConfig},
    servers::Servers,
};

/// Pause before a call is repeated.
pub(crate) const RETRY_DELAY: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Router {
    servers: Servers,
    replicas: Replicas,
    timeout: Duration,
}

impl Router {
    pub(crate) fn new(seeds: Seeds, node_config: NodeConfig, timeout: Duration) -> Self {
        let replicas = node_config.commit.replicas.clone();
        Self { servers: Servers::new(seeds, node_config), replicas, timeout }
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
        match Fault::of(error) {
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
