//! `testbed down`: ends what `testbed up` started, and nothing else.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;
use testbed::{Running, running::Member};
use tokio::time::{Instant, sleep};

use crate::{output::say, up};

/// An engine has 25 s to drain (`shutdown.grace_ms`).
const TERMINATE_DEADLINE: Duration = Duration::from_secs(30);

/// The kernel ends a killed process at once, unless it hangs in a device.
const KILL_DEADLINE: Duration = Duration::from_secs(5);

const LOOK_INTERVAL: Duration = Duration::from_millis(20);

pub(crate) async fn run(home: &Path) -> anyhow::Result<()> {
    let Some(running) = Running::load(home)? else {
        say(&format!("No cluster is up in {}.", home.display()));
        return Ok(());
    };
    let _lock = up::lock(home)?;
    for group in running.groups() {
        end(&group).await?;
    }
    fs::remove_dir_all(home).with_context(|| format!("failed to remove {}", home.display()))?;
    say("The cluster is down.");
    Ok(())
}

/// Ends a group: asks all, waits for all, then kills those that did not listen.
async fn end(group: &[Member<'_>]) -> anyhow::Result<()> {
    for member in group {
        member.entry.signal(Signal::SIGTERM)?;
    }
    let stubborn = still_running(group, TERMINATE_DEADLINE).await;
    for name in &stubborn {
        say(&format!("{name} did not end within {TERMINATE_DEADLINE:?} and is killed."));
    }
    for member in group {
        member.entry.signal(Signal::SIGKILL)?;
    }
    let immortal = still_running(group, KILL_DEADLINE).await;
    if !immortal.is_empty() {
        bail!("failed to end {}: still there {KILL_DEADLINE:?} after SIGKILL", immortal.join(", "));
    }
    Ok(())
}

/// Names of the processes that run when all have ended or the time is over.
async fn still_running(group: &[Member<'_>], deadline: Duration) -> Vec<String> {
    let end = Instant::now() + deadline;
    loop {
        let running: Vec<String> = group
            .iter()
            .filter(|member| member.entry.is_running())
            .map(|member| member.entry.name.clone())
            .collect();
        if running.is_empty() || Instant::now() >= end {
            return running;
        }
        sleep(LOOK_INTERVAL).await;
    }
}
