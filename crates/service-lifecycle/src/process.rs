//! The life of a process, from its arguments to its exit code.

use std::{
    ffi::OsString,
    fmt::Display,
    future::{Future, pending},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::{
    Arguments, Config, Files, Loaded, Metric, Readiness, Shutdown, ShutdownConfig, Sources, Tracer, admin,
    load, log, metric, serve_http,
    signal::{OsSignals, Signals},
    trace::{Target, Traces},
};

/// `EX_CONFIG` of `sysexits.h`.
const EXIT_CONFIG: u8 = 78;

/// Those of a process that was ended by a second signal are above, by the number of the signal.
const EXIT_SIGNALLED: u8 = 128;

/// How often the recorder folds raw observations into histograms; unread ones take memory.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// What a binary is called and made of.
#[derive(Debug, Clone, Copy)]
pub struct App {
    /// Name of the process, such as `engine`.
    pub name: &'static str,
    /// Version of the crate: `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// Commit that it was built from, or `unknown`.
    pub revision: &'static str,
    /// What it does, for `--help`.
    pub about: &'static str,
    /// The metrics of all its crates.
    pub metrics: &'static [&'static [Metric]],
    /// What it does in place of its service when one of them is named first.
    pub commands: &'static [Command],
}

/// What a binary does in place of its service, as `engine capacity`.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// Its name, such as `capacity`.
    pub name: &'static str,
    /// What it does, for `--help`.
    pub about: &'static str,
    /// Does it, with the command line from its name on.
    pub run: fn(Vec<OsString>) -> ExitCode,
}

/// What a service gets to run.
#[derive(Debug)]
pub struct Process<C> {
    /// The valid configuration.
    pub config: C,
    /// Where the service says that it is ready.
    pub readiness: Readiness,
    /// Tells the service when to end.
    pub shutdown: Shutdown,
    /// Follows files for as long as the service runs.
    pub files: Files,
    /// Begins spans of the process itself.
    pub tracer: Tracer,
}

/// Runs a service from boot to exit and returns the exit code of the process.
///
/// `service` must watch [`Shutdown::draining`] and then finish what it has accepted. The admin
/// port answers until it returns. Before anything runs, [commands](App::commands), `--check-config`,
/// `--help` and `--version` are answered.
pub fn run<C, Service, Running>(app: &App, service: Service) -> ExitCode
where
    C: Config,
    Service: FnOnce(Process<C>) -> Running,
    Running: Future<Output = anyhow::Result<()>>,
{
    let command_line: Vec<OsString> = std::env::args_os().collect();
    let named =
        app.commands.iter().find(|command| command_line.get(1).is_some_and(|name| name == command.name));
    if let Some(command) = named {
        return (command.run)(command_line[1..].to_vec());
    }
    let arguments = match Arguments::parse::<C>(app, command_line) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let sources = Sources::of_process(&arguments);
    let Loaded { config, effective } = match load::<C>(&sources) {
        Ok(loaded) => loaded,
        Err(error) => {
            say_wrong(app.name, &error);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let target = match Target::of(&sources.environment, &config) {
        Ok(target) => target,
        Err(problem) => {
            say_wrong(app.name, &problem);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if arguments.check_config {
        say(&effective);
        let traces = target.map_or_else(|| "off".to_owned(), |target| target.to_string());
        say(&format_args!("\n# Traces of the process itself, by the variables OTEL_*: {traces}\n"));
        return ExitCode::SUCCESS;
    }

    log::start(config.log());
    info!(
        app = app.name,
        version = app.version,
        revision = app.revision,
        changed_keys = effective.changed(),
        "starting"
    );
    let code = match boot(app, config, target.as_ref(), service) {
        Ok(code) => code,
        Err(error) => {
            error!(error = format!("{error:#}"), "the process failed");
            1
        }
    };
    info!(code, "exiting");
    ExitCode::from(code)
}

fn boot<C, Service, Running>(
    app: &App,
    config: C,
    target: Option<&Target>,
    service: Service,
) -> anyhow::Result<u8>
where
    C: Config,
    Service: FnOnce(Process<C>) -> Running,
    Running: Future<Output = anyhow::Result<()>>,
{
    let recorder = metric::recorder();
    let metrics = recorder.handle();
    metrics::set_global_recorder(recorder).context("failed to install the metrics recorder")?;
    metric::describe(app);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the tokio runtime")?;
    let traces = {
        let _on_the_runtime = runtime.enter();
        target.map(|target| Traces::start(app, target)).transpose()?.unwrap_or_default()
    };
    let code = runtime.block_on(async {
        let signals = OsSignals::listen().context("failed to listen for signals")?;
        supervise(config, metrics, traces.tracer(), signals, service).await
    });
    if code.as_ref().map_or(true, |code| *code < EXIT_SIGNALLED) {
        traces.flush();
    }
    drop(traces);
    // Blocking work that is still running must not hold up the exit.
    runtime.shutdown_background();
    code
}

/// Runs admin port and service, and drains at a signal.
async fn supervise<C, Service, Running>(
    config: C,
    metrics: PrometheusHandle,
    tracer: Tracer,
    signals: impl Signals,
    service: Service,
) -> anyhow::Result<u8>
where
    C: Config,
    Service: FnOnce(Process<C>) -> Running,
    Running: Future<Output = anyhow::Result<()>>,
{
    let readiness = Readiness::new();
    let shutdown = Shutdown::default();
    let files = Files::default();
    let limits = config.shutdown().clone();
    let admin = admin::listen(&files, config.admin()).await?;
    let router = admin::router(readiness.clone(), metrics.clone());
    // All end with the set, that is with this function.
    let mut background = JoinSet::new();
    background.spawn(serve_http(admin, router, pending()));
    background.spawn(async move {
        loop {
            tokio::time::sleep(METRICS_UPKEEP).await;
            metrics.run_upkeep();
        }
    });
    let followed = files.clone();
    background.spawn(async move { match followed.follow().await {} });
    let process = Process { config, readiness: readiness.clone(), shutdown: shutdown.clone(), files, tracer };
    let running = Box::pin(service(process));
    drain_at_signal(running, &limits, &readiness, &shutdown, signals).await
}

/// Waits for the service; the first signal drains it, the second ends at once.
async fn drain_at_signal(
    mut running: impl Future<Output = anyhow::Result<()>> + Unpin,
    limits: &ShutdownConfig,
    readiness: &Readiness,
    shutdown: &Shutdown,
    mut signals: impl Signals,
) -> anyhow::Result<u8> {
    let signal = tokio::select! {
        ended = &mut running => return ended.map(|()| 0),
        signal = signals.next() => signal,
    };
    info!(?signal, grace_ms = limits.grace_ms, "draining; a second signal ends at once");
    readiness.drain();
    shutdown.signal();
    let draining = async {
        tokio::time::sleep(limits.drain_delay()).await;
        shutdown.drain();
        tokio::time::sleep(limits.grace()).await;
    };
    tokio::select! {
        ended = &mut running => ended.map(|()| 0),
        () = draining => {
            error!("what is in flight did not finish within shutdown.grace_ms and is cut off");
            Ok(1)
        }
        second = signals.next() => {
            warn!(signal = ?second, "second signal; what is in flight is cut off");
            Ok(second.exit_code())
        }
    }
}

#[expect(clippy::print_stdout, reason = "the answer to --check-config")]
fn say(answer: &impl Display) {
    print!("{answer}");
}

#[expect(clippy::print_stderr, reason = "logging is configured by what is wrong here")]
fn say_wrong(name: &str, error: &impl Display) {
    eprintln!("{name}: {error}");
}

#[cfg(test)]
mod tests;
