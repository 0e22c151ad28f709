//! One connection to one Redis server. Never retries: who sends knows what repeating means.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use fred::{
    clients::Pipeline,
    error::{Error, ErrorKind},
    prelude::{Builder, Client, ClientLike, ReconnectPolicy, Server, ServerConfig, Value},
    types::{
        ClusterHash, ConnectHandle, CustomCommand,
        config::{Config, Options, UnresponsiveConfig},
    },
};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::debug;

use crate::{config::Address, metric};

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

/// A connection that is made again for ever. Commands fail at once while it is down; all ends when
/// it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    config: Config,
    address: Address,
    timeout: Duration,
    /// Replaced when nothing comes back over it, with everything that is queued behind.
    connection: ArcSwap<Connection>,
    replacing: Mutex<()>,
}

#[derive(Debug)]
struct Connection {
    client: Client,
    /// fred's task behind the client. It outlives the client unless it is ended.
    task: ConnectHandle,
    /// Pipelines that were answered: a server that answers others is slow, but not hung.
    answered: AtomicU64,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Starts to connect, and goes on for ever; a command may take `timeout`.
    pub(crate) fn start(config: &Config, address: &Address, timeout: Duration) -> Result<Self, Error> {
        Self::build(config, address, timeout, true)
    }

    /// Connects once, and says why that failed.
    pub(crate) async fn once(config: &Config, address: &Address, timeout: Duration) -> Result<Self, Error> {
        let link = Self::build(config, address, timeout, false)?;
        link.connected().await?;
        Ok(link)
    }

    fn build(config: &Config, address: &Address, timeout: Duration, for_ever: bool) -> Result<Self, Error> {
        let mut config = config.clone();
        config.server =
            ServerConfig::Centralized { server: Server::new(address.host.as_str(), address.port) };
        // A server that is not there yet is no reason to give up, if there is time.
        config.fail_fast = !for_ever;
        let connection = ArcSwap::from_pointee(Connection::start(&config, timeout)?);
        Ok(Self { config, address: address.clone(), timeout, connection, replacing: Mutex::default() })
    }

    /// Waits until the connection is up for the first time.
    pub(crate) async fn connected(&self) -> Result<(), Error> {
        let connection = self.connection.load_full();
        if connection.client.is_connected() {
            return Ok(());
        }
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connection.client.wait_for_connect());
        connected
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "no connection within one second")))
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.load().client.is_connected()
    }

    /// Sends commands in one pipeline; answers one result for each.
    pub(crate) async fn send(&self, commands: Vec<Command>) -> Vec<Result<Value, Error>> {
        let expected = commands.len();
        let options = Options {
            max_attempts: Some(1),
            max_redirections: Some(0),
            timeout: Some(self.timeout),
            fail_fast: true,
            ..Options::default()
        };
        let connection = self.connection.load_full();
        let answered = connection.answered.load(Ordering::Relaxed);
        let pipeline = Pipeline::from(connection.client.with_options(&options));
        for Command { name, arguments } in commands {
            // The hash policy is for clustered clients; this one talks to one server.
            let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
            if let Err(error) = pipeline.custom::<(), Value>(command, arguments).await {
                return vec![Err(error); expected];
            }
        }
        let sent = Instant::now();
        let results = pipeline.try_all::<Value>().await;
        let timed_out = results
            .first()
            .is_some_and(|result| result.as_ref().is_err_and(|error| *error.kind() == ErrorKind::Timeout));
        // What a connection that is down refuses at once says nothing about Redis.
        if timed_out || results.iter().any(Result::is_ok) {
            metric::took(sent.elapsed());
        }
        if !timed_out {
            connection.answered.fetch_add(1, Ordering::Relaxed);
        } else if connection.answered.load(Ordering::Relaxed) == answered {
            self.replace(&connection);
        }
        match results.as_slice() {
            // fred answers once when the pipeline as a whole has failed.
            [Err(error)] if expected > 1 => vec![Err(error.clone()); expected],
            _ => results,
        }
    }

    /// Gives a connection up over which nothing comes back, once, however many find it silent. What
    /// is queued behind is dropped: it would be done long after its callers were answered.
    fn replace(&self, silent: &Arc<Connection>) {
        let _one_at_a_time = self.replacing.lock();
        if Arc::ptr_eq(&self.connection.load(), silent)
            && let Ok(connection) = Connection::start(&self.config, self.timeout)
        {
            debug!(address = %self.address, "a connection to Redis is silent; it is made again");
            silent.task.abort();
            self.connection.store(Arc::new(connection));
        }
    }
}

impl Connection {
    fn start(config: &Config, timeout: Duration) -> Result<Self, Error> {
        let mut builder = Builder::from_config(config.clone());
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
        if !config.fail_fast {
            // 0 attempts is endless; a client whose attempts run out ends for good.
            builder.set_policy(ReconnectPolicy::new_constant(0, RECONNECT_DELAY_MS));
        }
        let client = builder.build()?;
        let task = client.connect();
        Ok(Self { client, task, answered: AtomicU64::new(0) })
    }
}
