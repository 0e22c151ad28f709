//! Where it was measured: figures mean nothing without it.

use std::{fs, process::Command, thread};

use chrono::Utc;
use serde::{Deserialize, Serialize};

/// The machine and the programs that took part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Machine {
    date: String,
    cpu: String,
    cores: usize,
    kernel: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redis: Option<String>,
}

impl Machine {
    /// Asks the system; what it does not tell is told to be unknown.
    pub fn ask() -> Self {
        let unknown = || "unknown".to_owned();
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let kernel = read("/proc/sys/kernel/osrelease");
        Self {
            date: Utc::now().format("%Y-%m-%d").to_string(),
            cpu: cpu.map_or_else(unknown, |(_, name)| name.trim().to_owned()),
            cores: thread::available_parallelism().map_or(0, usize::from),
            kernel: if kernel.is_empty() { unknown() } else { kernel.trim().to_owned() },
            redis: None,
        }
    }

    /// Names the version of the Redis server that took part.
    pub fn with_redis(self) -> Self {
        let output = Command::new("redis-server").arg("--version").output();
        let output = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let output = output.unwrap_or_default();
        let version = output.split_whitespace().find_map(|word| word.strip_prefix("v="));
        Self { redis: Some(version.unwrap_or("unknown").to_owned()), ..self }
    }

    /// One sentence.
    pub fn describe(&self) -> String {
        let Self { date, cpu, cores, kernel, redis } = self;
        let redis = redis.as_ref().map(|version| format!(", Redis {version}")).unwrap_or_default();
        format!("Measured on {date}: {cores} cores of {cpu}, Linux {kernel}{redis}.")
    }
}
