//! One connection to one Redis server. Never retries: who sends knows what repeating means.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use fred::{
    clients::Pipeline,
    error::{Error, ErrorKind},
    prelude::{Builder, Client, ClientLike, ReconnectPolicy, Server, ServerConfig, Value},
    types::{
        ClusterHash, ConnectHandle, CustomCommand,
        config::{Config, Options, UnresponsiveConfig},
    },
};
use futures::FutureExt as _;

use crate::config::Address;

/// A Redis command with its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    name: &'static str,
    arguments: Vec<Value>,
}

impl Command {
    pub(crate) fn new(name: &'static str, arguments: impl IntoIterator<Item = impl Into<Value>>) -> Self {
        Self { name, arguments: arguments.into_iter().map(Into::into).collect() }
    }

    /// A command without arguments.
    pub(crate) fn bare(name: &'static str) -> Self {
        Self { name, arguments: Vec::new() }
    }
}

/// How long connecting, and each step of it, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause between two attempts to connect.
const RECONNECT_DELAY_MS: u32 = 100;

/// A connection. Commands fail at once while it is down; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    client: Client,
    options: Options,
    /// Pipelines that were answered: a server that answers others is slow, but not hung.
    answered: AtomicU64,
    /// fred's task behind the client. It outlives the client unless it is ended.
    task: ConnectHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Starts to connect, and goes on for ever; a command may take `timeout`.
    pub(crate) fn start(config: &Config, address: &Address, timeout: Duration) -> Result<Self, Error> {
        // 0 attempts is endless; a client whose attempts run out ends for good.
        let policy = ReconnectPolicy::new_constant(0, RECONNECT_DELAY_MS);
        // A server that is not there yet is no reason to give up.
        Self::build(Config { fail_fast: false, ..config.clone() }, address, timeout, Some(policy))
    }

    /// Connects once, and says why that failed.
    pub(crate) async fn once(config: &Config, address: &Address, timeout: Duration) -> Result<Self, Error> {
        let link = Self::build(Config { fail_fast: true, ..config.clone() }, address, timeout, None)?;
        link.connected().await?;
        Ok(link)
    }

    fn build(
        mut config: Config,
        address: &Address,
        timeout: Duration,
        policy: Option<ReconnectPolicy>,
    ) -> Result<Self, Error> {
        config.server =
            ServerConfig::Centralized { server: Server::new(address.host.as_str(), address.port) };
        let mut builder = Builder::from_config(config);
        builder.with_connection_config(|connection| {
            connection.connection_timeout = CONNECT_TIMEOUT;
            connection.internal_command_timeout = CONNECT_TIMEOUT;
            // A repeated write is a decision of the router, which knows where it belongs by then.
            connection.max_command_attempts = 1;
            // fred's own back-pressure can wedge a connection; what is in flight is bounded before.
            connection.max_command_buffer_len = 0;
            // Only notices a connection that was idle before its server hung, because every write
            // starts its time anew; `send` looks after the others.
            connection.unresponsive =
                UnresponsiveConfig { max_timeout: Some(timeout), interval: timeout / 4 };
        });
        if let Some(policy) = policy {
            builder.set_policy(policy);
        }
        let client = builder.build()?;
        let task = client.connect();
        let options = Options {
            max_attempts: Some(1),
            max_redirections: Some(0),
            timeout: Some(timeout),
            fail_fast: true,
            ..Options::default()
        };
        Ok(Self { client, options, answered: AtomicU64::new(0), task })
    }

    /// Waits until the connection is up for the first time.
    pub(crate) async fn connected(&self) -> Result<(), Error> {
        if self.is_connected() {
            return Ok(());
        }
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.client.wait_for_connect());
        connected
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "no connection within one second")))
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.is_connected()
    }

    /// Sends commands in one pipeline; answers one result for each.
    pub(crate) async fn send(&self, commands: Vec<Command>) -> Vec<Result<Value, Error>> {
        let expected = commands.len();
        let answered = self.answered.load(Ordering::Relaxed);
        let pipeline = Pipeline::from(self.client.with_options(&self.options));
        for Command { name, arguments } in commands {
            // The hash policy is for clustered clients; this one talks to one server.
            let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
            if let Err(error) = pipeline.custom::<(), Value>(command, arguments).await {
                return vec![Err(error); expected];
            }
        }
        let results = pipeline.try_all::<Value>().await;
        let timed_out = results
            .first()
            .is_some_and(|result| result.as_ref().is_err_and(|error| *error.kind() == ErrorKind::Timeout));
        if !timed_out {
            self.answered.fetch_add(1, Ordering::Relaxed);
        } else if self.answered.load(Ordering::Relaxed) == answered {
            self.reconnect();
        }
        match results.as_slice() {
            // fred answers once when the pipeline as a whole has failed.
            [Err(error)] if expected > 1 => vec![Err(error.clone()); expected],
            _ => results,
        }
    }

    /// Gives a connection up over which nothing comes back, so that commands fail at once until it
    /// does. Asking is enough; nobody waits for the new one.
    fn reconnect(&self) {
        if self.is_connected() {
            let _asked = self.client.force_reconnection().now_or_never();
        }
    }
}
