//! One connection to one Redis server. Never retries: who sends knows what repeating means.

use std::time::Duration;

use fred::{
    clients::Pipeline,
    error::{Error, ErrorKind},
    prelude::{Builder, Client, ClientLike, ReconnectPolicy, Server, ServerConfig, Value},
    types::{
        ClusterHash, CustomCommand,
        config::{Config, Options, UnresponsiveConfig},
    },
};

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

/// A connection that is made again for ever. Commands fail at once while it is down.
#[derive(Debug)]
pub(crate) struct Link {
    client: Client,
    options: Options,
}

/// How long connecting, and each step of it, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause between two attempts to connect.
const RECONNECT_DELAY_MS: u32 = 100;

impl Link {
    /// Starts to connect, and goes on in the background.
    pub(crate) fn start(config: &Config, address: &Address, timeout: Duration) -> Result<Self, Error> {
        let mut config = config.clone();
        config.server =
            ServerConfig::Centralized { server: Server::new(address.host.as_str(), address.port) };
        // A server that is not there yet is no reason to give up.
        config.fail_fast = false;
        let client = Builder::from_config(config)
            .with_connection_config(|connection| {
                connection.connection_timeout = CONNECT_TIMEOUT;
                connection.internal_command_timeout = CONNECT_TIMEOUT;
                // A repeated write is a decision of the router, which knows where it belongs by then.
                connection.max_command_attempts = 1;
                // fred's own back-pressure can wedge a connection; what is in flight is bounded before.
                connection.max_command_buffer_len = 0;
                // Without this a server that hangs, but keeps its sockets, is never noticed.
                connection.unresponsive =
                    UnresponsiveConfig { max_timeout: Some(timeout), interval: timeout / 4 };
            })
            // 0 attempts is endless; a client whose attempts run out ends for good.
            .set_policy(ReconnectPolicy::new_constant(0, RECONNECT_DELAY_MS))
            .build()?;
        drop(client.connect());
        let options = Options {
            max_attempts: Some(1),
            max_redirections: Some(0),
            timeout: Some(timeout),
            fail_fast: true,
            ..Options::default()
        };
        Ok(Self { client, options })
    }

    /// Waits until the connection is up for the first time.
    pub(crate) async fn connected(&self) -> Result<(), Error> {
        if self.client.is_connected() {
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
        let pipeline = Pipeline::from(self.client.with_options(&self.options));
        for Command { name, arguments } in commands {
            // The hash policy is for clustered clients; this one talks to one server.
            let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
            if let Err(error) = pipeline.custom::<(), Value>(command, arguments).await {
                return vec![Err(error); expected];
            }
        }
        let results = pipeline.try_all::<Value>().await;
        match results.as_slice() {
            // fred answers once when the pipeline as a whole has failed.
            [Err(error)] if expected > 1 => vec![Err(error.clone()); expected],
            _ => results,
        }
    }

    /// Ends the connection after what was sent has been answered.
    pub(crate) async fn close(&self) {
        // An error says that there is no connection to end.
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, self.client.quit()).await;
    }
}
