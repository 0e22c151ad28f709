//! Rotel, a stateless forwarder in Rust, as it comes from PyPI: what the same requests cost without state.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use tempfile::TempDir;
use testbed::{Process, eventually, ports::Port};
use tokio::net::TcpStream;

use crate::{
    cpu,
    deployment::{Compression, Endpoint},
    pypi,
};

/// The newest of its pre-releases for Python 3.8 and later.
const PACKAGE: &str = "rotel==0.0.1a15";
const START_TIME: Duration = Duration::from_secs(20);

/// A running forwarder, killed when dropped.
pub struct Rotel {
    process: Process,
    port: Port,
    _http: Port,
    _directory: TempDir,
}

impl Rotel {
    /// Starts it with its defaults: batches of 8,192 spans or 200 ms. Without an endpoint it discards what
    /// it has received.
    ///
    /// # Errors
    /// When it can neither be found nor installed, or does not start.
    pub async fn start(endpoint: Option<&Endpoint>) -> anyhow::Result<Self> {
        let agent = agent().await?;
        let (port, http) = (Port::free()?, Port::free()?);
        let directory = tempfile::tempdir().context("failed to create a directory")?;
        let mut command = std::process::Command::new(agent);
        command.current_dir(directory.path()).arg("start");
        command.args(["--otlp-grpc-endpoint", &port.address().to_string()]);
        command.args(["--otlp-http-endpoint", &http.address().to_string()]);
        match endpoint {
            None => command.args(["--exporter", "blackhole"]),
            Some(Endpoint { url, compression }) => {
                command.args(["--exporter", "otlp", "--otlp-exporter-protocol", "grpc"]);
                if *compression == Compression::None {
                    command.args(["--otlp-exporter-compression", "none"]);
                }
                command.args(["--otlp-exporter-endpoint", url])
            }
        };
        for (flag, file) in [("--pid-file", "rotel.pid"), ("--log-file", "agent.log")] {
            command.arg(flag).arg(directory.path().join(file));
        }
        let process = Process::start("rotel", command, &directory.path().join("rotel.log"))?;
        let listens = async || TcpStream::connect(port.address()).await.is_ok();
        eventually("rotel listening", START_TIME, listens).await?;
        Ok(Self { process, port, _http: http, _directory: directory })
    }

    /// Where it takes OTLP over gRPC.
    pub fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// The process: kill, for example.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// CPU until now.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        cpu::of_process(self.process.pid())
    }
}

/// The program, where the package has it: `lib/python3.11/site-packages/rotel/rotel-agent`.
async fn agent() -> anyhow::Result<PathBuf> {
    let directory = pypi::environment("rotel", &[PACKAGE]).await?;
    let versions = fs::read_dir(directory.join("lib")).context("a virtual environment has no lib")?;
    let agents = versions.flatten().map(|version| version.path().join("site-packages/rotel/rotel-agent"));
    agents.into_iter().find(|agent| agent.is_file()).with_context(|| format!("{PACKAGE} has no rotel-agent"))
}
