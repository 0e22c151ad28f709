//! Engines and where they keep their state, as real processes.

use std::{fs, time::Duration};

use anyhow::Context as _;
use bench_kit::cpu;
use tempfile::TempDir;
use testbed::{
    EngineOptions, EngineProcess, RedisCluster, Settings, Topology,
    redis::{Options, RedisNode},
};

/// Primaries of a cluster.
const PRIMARIES: usize = 3;

/// Where engines keep what they know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Each in its own memory.
    Memory,
    /// In a Redis Cluster of three primaries that keep no file.
    Cluster,
    /// With a replica each that confirms, all with an append-only file.
    Replicated,
}

/// How requests to the endpoint are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// As it is where nothing is said of it.
    Default,
    Gzip,
    Zstd,
    /// Not at all.
    None,
}

/// Engines that share a state, and deliver to one endpoint.
pub(crate) struct Deployment {
    engines: Vec<EngineProcess>,
    redis: Option<RedisCluster>,
    settings: Settings,
    /// Of the file of endpoints.
    _directory: TempDir,
}

impl Deployment {
    /// One engine with default settings, but for `further` ones.
    pub(crate) async fn start(
        state: State,
        sink: &str,
        compression: Compression,
        further: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let redis = match state {
            State::Memory => None,
            State::Cluster => Some(cluster(0, "no").await?),
            State::Replicated => Some(cluster(1, "yes").await?),
        };
        let directory = tempfile::tempdir().context("failed to create a directory")?;
        let file = directory.path().join("endpoints.toml");
        let compression = match compression {
            Compression::Default => "",
            Compression::Gzip => "compression = 'gzip'\n",
            Compression::Zstd => "compression = 'zstd'\n",
            Compression::None => "compression = 'none'\n",
        };
        fs::write(&file, format!("[[endpoint]]\nname = 'sink'\nurl = '{sink}'\n{compression}"))
            .with_context(|| format!("failed to write {}", file.display()))?;
        let mut settings = vec![("delivery.endpoints".to_owned(), file.display().to_string())];
        settings.extend(further.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let mut deployment = Self { engines: Vec::new(), redis, settings, _directory: directory };
        deployment.add_engine().await?;
        Ok(deployment)
    }

    /// One more engine on the same state.
    pub(crate) async fn add_engine(&mut self) -> anyhow::Result<()> {
        let state = match &self.redis {
            None => testbed::State::Memory,
            Some(redis) => testbed::State::Redis(redis.url()),
        };
        let name = format!("engine-{}", self.engines.len() + 1);
        let settings = self.settings.clone();
        let options = EngineOptions { name, state, settings, ..EngineOptions::default() };
        self.engines.push(EngineProcess::start(options).await?);
        Ok(())
    }

    /// The first engine.
    pub(crate) fn engine(&self) -> &EngineProcess {
        &self.engines[0]
    }

    /// How many engines there are.
    pub(crate) fn count(&self) -> usize {
        self.engines.len()
    }

    /// CPU of all engines until now.
    pub(crate) fn engines_cpu(&self) -> anyhow::Result<Duration> {
        self.engines.iter().map(|engine| cpu::of_process(engine.process().pid())).sum()
    }

    /// CPU of all Redis servers until now; nothing where there are none.
    pub(crate) fn redis_cpu(&self) -> anyhow::Result<Duration> {
        self.nodes().iter().map(|node| cpu::of_process(node.process().pid())).sum()
    }

    /// All Redis servers, primaries first.
    pub(crate) fn nodes(&self) -> &[RedisNode] {
        self.redis.as_ref().map_or(&[], RedisCluster::nodes)
    }
}

async fn cluster(replicas_per_primary: usize, append_only: &str) -> anyhow::Result<RedisCluster> {
    let settings = vec![("appendonly".to_owned(), append_only.to_owned())];
    let options = Options { settings, ..Options::default() };
    let topology = Topology { primaries: PRIMARIES, replicas_per_primary, options, ..Topology::default() };
    RedisCluster::start(topology).await
}
