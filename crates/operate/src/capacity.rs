//! Compares what `engine capacity` says of a load with what the load takes.
//!
//! One load is measured by `loadgen load --report`; from its report the command says what twice that takes, and
//! that is sent and measured by other means: the processes' own clocks from its first request until everything is
//! delivered, and what Redis says of its memory.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use bench_kit::{cpu, sink::Sink};
use loadgen::{load::report::Report, output::note};
use serde::Serialize;
use serde_json::Value;
use testbed::{
    EngineOptions, EngineProcess, RedisCluster, State, Topology, eventually, find_binary,
    redis::{Options, RedisNode},
};
use tokio::{process::Command, time::timeout};

use crate::stage::Run;

/// Low enough for a debug build on a busy machine; twice that is sent too.
const SPANS_PER_SECOND: u32 = 4_000;
const SPANS_PER_REQUEST: &str = "100";
const SPANS_PER_TRACE: &str = "10";
/// Longer than the grace, so that traces are closed and delivered while the load counts.
const WARMUP: Duration = Duration::from_secs(4);
/// In which some 100,000 spans come: Redis grows by much more than it varies by.
const LOAD: Duration = Duration::from_secs(20);
/// After it, for what is on its way.
const PATIENCE: Duration = Duration::from_secs(60);
/// How far what was said may be from what was measured: memory is that of the same telemetry, CPU for each
/// span falls as more comes, and other programs take their part of the machine.
const MEMORY_TOLERANCE: f64 = 0.25;
const CPU_TOLERANCE: f64 = 0.35;

/// What was said and what was measured, for the same load.
#[derive(Debug, Serialize)]
struct Check {
    spans_per_second: f64,
    engine_cores: Pair,
    redis_cores: Pair,
    redis_bytes: Pair,
    /// By the figures of docs/benchmarks.md in place of the report.
    redis_bytes_by_benchmarks: Pair,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Pair {
    predicted: f64,
    measured: f64,
}

/// One engine that delivers, on a Redis Cluster without replicas.
struct Scene {
    sink: Sink,
    engine: EngineProcess,
    redis: RedisCluster,
}

pub(crate) async fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    let scene = Scene::start(run.home).await?;
    let file = run.home.join("load.json");
    note(&format!("capacity: {SPANS_PER_SECOND} spans a second are measured"));
    scene.load(SPANS_PER_SECOND, WARMUP, &file).await?;
    note("capacity: twice as many are sent");
    let (bytes, cores) = (scene.redis_bytes().await?, scene.cpu()?);
    let doubled = scene.load(2 * SPANS_PER_SECOND, Duration::ZERO, &run.home.join("doubled.json")).await?;
    let (bytes, used) = (scene.redis_bytes().await? - bytes, scene.cpu()?);
    let [engine, redis] = [0, 1].map(|index| (used[index] - cores[index]).as_secs_f64() / doubled.seconds);
    // The rate that came about is that of the report; all else was measured beside it.
    let said = plan(&doubled, Some(&file)).await?;
    let by_benchmarks = plan(&doubled, None).await?;
    let check = Check {
        spans_per_second: doubled.spans_per_second,
        engine_cores: Pair { predicted: number(&said, "/engines/cores_used")?, measured: engine },
        redis_cores: Pair { predicted: number(&said, "/redis/primary_cores_used")?, measured: redis },
        redis_bytes: Pair { predicted: number(&said, "/redis/memory_bytes")?, measured: bytes },
        redis_bytes_by_benchmarks: Pair {
            predicted: number(&by_benchmarks, "/redis/memory_bytes")?,
            measured: bytes,
        },
    };
    for (step, difference) in check.differences() {
        run.fail(step, &difference);
    }
    run.report.capacity = Some(serde_json::to_value(&check)?);
    Ok(())
}

impl Scene {
    async fn start(home: &Path) -> anyhow::Result<Self> {
        let sink = Sink::start()?;
        let options = Options { directory: Some(home.to_owned()), ..Options::default() };
        let topology = Topology { replicas_per_primary: 0, options, ..Topology::default() };
        let redis = RedisCluster::start(topology).await?;
        let engine = EngineProcess::start(EngineOptions {
            state: State::Redis(redis.url()),
            settings: vec![("delivery.url".to_owned(), sink.url())],
            directory: Some(home.to_owned()),
            ..EngineOptions::default()
        });
        Ok(Self { engine: engine.await?, redis, sink })
    }

    /// Sends load at a rate and waits until all of it is delivered and noted.
    async fn load(&self, spans_per_second: u32, warmup: Duration, file: &Path) -> anyhow::Result<Report> {
        let before = self.sink.spans();
        let mut command = Command::new(find_binary("loadgen")?);
        command.args([
            "load",
            "--spans-per-request",
            SPANS_PER_REQUEST,
            "--spans-per-trace",
            SPANS_PER_TRACE,
        ]);
        command.args(["--target", &self.engine.url(), "--rate", &spans_per_second.to_string()]);
        command.args(["--warmup-seconds", &warmup.as_secs().to_string()]);
        command.args(["--seconds", &LOAD.as_secs().to_string()]);
        command
            .arg("--report")
            .arg(file)
            .args(["--process", &format!("engine={}", self.engine.process().pid())]);
        for node in self.redis.nodes() {
            command.args(["--process", &format!("redis={}", node.process().pid())]);
        }
        let output = timeout(warmup + LOAD + PATIENCE, command.kill_on_drop(true).output()).await;
        let output = output.context("loadgen did not end in time")?.context("failed to start loadgen")?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "loadgen ended with {}: {told}", output.status);
        let report = std::fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
        let report: Report = serde_json::from_slice(&report).context("loadgen wrote no report")?;
        // Those of the warming come too.
        let accepted = before + report.accepted_spans as usize;
        let delivered = async || self.sink.spans() >= accepted;
        eventually("everything is delivered", PATIENCE, delivered).await?;
        self.engine.wait_metric("delivery_in_flight_events 0").await?;
        Ok(report)
    }

    /// CPU of the engine and of Redis until now.
    fn cpu(&self) -> anyhow::Result<[Duration; 2]> {
        let redis = self.redis.nodes().iter().map(|node| cpu::of_process(node.process().pid()));
        Ok([cpu::of_process(self.engine.process().pid())?, redis.sum::<anyhow::Result<_>>()?])
    }

    /// What Redis holds, by its own account.
    async fn redis_bytes(&self) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for node in self.redis.nodes() {
            sum += used_memory(node).await?;
        }
        Ok(sum)
    }
}

async fn used_memory(node: &RedisNode) -> anyhow::Result<f64> {
    let told = node.command(&["INFO", "memory"]).await?;
    let bytes = told.lines().find_map(|line| line.trim().strip_prefix("used_memory:"));
    bytes.context("Redis does not tell its memory")?.parse().context("Redis' memory is no number")
}

/// What `engine capacity` says of a load, with nothing to spare.
async fn plan(load: &Report, measured: Option<&Path>) -> anyhow::Result<Value> {
    let mut command = Command::new(find_binary("engine")?);
    let traces = (load.spans_per_second / 10.0).to_string();
    command.args([
        "capacity",
        "--json",
        "--protocol",
        "grpc",
        "--headroom",
        "0%",
        "--replicas-per-primary",
        "0",
    ]);
    command.args(["--traces-per-second", &traces, "--spans-per-trace", SPANS_PER_TRACE]);
    command.args(["--spans-per-request", SPANS_PER_REQUEST, "--retention", &format!("{}s", LOAD.as_secs())]);
    if let Some(file) = measured {
        command.arg("--measured").arg(file);
    }
    let output = timeout(PATIENCE, command.output()).await.context("engine capacity did not end")??;
    ensure!(output.status.success(), "engine capacity: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("engine capacity --json printed no JSON")
}

fn number(plan: &Value, pointer: &str) -> anyhow::Result<f64> {
    plan.pointer(pointer)
        .and_then(Value::as_f64)
        .with_context(|| format!("engine capacity tells no {pointer}"))
}

impl Check {
    /// What is further from what was measured than it may be.
    fn differences(&self) -> Vec<(&'static str, String)> {
        let Self { engine_cores, redis_cores, redis_bytes, redis_bytes_by_benchmarks, .. } = self;
        let pairs = [
            ("cores of the engine", engine_cores, CPU_TOLERANCE),
            ("cores of Redis", redis_cores, CPU_TOLERANCE),
            ("memory of Redis", redis_bytes, MEMORY_TOLERANCE),
            ("memory of Redis by benchmarks", redis_bytes_by_benchmarks, MEMORY_TOLERANCE),
        ];
        let apart = pairs.into_iter().filter(|(_, pair, tolerance)| !pair.is_within(*tolerance));
        apart
            .map(|(step, Pair { predicted, measured }, tolerance)| {
                let most = tolerance * 100.0;
                (
                    step,
                    format!(
                        "{predicted} were predicted, {measured} measured; {most:.0} % may be between them"
                    ),
                )
            })
            .collect()
    }
}

impl Pair {
    fn is_within(self, tolerance: f64) -> bool {
        (self.predicted - self.measured).abs() <= tolerance * self.measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_far_from_what_was_measured_is_named() {
        let pair = |predicted| Pair { predicted, measured: 1.0 };
        let check = Check {
            spans_per_second: 8_000.0,
            engine_cores: pair(1.34),
            redis_cores: pair(0.64),
            redis_bytes: pair(0.76),
            redis_bytes_by_benchmarks: pair(1.26),
        };
        let steps: Vec<_> = check.differences().into_iter().map(|(step, _)| step).collect();
        assert_eq!(steps, ["cores of Redis", "memory of Redis by benchmarks"]);
    }
}
