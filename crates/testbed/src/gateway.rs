//! One gateway as a real process.

use std::{net::SocketAddr, path::PathBuf};

use crate::{
    directory::Directory,
    ports::{self, Port},
    process::Process,
    service::{self, Launch, Settings},
};

/// How a gateway is started.
#[derive(Debug, Clone)]
pub struct GatewayOptions {
    /// What it is called in errors and files. Default `gateway-1`.
    pub name: String,
    /// URLs of the engines it sends to, `http://host:port`.
    pub engines: Vec<String>,
    /// Further settings; they win.
    pub settings: Settings,
    /// Where its log goes; a temporary directory when `None`.
    pub directory: Option<PathBuf>,
    /// Ports for HTTP and admin, taken where they are free.
    pub ports: Option<(u16, u16)>,
    /// Survives Ctrl-C and the end of the terminal: own process group.
    pub background: bool,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            name: "gateway-1".to_owned(),
            engines: Vec::new(),
            settings: Settings::new(),
            directory: None,
            ports: None,
            background: false,
        }
    }
}

/// A running gateway, killed when dropped.
#[derive(Debug)]
pub struct GatewayProcess {
    // Dropped in this order: the process ends before its directory goes.
    process: Process,
    http: Port,
    grpc: Port,
    admin: Port,
    _directory: Directory,
}

impl GatewayProcess {
    /// Starts a gateway and waits until it is ready.
    ///
    /// # Errors
    /// When the binary is missing, ends, or is not ready within 30 s; the end of its log is quoted.
    pub async fn start(options: GatewayOptions) -> anyhow::Result<Self> {
        ports::retry_when_taken(async || {
            let gateway = Self::spawn(&options)?;
            gateway.wait_ready().await?;
            Ok(gateway)
        })
        .await
    }

    /// Starts a gateway and waits for nothing: for tests of what happens before it is ready.
    ///
    /// # Errors
    /// When the binary is missing or cannot be started.
    pub fn spawn(options: &GatewayOptions) -> anyhow::Result<Self> {
        let directory = Directory::create(options.directory.as_deref())?;
        let http = ports::next(options.ports.map(|(http, _)| http), 0)?;
        // 4316 beside 4318: 4317 is an engine's.
        let grpc = ports::next(options.ports.map(|(http, _)| http - 2), 0)?;
        let admin = ports::next(options.ports.map(|(_, admin)| admin), 0)?;
        let mut settings = vec![
            ("http.listen".to_owned(), http.address().to_string()),
            ("otlp_grpc.listen".to_owned(), grpc.address().to_string()),
            ("admin.listen".to_owned(), admin.address().to_string()),
            // A list of strings in TOML is written as in Rust.
            ("engines.urls".to_owned(), format!("{:?}", options.engines)),
        ];
        settings.extend(options.settings.iter().cloned());
        let launch = Launch {
            program: "ingest-gateway",
            name: &options.name,
            directory: directory.path(),
            background: options.background,
        };
        let process = service::start(&launch, &settings)?;
        Ok(Self { process, http, grpc, admin, _directory: directory })
    }

    /// Where it takes OTLP/HTTP and answers the query API.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http.address()
    }

    /// The same as a URL, `http://127.0.0.1:4318`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.http())
    }

    /// Where it takes OTLP/gRPC.
    #[must_use]
    pub fn grpc(&self) -> SocketAddr {
        self.grpc.address()
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
    /// Like [`GatewayProcess::start`].
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.process.restart()?;
        self.wait_ready().await
    }
}
