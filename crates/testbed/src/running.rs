//! A cluster that runs in the background, as its file `cluster.json` describes it.
//!
//! The file is written by `testbed up` and read by every program that wants to use the cluster.

use std::{
    fmt, fs,
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::{process::Process, redis, service};

/// Name of the description in the directory of a cluster.
const FILE: &str = "cluster.json";

/// Everything that runs, and how it is reached.
#[derive(Debug, Serialize, Deserialize)]
pub struct Running {
    /// Where the engines keep their state.
    pub state: Backend,
    /// Empty when the state is in memory.
    pub redis: Vec<RunningRedis>,
    /// At least one.
    pub engines: Vec<RunningEngine>,
    /// None, one or several.
    pub gateways: Vec<RunningGateway>,
}

/// Where the engines of a cluster keep their state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// Each in its own memory.
    Memory,
    /// In one Redis server.
    Redis,
    /// In a Redis Cluster of three primaries and their replicas.
    RedisCluster,
}

/// A Redis server.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunningRedis {
    /// Where it takes commands.
    pub address: SocketAddr,
    /// The process.
    #[serde(flatten)]
    pub entry: Entry,
}

/// An engine.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunningEngine {
    /// Where it takes OTLP and queries.
    pub grpc: SocketAddr,
    /// Where it answers `/readyz` and `/metrics`.
    pub admin: SocketAddr,
    /// The process.
    #[serde(flatten)]
    pub entry: Entry,
}

/// A gateway.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunningGateway {
    /// Where it takes OTLP/HTTP and answers the query API.
    pub http: SocketAddr,
    /// Where it takes OTLP/gRPC.
    pub grpc: SocketAddr,
    /// Where it answers `/readyz` and `/metrics`.
    pub admin: SocketAddr,
    /// The process.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What identifies a process of the cluster.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    /// `redis-1`, `engine-1`, `gateway-1`, …
    pub name: String,
    /// Process id. It may belong to another process by now: see [`Entry::is_running`].
    pub pid: u32,
    /// Start of the process in clock ticks since boot, field 22 of `/proc/PID/stat`.
    pub started: u64,
    /// File with everything it prints.
    pub log: PathBuf,
}

/// One process with where it is asked whether it is ready.
#[derive(Debug)]
pub struct Member<'a> {
    /// The process.
    pub entry: &'a Entry,
    /// Its main address.
    pub address: SocketAddr,
    readiness: Readiness,
}

#[derive(Debug)]
enum Readiness {
    Redis(SocketAddr),
    Admin(SocketAddr),
}

impl Running {
    /// Reads the description of the cluster in `home`; `None` when there is none.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn load(home: &Path) -> anyhow::Result<Option<Self>> {
        let file = home.join(FILE);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("failed to read {}", file.display()));
            }
        };
        serde_json::from_slice(&text)
            .map(Some)
            .with_context(|| format!("failed to understand {}", file.display()))
    }

    /// Writes the description into `home`, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, home: &Path) -> anyhow::Result<()> {
        let file = home.join(FILE);
        let write = || {
            let draft = home.join("cluster.json.new");
            fs::write(&draft, serde_json::to_vec_pretty(self)?)?;
            fs::rename(&draft, &file)?;
            anyhow::Ok(())
        };
        write().with_context(|| format!("failed to write {}", file.display()))
    }

    /// All processes in groups, in the order in which they must end: clients before servers.
    #[must_use]
    pub fn groups(&self) -> [Vec<Member<'_>>; 3] {
        let gateways = self.gateways.iter().map(|gateway| Member {
            entry: &gateway.entry,
            address: gateway.http,
            readiness: Readiness::Admin(gateway.admin),
        });
        let engines = self.engines.iter().map(|engine| Member {
            entry: &engine.entry,
            address: engine.grpc,
            readiness: Readiness::Admin(engine.admin),
        });
        let redis = self.redis.iter().map(|redis| Member {
            entry: &redis.entry,
            address: redis.address,
            readiness: Readiness::Redis(redis.address),
        });
        [gateways.collect(), engines.collect(), redis.collect()]
    }

    /// All processes, Redis first.
    #[must_use]
    pub fn members(&self) -> Vec<Member<'_>> {
        self.groups().into_iter().rev().flatten().collect()
    }
}

impl Member<'_> {
    /// Asks the process whether it can do its work.
    ///
    /// # Errors
    /// With the reason when it cannot.
    pub async fn ready(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.entry.is_running(), "it has ended");
        match self.readiness {
            Readiness::Admin(admin) => service::is_ready(admin).await,
            Readiness::Redis(address) => redis::is_ready(address).await,
        }
    }
}

impl Entry {
    pub(crate) fn of(process: &Process) -> anyhow::Result<Self> {
        let (name, pid) = (process.name().to_owned(), process.pid());
        let started = start_of(pid).with_context(|| format!("{name} has ended"))?;
        Ok(Self { name, pid, started, log: process.log().to_owned() })
    }

    /// Whether this very process runs; another one that got its id does not count.
    #[must_use]
    pub fn is_running(&self) -> bool {
        start_of(self.pid) == Some(self.started)
    }

    /// Sends a signal, unless the process has ended.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        if self.is_running() {
            signal::kill(Pid::from_raw(i32::try_from(self.pid)?), signal)
                .with_context(|| format!("failed to send {signal} to {}", self.name))?;
        }
        Ok(())
    }

    /// Resident memory in bytes; `None` when it has ended.
    #[must_use]
    pub fn memory_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kibibytes * 1024)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::RedisCluster => "redis-cluster",
        })
    }
}

/// When a process started; `None` when it has ended, also as a zombie that nobody collects.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, which may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    let has_ended = matches!(state, "Z" | "X");
    if has_ended { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use std::process::{self, Command};

    use super::*;

    fn entry(pid: u32, started: u64) -> Entry {
        Entry { name: "engine-1".to_owned(), pid, started, log: PathBuf::from("log") }
    }

    #[test]
    fn a_process_is_known_by_its_id_and_its_start() {
        let pid = process::id();
        let started = start_of(pid).unwrap();
        assert!(entry(pid, started).is_running());
        assert!(!entry(pid, started + 1).is_running(), "another process has got the id");
        assert!(entry(pid, started).memory_bytes().unwrap() > 0);
    }

    #[test]
    fn a_process_that_ended_and_was_not_collected_does_not_run() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        while start_of(pid).is_some() {
            std::thread::yield_now();
        }
        assert!(fs::exists(format!("/proc/{pid}")).unwrap(), "it is there, as a zombie");
        child.wait().unwrap();
    }

    #[test]
    fn a_description_is_read_back_as_it_was_written() {
        let home = tempfile::tempdir().unwrap();
        assert!(Running::load(home.path()).unwrap().is_none());
        let address = SocketAddr::from(([127, 0, 0, 1], 4317));
        let running = Running {
            state: Backend::RedisCluster,
            redis: vec![RunningRedis { address, entry: entry(1, 10) }],
            engines: vec![RunningEngine { grpc: address, admin: address, entry: entry(2, 20) }],
            gateways: vec![RunningGateway {
                http: address,
                grpc: address,
                admin: address,
                entry: entry(3, 30),
            }],
        };
        running.save(home.path()).unwrap();
        let read = Running::load(home.path()).unwrap().unwrap();
        assert_eq!(format!("{read:?}"), format!("{running:?}"));
        let order: Vec<u32> = read.groups().iter().flatten().map(|member| member.entry.pid).collect();
        assert_eq!(order, [3, 2, 1], "clients end before servers");
    }

    #[test]
    fn the_description_has_the_form_that_other_programs_read() {
        let address = SocketAddr::from(([127, 0, 0, 1], 7000));
        let running = Running {
            state: Backend::RedisCluster,
            redis: vec![RunningRedis { address, entry: entry(1, 10) }],
            engines: Vec::new(),
            gateways: Vec::new(),
        };
        let json = serde_json::to_value(&running).unwrap();
        assert_eq!(json["state"], "redis-cluster");
        assert_eq!(json["redis"][0]["address"], "127.0.0.1:7000");
        assert_eq!(json["redis"][0]["pid"], 1);
        assert_eq!(json["redis"][0]["log"], "log");
    }
}
