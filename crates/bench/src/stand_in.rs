//! Instances of the stand-in for what the engine replaces: `benches/stand-in/stand_in.py`, run by uvicorn.

use std::{fs, process::Command, time::Duration};

use anyhow::Context as _;
use bench_kit::pypi;
use tempfile::TempDir;
use testbed::{Process, RedisServer, eventually, ports::Port, redis::Options};
use tokio::net::TcpStream;

const PROGRAM: &str = include_str!("../../../benches/stand-in/stand_in.py");
/// With the fastest loop and parser that uvicorn knows.
const PACKAGES: [&str; 5] =
    ["fastapi==0.165.0", "uvicorn==0.54.0", "redis==8.1.0", "uvloop==0.23.0", "httptools==0.9.0"];
const START_TIME: Duration = Duration::from_secs(30);

/// Running instances that share a Redis server or have a dict each, killed when dropped.
pub(crate) struct StandIn {
    instances: Vec<(Process, Port)>,
    redis: Option<RedisServer>,
    _directory: TempDir,
}

impl StandIn {
    /// Starts so many, one process each.
    ///
    /// # Errors
    /// When the packages can neither be found nor installed, or an instance does not start.
    pub(crate) async fn start(instances: usize, has_redis: bool) -> anyhow::Result<Self> {
        let environment = pypi::environment("stand-in", &PACKAGES).await?;
        let directory = tempfile::tempdir().context("failed to create a directory")?;
        let file = directory.path().join("stand_in.py");
        fs::write(&file, PROGRAM).with_context(|| format!("failed to write {}", file.display()))?;
        let settings = vec![("appendonly".to_owned(), "no".to_owned())];
        let redis = match has_redis {
            true => Some(RedisServer::start(Options { settings, ..Options::default() }).await?),
            false => None,
        };
        let mut started = Self { instances: Vec::new(), redis, _directory: directory };
        for number in 1..=instances {
            let port = Port::free()?;
            let mut command = Command::new(environment.join("bin/uvicorn"));
            command.current_dir(started._directory.path()).arg("stand_in:app");
            command.args(["--host", "127.0.0.1", "--port", &port.address().port().to_string()]);
            command.args([
                "--loop",
                "uvloop",
                "--http",
                "httptools",
                "--no-access-log",
                "--log-level",
                "warning",
            ]);
            match &started.redis {
                Some(redis) => command.env("REDIS_URL", redis.url()),
                None => command.env_remove("REDIS_URL"),
            };
            let name = format!("stand-in-{number}");
            let log = started._directory.path().join(format!("{name}.log"));
            let process = Process::start(&name, command, &log)?;
            started.instances.push((process, port));
        }
        for (process, port) in &started.instances {
            let listens = async || TcpStream::connect(port.address()).await.is_ok();
            eventually(&format!("{} listening", process.name()), START_TIME, listens).await?;
        }
        Ok(started)
    }

    /// Where they take OTLP/JSON and answer queries.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.instances.iter().map(|(_, port)| format!("http://{}", port.address())).collect()
    }

    /// All processes, that of Redis included.
    pub(crate) fn processes(&self) -> impl Iterator<Item = &Process> {
        let instances = self.instances.iter().map(|(process, _)| process);
        instances.chain(self.redis.iter().map(|redis| redis.node().process()))
    }
}
