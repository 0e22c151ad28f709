//! Checks what is deployed without a cluster, as `just check-deploy` does.

use std::{
    fs::{self, File},
    time::Duration,
};

use anyhow::Context as _;
use serde::Deserialize;
use tokio::{process::Command, time::timeout};

use crate::stage::{ROOT, Run};

/// It takes some seconds; the first time Python packages are installed.
const DEADLINE: Duration = Duration::from_secs(300);

/// What the check ends with.
#[derive(Debug, PartialEq, Deserialize)]
struct Checked {
    manifests: u64,
    failed: Vec<String>,
}

pub(crate) async fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    let log = run.home.join("check-deploy.log");
    let told = File::create(&log).with_context(|| format!("failed to write {}", log.display()))?;
    let mut command = Command::new("just");
    command.arg("check-deploy").current_dir(ROOT).stderr(told).kill_on_drop(true);
    let output =
        timeout(DEADLINE, command.output()).await.context("just check-deploy did not end in time")?;
    let output = output.context("failed to start just; install it with: sh deploy/setup.sh")?;
    let told = fs::read_to_string(&log).with_context(|| format!("failed to read {}", log.display()))?;
    let checked = read(&String::from_utf8_lossy(&output.stdout)).with_context(|| told.clone())?;
    for check in &checked.failed {
        let begin = format!("{check}: ");
        let said: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix(&begin)).collect();
        run.fail(check, &said.join("; "));
    }
    if checked.failed.is_empty() {
        run.report.manifests_valid = checked.manifests;
    }
    Ok(())
}

/// The last line that it printed.
fn read(output: &str) -> anyhow::Result<Checked> {
    let line = output.lines().last().context("just check-deploy printed nothing")?;
    serde_json::from_str(line)
        .with_context(|| format!("failed to understand what just check-deploy printed: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_the_check_counts() {
        let output =
            "noise\n{\"manifests\":27,\"rules\":31,\"alerts\":22,\"dashboards\":4,\"failed\":[\"nginx\"]}\n";
        assert_eq!(read(output).unwrap(), Checked { manifests: 27, failed: vec!["nginx".to_owned()] });
        assert!(read("").is_err() && read("error: no such recipe\n").is_err());
    }
}
