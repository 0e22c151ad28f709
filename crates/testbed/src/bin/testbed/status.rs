//! `testbed status`: every process of the cluster in a table.

use std::path::Path;

use anyhow::bail;
use testbed::Running;

use crate::output::say;

pub(crate) async fn run(home: &Path) -> anyhow::Result<()> {
    let Some(running) = Running::load(home)? else {
        bail!("no cluster is up in {}; start one with: just up", home.display());
    };
    let mut not_ready = Vec::new();
    row("NAME", "PID", "ADDRESS", "MEMORY", "READY");
    for member in running.members() {
        let ready = match member.ready().await {
            Ok(()) => "yes".to_owned(),
            Err(error) => {
                not_ready.push(member.entry.name.as_str());
                format!("no: {error:#} (log: {})", member.entry.log.display())
            }
        };
        let memory = match member.entry.memory_bytes() {
            Some(bytes) if member.entry.is_running() => format!("{:.1} MiB", mebibytes(bytes)),
            _ => "-".to_owned(),
        };
        let (pid, address) = (member.entry.pid.to_string(), member.address.to_string());
        row(&member.entry.name, &pid, &address, &memory, &ready);
    }
    if !not_ready.is_empty() {
        bail!("not ready: {}", not_ready.join(", "));
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn row(name: &str, pid: &str, address: &str, memory: &str, ready: &str) {
    say(&format!("{name:<10} {pid:>7}  {address:<17} {memory:>10}  {ready}"));
}
