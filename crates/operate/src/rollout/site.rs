//! The installation that is rolled out: Redis, engines and gateways as an operator has them, with a `.env` for
//! each engine and one file of pools.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use loadgen::targets::Targets;
use testbed::{
    EngineOptions, EngineProcess, GatewayOptions, GatewayProcess, RedisCluster, Settings, State, Topology,
    eventually, redis::Options,
};

const GATEWAYS: usize = 2;
/// A failover with this takes some two seconds when it is not planned; the default of Redis is 15,000.
const NODE_TIMEOUT_MS: u64 = 1_000;
/// How long nothing must have arrived until a trace is closed of which something is missing. 60 s by default; a
/// rollout in minutes needs less.
const WINDOW_SECONDS: u32 = 5;
/// Of a request to the endpoint.
const ENDPOINT_TIMEOUT_MS: u32 = 3_000;
/// Less than anything, so that every generation comes in a request of its own and can be counted.
const ENDPOINT_BATCH_BYTES_MAX: u32 = 1;
/// `shutdown.grace_ms` is 25 s, systemd and Kubernetes kill after 35 s.
const END_DEADLINE: Duration = Duration::from_secs(35);

/// Where an engine keeps its state, as its environment says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// `USE_REDIS_STATE=false`, and no `REDIS_URL`.
    Memory,
    /// `USE_REDIS_STATE=true`.
    Redis,
    /// `USE_REDIS_STATE=false` with `REDIS_URL` as before: rolled back.
    MemoryAgain,
}

/// Engines that get a part of the traces.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) name: &'static str,
    pub(super) weight: u32,
    pub(super) engines: Vec<String>,
}

/// Everything ends when dropped.
#[derive(Debug)]
pub(super) struct Site {
    // Dropped in this order: from the clients inwards.
    pub(super) gateways: Vec<GatewayProcess>,
    /// The one that there was before.
    pub(super) old: Option<EngineProcess>,
    /// Those that are rolled out.
    pub(super) engines: Vec<EngineProcess>,
    pub(super) redis: RedisCluster,
    home: PathBuf,
    settings: Settings,
    /// Engines that were started so far, for their names.
    started: usize,
}

impl Site {
    /// Starts what there is before the rollout: an engine in memory, gateways, and a Redis Cluster that nobody
    /// uses yet.
    ///
    /// # Errors
    /// When a program is missing or a process is not ready in time.
    pub(super) async fn start(home: &Path, endpoint: &str) -> anyhow::Result<Self> {
        let options = Options { directory: Some(home.to_owned()), ..Options::default() };
        let topology = Topology { node_timeout_ms: NODE_TIMEOUT_MS, options, ..Topology::default() };
        let redis = RedisCluster::start(topology).await?;
        let endpoints = home.join("endpoints.toml");
        write(
            &endpoints,
            &format!(
                "[[endpoint]]\nname = \"rollout\"\nurl = \"{endpoint}\"\n\
                 timeout_ms = {ENDPOINT_TIMEOUT_MS}\nbatch_bytes_max = {ENDPOINT_BATCH_BYTES_MAX}\n"
            ),
        )?;
        let settings = [
            ("correlation.window_seconds", WINDOW_SECONDS.to_string()),
            ("delivery.endpoints", endpoints.display().to_string()),
        ];
        let mut site = Self {
            gateways: Vec::new(),
            old: None,
            engines: Vec::new(),
            redis,
            home: home.to_owned(),
            settings: settings.map(|(key, value)| (key.to_owned(), value)).into(),
            started: 0,
        };
        let old = site.start_engine(Use::Memory).await?;
        site.write_pools(&[Pool { name: "memory", weight: 100, engines: vec![old.url()] }])?;
        site.old = Some(old);
        for number in 1..=GATEWAYS {
            let pools = ("engines.pools".to_owned(), site.pools_file().display().to_string());
            let options = GatewayOptions {
                name: format!("gateway-{number}"),
                settings: vec![pools],
                directory: Some(home.to_owned()),
                ..GatewayOptions::default()
            };
            site.gateways.push(GatewayProcess::start(options).await?);
        }
        Ok(site)
    }

    /// Both doors of the gateways; that over gRPC in the place of an engine's.
    pub(super) fn doors(&self) -> Targets {
        Targets {
            engines: self.gateways.iter().map(|gateway| format!("http://{}", gateway.grpc())).collect(),
            gateways: self.gateways.iter().map(GatewayProcess::url).collect(),
        }
    }

    /// Starts an engine, known to nobody, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not.
    pub(super) async fn start_engine(&mut self, state: Use) -> anyhow::Result<EngineProcess> {
        self.started += 1;
        let name = format!("engine-{}", self.started);
        let directory = self.home.join(&name);
        fs::create_dir_all(&directory)
            .with_context(|| format!("failed to create {}", directory.display()))?;
        self.write_environment(&name, state)?;
        let options = EngineOptions {
            name,
            // Which state it has is for its environment to say.
            state: State::Memory,
            settings: self.settings.clone(),
            directory: Some(directory),
            ..EngineOptions::default()
        };
        EngineProcess::start(options).await
    }

    /// Ends an engine by SIGTERM and starts it with another state, as `systemctl restart` does.
    ///
    /// # Errors
    /// When it does not end in good order, or is not ready again.
    pub(super) async fn restart_engine(&self, engine: &EngineProcess, state: Use) -> anyhow::Result<()> {
        self.write_environment(engine.process().name(), state)?;
        end(engine.process()).await?;
        engine.restart().await
    }

    /// Tells the gateways which pools there are, and waits until they know.
    ///
    /// # Errors
    /// When they do not in time.
    pub(super) async fn set_pools(&self, pools: &[Pool]) -> anyhow::Result<()> {
        self.write_pools(pools)?;
        let engines: usize = pools.iter().map(|pool| pool.engines.len()).sum();
        for gateway in &self.gateways {
            for pool in pools {
                let line = format!("gateway_pool_weight{{pool=\"{}\"}} {}", pool.name, pool.weight);
                gateway.wait_metric(&line).await?;
            }
            gateway.wait_metric(&format!("gateway_engines_known {engines}")).await?;
            gateway.wait_metric(&format!("gateway_engines_ready {engines}")).await?;
        }
        Ok(())
    }

    /// One pool of all engines on Redis.
    ///
    /// # Errors
    /// Like [`Site::set_pools`].
    pub(super) async fn set_one_pool(&self) -> anyhow::Result<()> {
        self.set_pools(&[self.pool(100)]).await
    }

    /// Waits until both gateways find every engine ready that they know.
    ///
    /// # Errors
    /// When they do not in time.
    pub(super) async fn wait_engines_ready(&self) -> anyhow::Result<()> {
        let engines = self.old.iter().count() + self.engines.len();
        for gateway in &self.gateways {
            gateway.wait_metric(&format!("gateway_engines_ready {engines}")).await?;
        }
        Ok(())
    }

    /// The pool of the engines that are rolled out.
    pub(super) fn pool(&self, weight: u32) -> Pool {
        Pool { name: "redis", weight, engines: self.engines.iter().map(EngineProcess::url).collect() }
    }

    /// The pool of the engine that there was before.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn old_pool(&self, weight: u32) -> anyhow::Result<Pool> {
        let old = self.old.as_ref().context("the engine that there was before is gone")?;
        Ok(Pool { name: "memory", weight, engines: vec![old.url()] })
    }

    /// Waits until both gateways say whether each trace of a pool has an engine of its own.
    ///
    /// # Errors
    /// When they do not in time.
    pub(super) async fn wait_sticky(&self, pool: &str, is_sticky: bool) -> anyhow::Result<()> {
        for gateway in &self.gateways {
            let line = format!("gateway_pool_sticky{{pool=\"{pool}\"}} {}", u8::from(is_sticky));
            gateway.wait_metric(&line).await?;
        }
        Ok(())
    }

    fn write_pools(&self, pools: &[Pool]) -> anyhow::Result<()> {
        let mut text = String::new();
        for Pool { name, weight, engines } in pools {
            writeln!(text, "[[pool]]\nname = \"{name}\"\nweight = {weight}\nurls = {engines:?}\n")?;
        }
        // As a whole: a gateway must not read half of it.
        let (file, new) = (self.pools_file(), self.home.join("pools.toml.new"));
        write(&new, &text)?;
        fs::rename(&new, &file).with_context(|| format!("failed to write {}", file.display()))
    }

    fn pools_file(&self) -> PathBuf {
        self.home.join("pools.toml")
    }

    /// The `.env` of an engine; in `/etc/correlation/engine.env` with systemd.
    fn write_environment(&self, engine: &str, state: Use) -> anyhow::Result<()> {
        let mut lines = format!("USE_REDIS_STATE={}\n", state == Use::Redis);
        if state != Use::Memory {
            writeln!(lines, "REDIS_URL='{}'", self.redis.url())?;
        }
        write(&self.home.join(engine).join(".env"), &lines)
    }
}

/// Ends a process by SIGTERM; it has to drain and end with 0.
///
/// # Errors
/// When it does not.
pub(super) async fn end(process: &testbed::Process) -> anyhow::Result<()> {
    let status = process.terminate(END_DEADLINE).await?;
    ensure!(status.success(), "{} ended with {status}; see {}", process.name(), process.log().display());
    Ok(())
}

/// Waits until a sum of metrics of an engine is reached.
///
/// # Errors
/// When it is not in time.
pub(super) async fn wait_engine(
    engine: &EngineProcess,
    state: &str,
    deadline: Duration,
    is_reached: impl Fn(&str) -> bool,
) -> anyhow::Result<()> {
    let look = async || engine.admin_get("/metrics").await.is_ok_and(|(_, metrics)| is_reached(&metrics));
    eventually(&format!("{} {state}", engine.process().name()), deadline, look).await
}

/// The sum of a metric over the lines that contain all of `labels`.
pub(super) fn sum(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let lines = metrics.lines().filter(|line| {
        let rest = line.strip_prefix(name).unwrap_or_default();
        rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))
    });
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_the_labels_that_are_asked_for() {
        let metrics =
            "a_total{x=\"1\",y=\"1\"} 2\na_total{x=\"1\",y=\"2\"} 3\na_total_more{x=\"1\"} 7\nb 5\n";
        assert_eq!(sum(metrics, "a_total", &["x=\"1\""]), 5.0);
        assert_eq!(sum(metrics, "a_total", &["x=\"1\"", "y=\"2\""]), 3.0);
        assert_eq!(sum(metrics, "b", &[]), 5.0);
    }
}
