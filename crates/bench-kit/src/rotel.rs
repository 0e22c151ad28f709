//! Rotel, a stateless forwarder in Rust, as it comes from PyPI: what the same requests cost without state.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bench_kit::{cpu, run::note};
use tempfile::TempDir;
use testbed::{Process, eventually, ports::Port};
use tokio::{net::TcpStream, process::Command, time::timeout};

use crate::deployment::Compression;

/// The newest of its pre-releases for Python 3.8 and later.
const PACKAGE: &str = "rotel==0.0.1a15";
/// For a download of 20 MB.
const INSTALL_TIME: Duration = Duration::from_secs(120);
const START_TIME: Duration = Duration::from_secs(20);

/// A running forwarder, killed when dropped.
pub(crate) struct Rotel {
    process: Process,
    port: Port,
    _http: Port,
    _directory: TempDir,
}

impl Rotel {
    /// Starts it with its defaults: batches of 8,192 spans or 200 ms.
    ///
    /// # Errors
    /// When it can neither be found nor installed, or does not start.
    pub(crate) async fn start(sink: &str, compression: Compression) -> anyhow::Result<Self> {
        let agent = agent().await?;
        let (port, http) = (Port::free()?, Port::free()?);
        let directory = tempfile::tempdir().context("failed to create a directory")?;
        let mut command = std::process::Command::new(agent);
        command.current_dir(directory.path()).arg("start").args(["--exporter", "otlp"]);
        command.args(["--otlp-grpc-endpoint", &port.address().to_string()]);
        command.args(["--otlp-http-endpoint", &http.address().to_string()]);
        command.args(["--otlp-exporter-endpoint", sink, "--otlp-exporter-protocol", "grpc"]);
        if compression == Compression::None {
            command.args(["--otlp-exporter-compression", "none"]);
        }
        for (flag, file) in [("--pid-file", "rotel.pid"), ("--log-file", "agent.log")] {
            command.arg(flag).arg(directory.path().join(file));
        }
        let process = Process::start("rotel", command, &directory.path().join("rotel.log"))?;
        let listens = async || TcpStream::connect(port.address()).await.is_ok();
        eventually("rotel listening", START_TIME, listens).await?;
        Ok(Self { process, port, _http: http, _directory: directory })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// CPU until now.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu::of_process(self.process.pid())
    }
}

/// The program; it is installed where this one was built, once.
async fn agent() -> anyhow::Result<PathBuf> {
    let program = env::current_exe().context("failed to find the path of this program")?;
    let directory = program.parent().context("this program is in no directory")?.join(PACKAGE);
    if let Ok(agent) = find_agent(&directory) {
        return Ok(agent);
    }
    note(&format!("installing {PACKAGE} from PyPI into {}", directory.display()));
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory)).await?;
    let mut pip = Command::new(directory.join("bin/pip"));
    run(pip.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", PACKAGE]))
        .await?;
    find_agent(&directory)
}

/// Where the package has it: `lib/python3.11/site-packages/rotel/rotel-agent`.
fn find_agent(directory: &Path) -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir(directory.join("lib")).context("it is not installed")?;
    let agents = versions.flatten().map(|version| version.path().join("site-packages/rotel/rotel-agent"));
    agents.into_iter().find(|agent| agent.is_file()).with_context(|| format!("{PACKAGE} has no rotel-agent"))
}

async fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = timeout(INSTALL_TIME, command.kill_on_drop(true).output()).await;
    let output = output.with_context(|| format!("{command:?} did not end in time"))?;
    let output = output.with_context(|| format!("failed to start {command:?}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {told}", output.status);
    Ok(())
}
