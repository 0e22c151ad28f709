//! One engine as a real process.

use std::{net::SocketAddr, path::PathBuf};

use crate::{
    directory::Directory,
    ports::{self, Port},
    process::Process,
    service::{self, Launch, Settings},
};

/// Where an engine keeps its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// In its own memory.
    Memory,
    /// In the Redis at this URL.
    Redis(String),
}

/// How an engine is started.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// What it is called in errors and files. Default `engine-1`.
    pub name: String,
    /// Default: in memory.
    pub state: State,
    /// Further settings; they win.
    pub settings: Settings,
    /// Where its log goes; a temporary directory when `None`.
    pub directory: Option<PathBuf>,
    /// Ports for gRPC and admin, taken where they are free.
    pub ports: Option<(u16, u16)>,
    /// Survives Ctrl-C and the end of the terminal: own process group.
    pub background: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            name: "engine-1".to_owned(),
            state: State::Memory,
            settings: Settings::new(),
            directory: None,
            ports: None,
            background: false,
        }
    }
}

/// A running engine, killed when dropped.
#[derive(Debug)]
pub struct EngineProcess {
    // Dropped in this order: the process ends before its directory goes.
    process: Process,
    grpc: Port,
    admin: Port,
    _directory: Directory,
}

impl EngineProcess {
    /// Starts an engine and waits until it is ready.
    ///
    /// # Errors
    /// When the binary is missing, ends, or is not ready within 30 s; the end of its log is quoted.
    pub async fn start(options: EngineOptions) -> anyhow::Result<Self> {
        ports::retry_when_taken(async || {
            let engine = Self::spawn(&options)?;
            engine.wait_ready().await?;
            Ok(engine)
        })
        .await
    }

    /// Starts an engine and waits for nothing: for tests of what happens before it is ready.
    ///
    /// # Errors
    /// When the binary is missing or cannot be started.
    pub fn spawn(options: &EngineOptions) -> anyhow::Result<Self> {
        let directory = Directory::create(options.directory.as_deref())?;
        let grpc = ports::next(options.ports.map(|(grpc, _)| grpc), 0)?;
        let admin = ports::next(options.ports.map(|(_, admin)| admin), 0)?;
        let mut settings = vec![
            ("grpc.listen".to_owned(), grpc.address().to_string()),
            ("admin.listen".to_owned(), admin.address().to_string()),
        ];
        if let State::Redis(url) = &options.state {
            settings.push(("use_redis_state".to_owned(), "true".to_owned()));
            settings.push(("redis.url".to_owned(), url.clone()));
        }
        settings.extend(options.settings.iter().cloned());
        let launch = Launch {
            program: "engine",
            name: &options.name,
            directory: directory.path(),
            background: options.background,
        };
        let process = service::start(&launch, &settings)?;
        Ok(Self { process, grpc, admin, _directory: directory })
    }

    /// Where it takes OTLP and queries.
    #[must_use]
    pub fn grpc(&self) -> SocketAddr {
        self.grpc.address()
    }

    /// The same as a URL, `http://127.0.0.1:4317`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.grpc())
    }

    /// Where it answers `/livez`, `/readyz` and `/metrics`.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Status and text of a GET on the admin port, `/metrics` for example.
    ///
    /// # Errors
    /// When there is no answer within 5 s.
    pub async fn admin_get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        service::get(&format!("http://{}{path}", self.admin())).await
    }

    /// Waits until a line is among the metrics, such as `door_connections{door="http"} 1`.
    ///
    /// # Errors
    /// When it is not within 30 s; names what is there instead.
    pub async fn wait_metric(&self, line: &str) -> anyhow::Result<()> {
        service::wait_metric(&self.process, self.admin(), line).await
    }

    /// The process: kill, pause, terminate, log.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// When it ends, or is not ready within 30 s; the end of its log is quoted.
    pub async fn wait_ready(&self) -> anyhow::Result<()> {
        service::wait_ready(&self.process, self.admin()).await
    }

    /// Starts it again on the same ports and waits until it is ready; what still runs is killed.
    ///
    /// # Errors
    /// Like [`EngineProcess::start`].
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.process.restart()?;
        self.wait_ready().await
    }
}
