//! One `redis-server` process and what can be done to it.

use std::{
    fs,
    io::ErrorKind,
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow, ensure};
use rustls::ClientConfig;

use super::{Options, Proxy, Tls, resp};
use crate::{ports::Port, process::Process, wait::Look};

/// Generous for a machine that compiles beside the test; Redis takes some 50 ms.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// Redis waits up to 10 s for its replicas when it is asked to end (`shutdown-timeout`).
const END_DEADLINE: Duration = Duration::from_secs(15);

/// What a node of a replicated Redis does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes writes.
    Primary,
    /// Follows a primary.
    Replica,
}

/// A running `redis-server`.
#[derive(Debug)]
pub struct RedisNode {
    process: Process,
    /// Of its data, configuration and log.
    directory: PathBuf,
    port: Port,
    /// Of the cluster bus; Redis would take port + 10000 without asking whether that is free.
    bus: Option<Port>,
    /// Between the server and its clients.
    proxy: Option<Proxy>,
    /// How the testbed connects to a server that speaks TLS.
    tls: Option<Arc<ClientConfig>>,
}

impl RedisNode {
    /// Starts a server with `settings` as its `redis.conf` and waits for nothing.
    pub(super) fn start(
        name: &str,
        directory: &Path,
        port: Port,
        bus: Option<Port>,
        settings: &[(String, String)],
        options: &Options,
    ) -> anyhow::Result<Self> {
        ensure!(!options.proxied || options.tls.is_none(), "a proxy does not understand TLS");
        let directory = directory.join(name);
        fs::create_dir_all(&directory)
            .with_context(|| format!("failed to create {}", directory.display()))?;
        let proxy = if options.proxied { Some(Proxy::start(port.address())?) } else { None };
        let (host, number) = (port.address().ip().to_string(), port.address().port().to_string());
        let mut lines = vec![("bind".to_owned(), host)];
        match &options.tls {
            None => lines.push(("port".to_owned(), number)),
            Some(tls) => lines.extend(tls.settings(&number)),
        }
        if let Some(bus) = &bus {
            lines.push(("cluster-enabled".to_owned(), "yes".to_owned()));
            lines.push(("cluster-port".to_owned(), bus.address().port().to_string()));
            if let Some(proxy) = &proxy {
                lines.push(("cluster-announce-port".to_owned(), proxy.address().port().to_string()));
                lines.push(("cluster-announce-bus-port".to_owned(), bus.address().port().to_string()));
            }
        }
        let configuration: String =
            lines.iter().chain(settings).map(|(name, value)| format!("{name} {value}\n")).collect();
        let file = directory.join("redis.conf");
        fs::write(&file, configuration).with_context(|| format!("failed to write {}", file.display()))?;

        let program = options.program.path()?;
        let mut command = Command::new(&program);
        command.arg(&file).current_dir(&directory);
        if options.background {
            command.process_group(0);
        }
        let process = Process::start(name, command, &directory.join("redis.log"))
            .map_err(|error| explain_missing_program(error, &program))?;
        let tls = options.tls.as_ref().map(Tls::client).transpose()?;
        Ok(Self { process, directory, port, bus, proxy, tls })
    }

    /// Where its clients reach it: the proxy, if there is one.
    #[must_use]
    pub fn announced(&self) -> SocketAddr {
        self.proxy.as_ref().map_or_else(|| self.address(), Proxy::address)
    }

    /// The network between it and its clients.
    ///
    /// # Panics
    /// When it was started without [`Options::proxied`].
    #[must_use]
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("the server was started with a proxy")
    }

    /// Whether it speaks TLS.
    pub(super) fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Where the server itself listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The process: kill, pause, resume, log.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Sends any command and returns the answer as text, one line per element.
    ///
    /// # Errors
    /// When there is no answer within 5 s, or it is an error.
    pub async fn command(&self, words: &[&str]) -> anyhow::Result<String> {
        Ok(resp::command(self.address(), self.tls.as_ref(), words).await?.to_string())
    }

    /// What it takes itself for at the moment.
    ///
    /// # Errors
    /// Like [`RedisNode::command`].
    pub async fn role(&self) -> anyhow::Result<Role> {
        let role = self.command(&["ROLE"]).await?;
        Ok(if role.starts_with("master") { Role::Primary } else { Role::Replica })
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// When it still runs after 15 s, because it is paused for example.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        self.process.terminate(END_DEADLINE).await.map(drop)
    }

    /// Starts it again with its data and waits until that is loaded; what still runs is killed.
    ///
    /// A primary that is back before its replica was promoted, with less data than the replica has,
    /// makes the replica as poor as itself. Wait for the failover first.
    ///
    /// # Errors
    /// When it does not answer within 30 s; the end of its log is quoted.
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.process.restart()?;
        self.wait_ready().await
    }

    pub(super) async fn wait_ready(&self) -> anyhow::Result<()> {
        let look = async || match self.command(&["PING"]).await {
            Ok(_) => Look::Reached,
            Err(error) => Look::NotYet(format!("{error:#}")),
        };
        self.process.wait_until("ready", READY_DEADLINE, look).await
    }

    /// Where its data are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Port of the cluster bus; `None` for a single server.
    pub(super) fn bus_port(&self) -> Option<u16> {
        self.bus.as_ref().map(|bus| bus.address().port())
    }
}

fn explain_missing_program(error: anyhow::Error, program: &Path) -> anyhow::Error {
    let is_missing =
        error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound);
    if is_missing {
        anyhow!("{} is not installed; install it with: sh deploy/setup.sh", program.display())
    } else {
        error
    }
}
