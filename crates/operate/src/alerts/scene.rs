//! What is watched: a Redis Cluster, engines, gateways, endpoints, clients that send all the time, and the
//! Prometheus that scrapes them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use testbed::{
    EngineOptions, EngineProcess, GatewayOptions, GatewayProcess, Process, Prometheus, PrometheusOptions,
    RedisCluster, Settings, State, Topology, find_binary, redis::Options as RedisOptions,
};

use super::{
    endpoint::Endpoint,
    pace,
    user::{self, User},
};

const ENGINES: usize = 3;
const GATEWAYS: usize = 2;
/// A failover with this takes some two seconds; the default of Redis is 15,000.
const NODE_TIMEOUT_MS: u64 = 1_000;
/// As quick as the times of the rules ask for: the shortest window is 2 s.
const SCRAPE_INTERVAL: Duration = Duration::from_millis(500);
/// So that what cannot be delivered expires within the test, and not before the alert that warns of it.
const TTL_SECONDS: &str = "90";
/// Low enough that a client or two reach it.
const IN_FLIGHT_BYTES_MAX: &str = "1048576";
const REQUESTS_IN_FLIGHT_MAX: &str = "64";
/// Longer than any load is needed; what sends ends with this program in any case.
const LOAD_SECONDS: &str = "1200";

/// Everything ends when dropped.
#[derive(Debug)]
pub(super) struct Scene {
    // Dropped in this order: from what asks and sends inwards.
    pub(super) prometheus: Prometheus,
    _clients: Vec<Process>,
    _user: User,
    pub(super) gateways: Vec<GatewayProcess>,
    pub(super) engines: Vec<EngineProcess>,
    /// An engine with its state in memory that gateways do not know at first.
    pub(super) apart: EngineProcess,
    pub(super) redis: Arc<RedisCluster>,
    /// Of the two endpoints, the one that is to fail for a while.
    pub(super) archive: Endpoint,
    /// The one that is to reject.
    pub(super) shop: Endpoint,
    pools: PathBuf,
    home: PathBuf,
}

impl Scene {
    /// Starts all of it with data and logs in `home`.
    ///
    /// # Errors
    /// When a program is missing or a process is not ready in time.
    pub(super) async fn start(home: &Path, rules: &Path) -> anyhow::Result<Self> {
        let options = RedisOptions { directory: Some(home.to_owned()), ..RedisOptions::default() };
        let topology = Topology { node_timeout_ms: NODE_TIMEOUT_MS, options, ..Topology::default() };
        let redis = Arc::new(RedisCluster::start(topology).await?);
        let (archive, shop) = (Endpoint::start()?, Endpoint::start()?);
        let endpoints = home.join("endpoints.toml");
        // Small requests and short waits, so that a slow endpoint falls behind and is back soon.
        let endpoint = |name, url| {
            format!(
                "[[endpoint]]\nname = \"{name}\"\nurl = \"{url}\"\ntimeout_ms = 3000\nbatch_bytes_max = 65536\n"
            )
        };
        write(&endpoints, &(endpoint("archive", archive.url()) + &endpoint("shop", shop.url())))?;

        let mut engines = Vec::new();
        for number in 1..=ENGINES {
            let mut settings = shared_settings();
            settings.extend(settings_of([
                ("delivery.endpoints", &endpoints.display().to_string()),
                ("redis.in_flight_bytes_max", IN_FLIGHT_BYTES_MAX),
            ]));
            let state = State::Redis(redis.url());
            engines.push(engine(home, &format!("engine-{number}"), state, settings).await?);
        }
        let apart = engine(home, "engine-apart", State::Memory, shared_settings()).await?;

        let pools = home.join("pools.toml");
        write(&pools, &pool(&engines, None))?;
        let mut gateways = Vec::new();
        for number in 1..=GATEWAYS {
            let settings = settings_of([
                ("engines.pools", &pools.display().to_string()),
                ("http.limits.requests_in_flight_max", REQUESTS_IN_FLIGHT_MAX),
            ]);
            let options = GatewayOptions {
                name: format!("gateway-{number}"),
                settings,
                directory: Some(home.to_owned()),
                ..GatewayOptions::default()
            };
            gateways.push(GatewayProcess::start(options).await?);
        }

        let scraped = engines.iter().chain([&apart]).map(EngineProcess::admin).collect();
        let options = PrometheusOptions {
            directory: Some(home.to_owned()),
            interval: SCRAPE_INTERVAL,
            // Five minutes at the pace of the rules.
            lookback: Duration::from_secs(300) / pace::FACTOR,
            rules: quickened(rules, home)?,
            jobs: vec![
                ("engine".to_owned(), scraped),
                ("gateway".to_owned(), gateways.iter().map(GatewayProcess::admin).collect()),
            ],
        };
        let prometheus = Prometheus::start(&options).await?;
        let user = User::start(gateways[1].url())?;
        let mut scene = Self {
            prometheus,
            _clients: Vec::new(),
            _user: user,
            gateways,
            engines,
            apart,
            redis,
            archive,
            shop,
            pools,
            home: home.to_owned(),
        };
        scene._clients = vec![
            scene.client("client-grpc", Door::Engines, &["--profile", "realistic", "--rate", "800"])?,
            scene.client(
                "client-http",
                Door::Gateways,
                &[
                    "--spans-per-request",
                    "10",
                    "--spans-per-trace",
                    "10",
                    "--logs-per-trace",
                    "2",
                    "--rate",
                    "500",
                ],
            )?,
        ];
        Ok(scene)
    }

    /// Starts a client that sends until it is dropped, and nothing twice: what is refused is refused.
    ///
    /// # Errors
    /// When `loadgen` is missing.
    pub(super) fn client(&self, name: &str, door: Door, load: &[&str]) -> anyhow::Result<Process> {
        let mut command = Command::new(find_binary("loadgen")?);
        command.args(["load", "--seconds", LOAD_SECONDS]).args(load);
        let (protocol, targets): (_, Vec<String>) = match door {
            Door::Engines => ("grpc", self.engines.iter().map(EngineProcess::url).collect()),
            Door::Apart => ("grpc", vec![self.apart.url()]),
            Door::Gateways => ("http/protobuf", self.gateways.iter().map(GatewayProcess::url).collect()),
        };
        command.args(["--protocol", protocol]);
        for target in targets {
            command.args(["--target", &target]);
        }
        Process::start(name, command, &self.home.join(format!("{name}.log")))
    }

    /// The engines that gateways know, and the one apart.
    pub(super) fn all_engines(&self) -> impl Iterator<Item = &EngineProcess> {
        self.engines.iter().chain([&self.apart])
    }

    /// Lets gateways know the engine with its state in memory as one of the others, or forget it.
    ///
    /// # Errors
    /// When the file of pools cannot be written.
    pub(super) fn let_apart_join(&self, joins: bool) -> anyhow::Result<()> {
        write(&self.pools, &pool(&self.engines, joins.then_some(&self.apart)))
    }
}

/// Where a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Engines,
    Gateways,
    /// The engine with its state in memory.
    Apart,
}

async fn engine(home: &Path, name: &str, state: State, settings: Settings) -> anyhow::Result<EngineProcess> {
    let (name, directory) = (name.to_owned(), Some(home.to_owned()));
    EngineProcess::start(EngineOptions { name, state, settings, directory, ..EngineOptions::default() }).await
}

fn shared_settings() -> Settings {
    settings_of([
        ("correlation.ttl_seconds", TTL_SECONDS),
        ("correlation.window_seconds", "10"),
        ("correlation.grace_ms", "1000"),
        // A list of strings in TOML is written as in Rust.
        ("correlation.keys", &format!("{:?}", [user::KEY])),
    ])
}

fn settings_of<const N: usize>(settings: [(&str, &str); N]) -> Settings {
    settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn pool(engines: &[EngineProcess], further: Option<&EngineProcess>) -> String {
    let urls: Vec<String> = engines.iter().chain(further).map(EngineProcess::url).collect();
    // A list of strings in TOML is written as in Rust.
    format!("[[pool]]\nname = \"stable\"\nweight = 1\nurls = {urls:?}\n")
}

/// The project's rules at the pace of the test, in files of their own.
fn quickened(rules: &Path, home: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for name in ["recording.yml", "alerts.yml"] {
        let file = rules.join(name);
        let text = fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
        let quick = home.join(name);
        write(&quick, &pace::quicken(&text).with_context(|| format!("in {}", file.display()))?)?;
        files.push(quick);
    }
    Ok(files)
}

/// Writes a file, whole or not at all: processes read it again when it changes.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let draft = file.with_extension("new");
    let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, file));
    written.with_context(|| format!("failed to write {}", file.display()))
}
