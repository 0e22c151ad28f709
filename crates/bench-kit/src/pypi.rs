//! Programs of others as they come from PyPI, each in a virtual environment beside the benchmark.

use std::{env, fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::{process::Command, time::timeout};

use crate::run::note;

/// For a download of some tens of megabytes.
const INSTALL_TIME: Duration = Duration::from_secs(180);
/// What an environment was made for; it is written last, so an installation that broke off has none.
const MADE_FOR: &str = "made-for.txt";

/// The virtual environment with these packages, `name==version` each. It is made where this program was
/// built, when it is not there.
///
/// # Errors
/// When there is no `python3`, or PyPI does not have the packages.
pub async fn environment(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let program = env::current_exe().context("failed to find the path of this program")?;
    let directory = program.parent().context("this program is in no directory")?.join("pypi").join(name);
    let (made_for, wanted) = (directory.join(MADE_FOR), packages.join("\n"));
    if fs::read_to_string(&made_for).is_ok_and(|made_for| made_for == wanted) {
        return Ok(directory);
    }
    note(&format!("installing {} from PyPI into {}", packages.join(", "), directory.display()));
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory)).await?;
    let mut pip = Command::new(directory.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
    run(pip.args(packages)).await?;
    fs::write(&made_for, wanted).with_context(|| format!("failed to write {}", made_for.display()))?;
    Ok(directory)
}

async fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = timeout(INSTALL_TIME, command.kill_on_drop(true).output()).await;
    let output = output.with_context(|| format!("{command:?} did not end in time"))?;
    let output = output.with_context(|| format!("failed to start {command:?}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {told}", output.status);
    Ok(())
}
