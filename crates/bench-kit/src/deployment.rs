//! Engines and where they keep their state, as real processes.

use std::{fs, slice, time::Duration};

use anyhow::Context as _;
use tempfile::TempDir;
use testbed::{
    EngineOptions, EngineProcess, GatewayOptions, GatewayProcess, RedisCluster, RedisServer, Settings,
    Topology,
    redis::{Options, RedisNode},
};

use crate::cpu;

/// Primaries of a cluster.
const PRIMARIES: usize = 3;

/// Where engines keep what they know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Each in its own memory.
    Memory,
    /// In one Redis server that keeps no file.
    Single,
    /// In a Redis Cluster of three primaries that keep no file.
    Cluster,
    /// With a replica each that confirms, all with an append-only file.
    Replicated,
}

/// How requests to the endpoint are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As it is where nothing is said of it.
    Default,
    Gzip,
    Zstd,
    /// Not at all.
    None,
}

/// Where closed correlations go.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub url: String,
    pub compression: Compression,
}

/// What is started.
#[derive(Debug, Clone)]
pub struct Plan {
    pub state: State,
    pub engines: usize,
    /// Of the engines, beside their defaults.
    pub settings: Settings,
    /// Without one nothing is delivered.
    pub endpoint: Option<Endpoint>,
    /// Whether there is a network before each Redis server that can be disturbed.
    pub is_proxied: bool,
}

/// Engines that share a state, and deliver to one endpoint or none.
pub struct Deployment {
    engines: Vec<EngineProcess>,
    redis: Servers,
    settings: Settings,
    /// Of the file of endpoints.
    _directory: TempDir,
}

enum Servers {
    None,
    One(Box<RedisServer>),
    Cluster(RedisCluster),
}

impl Plan {
    /// One engine with its defaults that delivers nothing.
    pub fn new(state: State) -> Self {
        Self { state, engines: 1, settings: Settings::new(), endpoint: None, is_proxied: false }
    }

    /// With further settings of the engines.
    pub fn with(mut self, settings: &[(&str, &str)]) -> Self {
        self.settings.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self
    }
}

impl Deployment {
    /// Starts Redis if there is any, then the engines.
    ///
    /// # Errors
    /// When a program is missing or does not start.
    pub async fn start(plan: &Plan) -> anyhow::Result<Self> {
        let redis = match plan.state {
            State::Memory => Servers::None,
            State::Single => Servers::One(Box::new(RedisServer::start(options(plan, "no")).await?)),
            State::Cluster => Servers::Cluster(cluster(0, options(plan, "no")).await?),
            State::Replicated => Servers::Cluster(cluster(1, options(plan, "yes")).await?),
        };
        let directory = tempfile::tempdir().context("failed to create a directory")?;
        let mut settings = plan.settings.clone();
        if let Some(endpoint) = &plan.endpoint {
            let file = directory.path().join("endpoints.toml");
            fs::write(&file, endpoint.toml())
                .with_context(|| format!("failed to write {}", file.display()))?;
            settings.push(("delivery.endpoints".to_owned(), file.display().to_string()));
        }
        let mut deployment = Self { engines: Vec::new(), redis, settings, _directory: directory };
        while deployment.engines.len() < plan.engines {
            deployment.add_engine().await?;
        }
        Ok(deployment)
    }

    /// One more engine on the same state.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_engine(&mut self) -> anyhow::Result<()> {
        let state = match &self.redis {
            Servers::None => testbed::State::Memory,
            Servers::One(server) => testbed::State::Redis(server.url()),
            Servers::Cluster(cluster) => testbed::State::Redis(cluster.url()),
        };
        let name = format!("engine-{}", self.engines.len() + 1);
        let settings = self.settings.clone();
        let options = EngineOptions { name, state, settings, ..EngineOptions::default() };
        self.engines.push(EngineProcess::start(options).await?);
        Ok(())
    }

    /// A gateway in front of all engines.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn gateway(&self) -> anyhow::Result<GatewayProcess> {
        Self::gateway_of(&self.engines).await
    }

    /// A gateway in front of some engines.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn gateway_of(engines: &[EngineProcess]) -> anyhow::Result<GatewayProcess> {
        let engines = engines.iter().map(EngineProcess::url).collect();
        GatewayProcess::start(GatewayOptions { engines, ..GatewayOptions::default() }).await
    }

    /// The first engine.
    pub fn engine(&self) -> &EngineProcess {
        &self.engines[0]
    }

    /// All engines, in the order of their start.
    pub fn engines(&self) -> &[EngineProcess] {
        &self.engines
    }

    /// CPU of all engines until now.
    ///
    /// # Errors
    /// When one has ended.
    pub fn engines_cpu(&self) -> anyhow::Result<Duration> {
        self.engines.iter().map(|engine| cpu::of_process(engine.process().pid())).sum()
    }

    /// CPU of all Redis servers until now; nothing where there are none.
    ///
    /// # Errors
    /// When one has ended.
    pub fn redis_cpu(&self) -> anyhow::Result<Duration> {
        self.nodes().iter().map(|node| cpu::of_process(node.process().pid())).sum()
    }

    /// Commands that Redis has processed until now, those in scripts included; nothing without Redis.
    ///
    /// # Errors
    /// When a server does not tell.
    pub async fn redis_commands(&self) -> anyhow::Result<f64> {
        self.redis_info("stats", "total_commands_processed:").await
    }

    /// Bytes that Redis holds, replicas included; nothing without Redis.
    ///
    /// # Errors
    /// When a server does not tell.
    pub async fn redis_bytes(&self) -> anyhow::Result<f64> {
        self.redis_info("memory", "used_memory:").await
    }

    /// A number of `INFO`, summed over all servers.
    async fn redis_info(&self, section: &str, name: &str) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for node in self.nodes() {
            let info = node.command(&["INFO", section]).await?;
            let number = info.lines().find_map(|line| line.trim().strip_prefix(name));
            let number: f64 = number.with_context(|| format!("Redis does not tell {name}"))?.parse()?;
            sum += number;
        }
        Ok(sum)
    }

    /// All Redis servers, primaries first.
    pub fn nodes(&self) -> &[RedisNode] {
        match &self.redis {
            Servers::None => &[],
            Servers::One(server) => slice::from_ref(server.node()),
            Servers::Cluster(cluster) => cluster.nodes(),
        }
    }
}

impl Endpoint {
    fn toml(&self) -> String {
        let compression = match self.compression {
            Compression::Default => "",
            Compression::Gzip => "compression = 'gzip'\n",
            Compression::Zstd => "compression = 'zstd'\n",
            Compression::None => "compression = 'none'\n",
        };
        format!("[[endpoint]]\nname = 'sink'\nurl = '{}'\n{compression}", self.url)
    }
}

fn options(plan: &Plan, append_only: &str) -> Options {
    let settings = vec![("appendonly".to_owned(), append_only.to_owned())];
    Options { settings, proxied: plan.is_proxied, ..Options::default() }
}

async fn cluster(replicas_per_primary: usize, options: Options) -> anyhow::Result<RedisCluster> {
    let topology = Topology { primaries: PRIMARIES, replicas_per_primary, options, ..Topology::default() };
    RedisCluster::start(topology).await
}
