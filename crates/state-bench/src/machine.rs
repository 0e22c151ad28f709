//! Where it was measured: figures mean nothing without it.

use std::{fs, process::Command, thread};

use chrono::Utc;
use serde::Serialize;

/// The machine and the programs that took part.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    date: String,
    cpu: String,
    cores: usize,
    kernel: String,
    redis: String,
}

impl Machine {
    /// Asks the system; what it does not tell is told to be unknown.
    pub(crate) fn ask() -> Self {
        let unknown = || "unknown".to_owned();
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let version = Command::new("redis-server").arg("--version").output();
        let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let version = version.unwrap_or_default();
        let redis = version.split_whitespace().find_map(|word| word.strip_prefix("v="));
        let kernel = read("/proc/sys/kernel/osrelease");
        Self {
            date: Utc::now().format("%Y-%m-%d").to_string(),
            cpu: cpu.map_or_else(unknown, |(_, name)| name.trim().to_owned()),
            cores: thread::available_parallelism().map_or(0, usize::from),
            kernel: if kernel.is_empty() { unknown() } else { kernel.trim().to_owned() },
            redis: redis.map_or_else(unknown, str::to_owned),
        }
    }

    /// One sentence.
    pub(crate) fn describe(&self) -> String {
        let Self { date, cpu, cores, kernel, redis } = self;
        format!("Measured on {date}: {cores} cores of {cpu}, Linux {kernel}, Redis {redis}.")
    }
}
