//! `testbed up`: starts a cluster, unless it is up already.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use testbed::{
    Backend, LocalCluster, Running, Shape,
    local::{ENGINE_PORTS, GATEWAY_PORTS},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::output::say;

/// Held by the program that starts or ends the cluster of a directory, and proof that the
/// directory is one of ours.
const LOCK: &str = "lock";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where the engines keep their state
    #[arg(long, value_enum, default_value = "redis-cluster")]
    state: StateArgument,
    /// Number of engines [default: 3, or 1 when the state is in memory]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=16))]
    engines: Option<u8>,
    /// Number of gateways
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=16))]
    gateways: u8,
    /// Replicas per primary of the Redis Cluster, which has three primaries
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=5))]
    replicas: u8,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StateArgument {
    /// Three primaries with their replicas
    RedisCluster,
    /// One Redis server
    Redis,
    /// The memory of the one engine
    Memory,
}

pub(crate) async fn run(home: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let shape = shape(arguments)?;
    let _lock = lock(home)?;
    if let Some(running) = Running::load(home)?
        && is_up(&running, &shape).await?
    {
        say("The cluster is up already.");
        introduce(&running);
        return Ok(());
    }
    clear(home)?;
    let cluster = tokio::select! {
        started = LocalCluster::start_in_background(&shape, home) => started?,
        () = interrupted()? => bail!("interrupted; what was started has been ended"),
    };
    let running = cluster.describe()?;
    running.save(home)?;
    cluster.detach();
    say("The cluster is up.");
    introduce(&running);
    Ok(())
}

fn shape(arguments: &Arguments) -> anyhow::Result<Shape> {
    let backend = match arguments.state {
        StateArgument::RedisCluster => Backend::RedisCluster,
        StateArgument::Redis => Backend::Redis,
        StateArgument::Memory => Backend::Memory,
    };
    let in_memory = backend == Backend::Memory;
    let engines = arguments.engines.unwrap_or(if in_memory { 1 } else { 3 });
    ensure!(
        !in_memory || engines == 1,
        "in memory each engine knows only what it received itself, so {engines} of them would split \
         traces; take --engines 1, or --state redis-cluster"
    );
    Ok(Shape {
        backend,
        replicas: arguments.replicas.into(),
        engines: engines.into(),
        gateways: arguments.gateways.into(),
        ..Shape::default()
    })
}

/// Whether what is described runs as it was asked for; `false` when nothing of it runs.
async fn is_up(running: &Running, shape: &Shape) -> anyhow::Result<bool> {
    let members = running.members();
    let none_runs = !members.iter().any(|member| member.entry.is_running());
    if none_runs {
        return Ok(false);
    }
    let ended = members.iter().map(|member| member.entry).find(|entry| !entry.is_running());
    if let Some(entry) = ended {
        bail!(
            "a part of the cluster runs, but {} has ended (its log: {}); end the rest with: just down",
            entry.name,
            entry.log.display()
        );
    }
    for member in &members {
        member.ready().await.with_context(|| {
            format!("the cluster runs, but {} is not ready; end it with: just down", member.entry.name)
        })?;
    }
    let redis_nodes = match shape.backend {
        Backend::Memory => 0,
        Backend::Redis => 1,
        Backend::RedisCluster => 3 * (1 + shape.replicas),
    };
    let is_same = running.state == shape.backend
        && running.redis.len() == redis_nodes
        && running.engines.len() == shape.engines
        && running.gateways.len() == shape.gateways;
    ensure!(is_same, "another cluster is up: {}; end it first with: just down", summary(running));
    Ok(true)
}

/// Takes the directory for this program, creating it where necessary.
pub(crate) fn lock(home: &Path) -> anyhow::Result<File> {
    let path = home.join(LOCK);
    let is_foreign = !path.exists() && fs::read_dir(home).is_ok_and(|mut files| files.next().is_some());
    ensure!(!is_foreign, "{} holds files that are not a cluster's; choose another --dir", home.display());
    fs::create_dir_all(home).with_context(|| format!("failed to create {}", home.display()))?;
    let lock = File::create(&path).with_context(|| format!("failed to write {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            bail!("another program is starting or ending the cluster in {}; wait for it", home.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("failed to lock {}", path.display()))
        }
    }
}

/// Removes what an earlier cluster left, all but the lock: servers must not find its data.
fn clear(home: &Path) -> anyhow::Result<()> {
    for file in fs::read_dir(home)? {
        let file = file?;
        if file.file_name() == LOCK {
            continue;
        }
        let path = file.path();
        let removed =
            if file.file_type()?.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("failed to remove {}", path.display()))?;
    }
    Ok(())
}

/// Ends when the user or the system wants this program to end.
fn interrupted() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn summary(running: &Running) -> String {
    format!(
        "state {} in {} Redis, {} engines, {} gateways",
        running.state,
        running.redis.len(),
        running.engines.len(),
        running.gateways.len()
    )
}

/// Tells where everything is and what to try next.
fn introduce(running: &Running) {
    let list =
        |addresses: Vec<String>| if addresses.is_empty() { "none".to_owned() } else { addresses.join("  ") };
    let engines = running.engines.iter();
    let gateways = running.gateways.iter();
    let rows = [
        ("state", running.state.to_string()),
        ("Redis", list(running.redis.iter().map(|redis| redis.address.to_string()).collect())),
        ("engines", list(engines.clone().map(|engine| engine.grpc.to_string()).collect())),
        ("OTLP/gRPC", list(gateways.clone().map(|gateway| gateway.grpc.to_string()).collect())),
        ("OTLP/HTTP", list(gateways.clone().map(|gateway| format!("http://{}", gateway.http)).collect())),
        (
            "metrics",
            list(
                engines
                    .map(|engine| engine.admin)
                    .chain(gateways.clone().map(|gateway| gateway.admin))
                    .map(|admin| format!("http://{admin}/metrics"))
                    .collect(),
            ),
        ),
    ];
    say("");
    for (name, value) in rows {
        say(&format!("  {name:<10} {value}"));
    }
    for (what, usual, port) in moved(running) {
        say(&format!("\nport {usual} is in use by another program, so {what} listens on {port}"));
    }
    say("\nTry:");
    if let Some(gateway) = running.gateways.first() {
        say(&format!("  curl -s http://{}/api/v1/stats", gateway.http));
    }
    say("  just demo      seeded traffic, and one correlation as a tree");
    say("  just status    every process");
    say("  just down      the end");
}

/// The first engine and gateway, where they are not at their usual ports: what, where usually, where now.
fn moved(running: &Running) -> Vec<(&'static str, u16, u16)> {
    let engine =
        running.engines.first().map(|engine| ("the first engine", ENGINE_PORTS.0, engine.grpc.port()));
    let gateway =
        running.gateways.first().map(|gateway| ("the gateway", GATEWAY_PORTS.0, gateway.http.port()));
    engine.into_iter().chain(gateway).filter(|(_, usual, port)| usual != port).collect()
}
