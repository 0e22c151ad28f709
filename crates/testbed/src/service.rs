//! What engine and gateway have in common as processes: the binary, its settings, its readiness.

use std::{
    env,
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, anyhow, ensure};

use crate::{process::Process, wait::Look};

/// Directory of the binaries to run, where they are not beside this program.
const BINARIES_VARIABLE: &str = "TESTBED_BIN_DIR";

/// Names of the environment that configure our services besides those of `VARIABLE_PREFIXES`.
const VARIABLES: [&str; 5] = [
    "USE_REDIS_STATE",
    "REDIS_URL",
    "REDIS_MAX_CONNECTIONS",
    "CORRELATION_TTL_SECONDS",
    "CORR_WINDOW_SECONDS",
];
/// And what those of all services begin with: ours, and OpenTelemetry's, by which they trace themselves.
const VARIABLE_PREFIXES: [&str; 2] = ["CORRELATION__", "OTEL_"];

/// Generous for a machine that compiles beside the test.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// One request to a process on this machine.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// Settings by their dotted key, as `--set` takes them; later ones win.
pub type Settings = Vec<(String, String)>;

/// How a service is started besides its settings.
pub(crate) struct Launch<'a> {
    pub(crate) program: &'a str,
    pub(crate) name: &'a str,
    /// Its log goes to `<directory>/<name>.log`, and it runs there.
    pub(crate) directory: &'a Path,
    /// Own process group: survives Ctrl-C and the end of the terminal.
    pub(crate) background: bool,
}

/// Starts a service with these settings alone: nothing of the environment, no `.env` file.
pub(crate) fn start(launch: &Launch<'_>, settings: &Settings) -> anyhow::Result<Process> {
    let mut command = Command::new(find_binary(launch.program)?);
    command.current_dir(launch.directory);
    for (name, _) in env::vars_os() {
        let is_ours = name.to_str().is_some_and(|name| {
            VARIABLES.contains(&name) || VARIABLE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        });
        if is_ours {
            command.env_remove(name);
        }
    }
    for (key, value) in settings {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    if launch.background {
        command.process_group(0);
    }
    let log = launch.directory.join(format!("{}.log", launch.name));
    Process::start(launch.name, command, &log)
}

/// Waits until `/readyz` of the admin port answers 200.
pub(crate) async fn wait_ready(process: &Process, admin: SocketAddr) -> anyhow::Result<()> {
    let look = async || match is_ready(admin).await {
        Ok(()) => Look::Reached,
        Err(error) => Look::NotYet(format!("{error:#}")),
    };
    process.wait_until("ready", READY_DEADLINE, look).await
}

/// Fails with the answer when `/readyz` does not say 200.
pub(crate) async fn is_ready(admin: SocketAddr) -> anyhow::Result<()> {
    let (status, body) = get(&format!("http://{admin}/readyz")).await?;
    ensure!(status == 200, "/readyz answers {status}: {}", body.trim());
    Ok(())
}

/// Waits until a line is among the metrics of the admin port.
pub(crate) async fn wait_metric(process: &Process, admin: SocketAddr, line: &str) -> anyhow::Result<()> {
    let name = line.split(' ').next();
    let look = async || match get(&format!("http://{admin}/metrics")).await {
        Ok((_, metrics)) => match metrics.lines().find(|other| other.split(' ').next() == name) {
            Some(found) if found == line => Look::Reached,
            found => Look::NotYet(found.unwrap_or("no such metric").to_owned()),
        },
        Err(error) => Look::NotYet(format!("{error:#}")),
    };
    process.wait_until(&format!("at {line}"), READY_DEADLINE, look).await
}

/// Status and text of a GET.
pub(crate) async fn get(url: &str) -> anyhow::Result<(u16, String)> {
    let ask = async {
        // A proxy of the environment cannot know our loopback.
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_DEADLINE).build()?;
        let response = client.get(url).send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    };
    ask.await.map_err(|error: reqwest::Error| anyhow!(error)).with_context(|| format!("failed to get {url}"))
}

/// Finds a binary of the workspace: beside this program, or above it for a test in `deps`.
///
/// # Errors
/// When it is in neither place; says how to build it.
pub fn find_binary(name: &str) -> anyhow::Result<PathBuf> {
    let directories = match env::var_os(BINARIES_VARIABLE) {
        Some(directory) => vec![PathBuf::from(directory)],
        None => {
            let program = env::current_exe().context("failed to find the path of this program")?;
            program.ancestors().skip(1).take(2).map(Path::to_owned).collect()
        }
    };
    let found = directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file());
    found.with_context(|| {
        let directories: Vec<_> = directories.iter().map(|path| path.display().to_string()).collect();
        format!(
            "failed to find the program {name} in {}; build it with: cargo build --workspace --bins, \
             or name its directory in {BINARIES_VARIABLE}",
            directories.join(" or ")
        )
    })
}
