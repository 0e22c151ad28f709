//! The cluster that is put to the proof: Redis Cluster, engines that deliver to one endpoint, gateways.

use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;
use loadgen::targets::Targets;
use testbed::{
    EngineOptions, EngineProcess, GatewayOptions, GatewayProcess, RedisCluster, Settings, State, Topology,
};

use crate::disguise::KEYS;

const ENGINES: usize = 3;
const GATEWAYS: usize = 2;

/// How long nothing must have arrived of a trace that is whole until it is closed; the default.
pub const GRACE: Duration = Duration::from_secs(2);
/// The same of any other correlation; short, so that the proof ends soon.
const WINDOW: Duration = Duration::from_secs(10);
/// Of a request to the endpoint. What a killed engine has not delivered, others have after three times this.
const ENDPOINT_TIMEOUT_MS: u32 = 3_000;
/// Less than anything, so that every generation comes in a request of its own: in a common request, two of
/// one trace would look like one.
const ENDPOINT_BATCH_BYTES_MAX: u32 = 1;

/// What differs from one proof to the other.
#[derive(Debug, Default)]
pub struct Options {
    /// Its directory is that of the cluster.
    pub redis: Topology,
    /// Further settings of engines; they win.
    pub engine: Settings,
}

/// Everything ends when dropped.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: from the clients inwards.
    gateways: Vec<GatewayProcess>,
    engines: Vec<EngineProcess>,
    redis: RedisCluster,
}

impl Cluster {
    /// Starts it with data and logs in `home`, on free ports.
    ///
    /// # Errors
    /// When a program is missing or a process is not ready in time.
    pub async fn start(home: &Path, endpoint: &str, options: Options) -> anyhow::Result<Self> {
        let Options { mut redis, engine } = options;
        redis.options.directory = Some(home.to_owned());
        let redis = RedisCluster::start(redis).await?;
        let endpoints = home.join("endpoints.toml");
        let text = format!(
            "[[endpoint]]\nname = \"proof\"\nurl = \"{endpoint}\"\n\
             timeout_ms = {ENDPOINT_TIMEOUT_MS}\nbatch_bytes_max = {ENDPOINT_BATCH_BYTES_MAX}\n"
        );
        fs::write(&endpoints, text).with_context(|| format!("failed to write {}", endpoints.display()))?;
        let settings = [
            ("correlation.grace_ms", GRACE.as_millis().to_string()),
            ("correlation.window_seconds", WINDOW.as_secs().to_string()),
            // A list of strings in TOML is written as in Rust.
            ("correlation.keys", format!("{KEYS:?}")),
            ("delivery.endpoints", endpoints.display().to_string()),
        ];
        let mut settings: Settings = settings.map(|(key, value)| (key.to_owned(), value)).into();
        settings.extend(engine);
        let mut cluster = Self { gateways: Vec::new(), engines: Vec::new(), redis };
        for number in 1..=ENGINES {
            let options = EngineOptions {
                name: format!("engine-{number}"),
                state: State::Redis(cluster.redis.url()),
                settings: settings.clone(),
                directory: Some(home.to_owned()),
                ..EngineOptions::default()
            };
            cluster.engines.push(EngineProcess::start(options).await?);
        }
        for number in 1..=GATEWAYS {
            let options = GatewayOptions {
                name: format!("gateway-{number}"),
                engines: cluster.engines.iter().map(EngineProcess::url).collect(),
                directory: Some(home.to_owned()),
                ..GatewayOptions::default()
            };
            cluster.gateways.push(GatewayProcess::start(options).await?);
        }
        Ok(cluster)
    }

    pub fn engines(&self) -> &[EngineProcess] {
        &self.engines
    }

    pub fn gateways(&self) -> &[GatewayProcess] {
        &self.gateways
    }

    pub fn redis(&self) -> &RedisCluster {
        &self.redis
    }

    pub fn targets(&self) -> Targets {
        Targets {
            engines: self.engines.iter().map(EngineProcess::url).collect(),
            gateways: self.gateways.iter().map(GatewayProcess::url).collect(),
        }
    }
}
