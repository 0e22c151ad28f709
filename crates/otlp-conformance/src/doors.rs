//! The processes that all cases share: an engine and a gateway for each situation.

use std::time::Duration;

use anyhow::Context as _;
use testbed::{
    EngineOptions, EngineProcess, GatewayOptions, GatewayProcess, RedisServer, State, eventually, redis,
};

use crate::scripted::ScriptedEngine;

/// Largest message and body that [`Doors::narrow`] takes.
pub(crate) const NARROW_BYTES_MAX: usize = 20_000;
/// Most spans of one correlation in [`Doors::narrow`].
pub(crate) const NARROW_SPANS_MAX: usize = 3;

/// For an engine to notice that its store hangs.
const KNOWN: Duration = Duration::from_secs(30);

/// The processes that all cases share. They end when this is dropped.
#[derive(Debug)]
pub struct Doors {
    /// As they are when nothing is configured.
    pub(crate) open: Pair,
    /// With limits that are easily reached.
    pub(crate) narrow: Pair,
    /// With a memory that is always full.
    pub(crate) full: Pair,
    /// With a store that hangs.
    pub(crate) adrift: Pair,
    /// A gateway whose engine answers what a request asks for.
    pub(crate) scripted: GatewayProcess,
    _engine: ScriptedEngine,
    _redis: RedisServer,
}

/// An engine and the gateway in front of it: the two doors to one state.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) engine: EngineProcess,
    pub(crate) gateway: GatewayProcess,
}

impl Doors {
    /// Starts all processes and waits until they are ready.
    ///
    /// # Errors
    /// When one of the programs is missing or does not get ready.
    pub async fn start() -> anyhow::Result<Self> {
        let redis = RedisServer::start(redis::Options::default()).await?;
        let adrift = EngineOptions {
            name: "adrift".to_owned(),
            state: State::Redis(redis.url()),
            settings: vec![("redis.timeout_ms".to_owned(), "500".to_owned())],
            ..EngineOptions::default()
        };
        let (message_max, spans_max) = (NARROW_BYTES_MAX.to_string(), NARROW_SPANS_MAX.to_string());
        let limits = [("grpc.max_message_bytes", &*message_max), ("correlation.spans_max", &*spans_max)];
        let body_max = [("http.max_body_bytes", &*message_max)];
        let (adrift, open, narrow, full, (engine, scripted)) = tokio::try_join!(
            Pair::start(adrift, &[]),
            Pair::start(named("open", &[]), &[]),
            Pair::start(named("narrow", &limits), &body_max),
            Pair::start(named("full", &[("memory.bytes_max", "1")]), &[]),
            start_scripted(),
        )?;
        redis.node().process().pause().context("failed to pause Redis")?;
        // A request without a span needs no store, and is refused as soon as the engine knows that it is away.
        eventually("the engine knows that its store is away", KNOWN, async || {
            matches!(adrift.engine.admin_get("/readyz").await, Ok((503, _)))
        })
        .await?;
        Ok(Self { open, narrow, full, adrift, scripted, _engine: engine, _redis: redis })
    }
}

impl Pair {
    async fn start(engine: EngineOptions, gateway: &[(&str, &str)]) -> anyhow::Result<Self> {
        let name = format!("{}-gateway", engine.name);
        let engine = EngineProcess::start(engine).await?;
        let engines = vec![engine.url()];
        let options = GatewayOptions { name, engines, settings: owned(gateway), ..Default::default() };
        Ok(Self { engine, gateway: GatewayProcess::start(options).await? })
    }
}

async fn start_scripted() -> anyhow::Result<(ScriptedEngine, GatewayProcess)> {
    let engine = ScriptedEngine::start().await?;
    let options =
        GatewayOptions { name: "scripted".to_owned(), engines: vec![engine.url()], ..Default::default() };
    Ok((engine, GatewayProcess::start(options).await?))
}

fn named(name: &str, settings: &[(&str, &str)]) -> EngineOptions {
    EngineOptions { name: name.to_owned(), settings: owned(settings), ..EngineOptions::default() }
}

fn owned(settings: &[(&str, &str)]) -> testbed::Settings {
    settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
