//! A whole local cluster: Redis, engines that share it, gateways before them.

use std::path::{Path, PathBuf};

use anyhow::ensure;

use crate::{
    engine::{EngineOptions, EngineProcess, State},
    gateway::{GatewayOptions, GatewayProcess},
    redis::{self, RedisCluster, RedisNode, RedisServer, Topology},
    running::{Backend, Entry, Running, RunningEngine, RunningGateway, RunningRedis},
    service::Settings,
};

/// Default ports of the first Redis, engine and gateway; the next of a kind are `PORT_STEP` on,
/// because gateway and engine are neighbours.
const REDIS_PORT: u16 = 7_000;
pub const ENGINE_PORTS: (u16, u16) = (4_317, 9_464);
/// Likewise of the gateways.
pub const GATEWAY_PORTS: (u16, u16) = (4_318, 9_465);
const PORT_STEP: u16 = 10;

/// What a local cluster consists of.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Where the engines keep their state. Default: a Redis Cluster of three primaries.
    pub backend: Backend,
    /// Replicas per primary of a Redis Cluster. Default 1.
    pub replicas: usize,
    /// Default 3.
    pub engines: usize,
    /// Default 1.
    pub gateways: usize,
    /// Further settings of every engine.
    pub engine_settings: Settings,
    /// Further settings of every gateway.
    pub gateway_settings: Settings,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            backend: Backend::RedisCluster,
            replicas: 1,
            engines: 3,
            gateways: 1,
            engine_settings: Settings::new(),
            gateway_settings: Settings::new(),
        }
    }
}

/// Redis, engines and gateways as real processes, killed when dropped.
#[derive(Debug)]
pub struct LocalCluster {
    // Dropped in this order: from the clients inwards.
    gateways: Vec<GatewayProcess>,
    engines: Vec<EngineProcess>,
    redis: Redis,
    backend: Backend,
}

/// The store behind the engines.
#[derive(Debug)]
enum Redis {
    None,
    Server(Box<RedisServer>),
    Cluster(RedisCluster),
}

impl LocalCluster {
    /// Starts a cluster for a test, on free ports, and waits until all of it is ready.
    ///
    /// # Errors
    /// When a program is missing or a process is not ready in time; the end of its log is quoted.
    pub async fn start(shape: &Shape) -> anyhow::Result<Self> {
        Self::start_in(shape, None).await
    }

    /// Starts a cluster that can outlive this program, with data and logs in `home`, on its
    /// default ports where they are free. It ends with this value unless [`LocalCluster::detach`]
    /// is called.
    ///
    /// # Errors
    /// Like [`LocalCluster::start`].
    pub async fn start_in_background(shape: &Shape, home: &Path) -> anyhow::Result<Self> {
        Self::start_in(shape, Some(home)).await
    }

    async fn start_in(shape: &Shape, home: Option<&Path>) -> anyhow::Result<Self> {
        ensure!(shape.engines > 0, "a cluster needs at least one engine");
        let redis = Redis::start(shape, home).await?;
        let state = redis.url().map_or(State::Memory, State::Redis);
        let mut cluster = Self { gateways: Vec::new(), engines: Vec::new(), redis, backend: shape.backend };
        for index in 0..shape.engines {
            let options = EngineOptions {
                name: format!("engine-{}", index + 1),
                state: state.clone(),
                settings: shape.engine_settings.clone(),
                directory: home.map(PathBuf::from),
                ports: home.map(|_| nth_ports(ENGINE_PORTS, index)),
                background: home.is_some(),
            };
            cluster.engines.push(EngineProcess::start(options).await?);
        }
        for index in 0..shape.gateways {
            let options = GatewayOptions {
                name: format!("gateway-{}", index + 1),
                engines: cluster.engines.iter().map(EngineProcess::url).collect(),
                settings: shape.gateway_settings.clone(),
                directory: home.map(PathBuf::from),
                ports: home.map(|_| nth_ports(GATEWAY_PORTS, index)),
                background: home.is_some(),
            };
            cluster.gateways.push(GatewayProcess::start(options).await?);
        }
        Ok(cluster)
    }

    /// The Redis servers; none when the state is in memory.
    #[must_use]
    pub fn redis_nodes(&self) -> &[RedisNode] {
        self.redis.nodes()
    }

    /// The cluster behind the engines, where there is one.
    #[must_use]
    pub fn redis_cluster(&self) -> Option<&RedisCluster> {
        match &self.redis {
            Redis::Cluster(cluster) => Some(cluster),
            Redis::None | Redis::Server(_) => None,
        }
    }

    /// The engines.
    #[must_use]
    pub fn engines(&self) -> &[EngineProcess] {
        &self.engines
    }

    /// The gateways.
    #[must_use]
    pub fn gateways(&self) -> &[GatewayProcess] {
        &self.gateways
    }

    /// What another program has to know to use or end this cluster.
    ///
    /// # Errors
    /// When a process has ended.
    pub fn describe(&self) -> anyhow::Result<Running> {
        let redis = self.redis_nodes().iter().map(|node| {
            let entry = Entry::of(node.process())?;
            Ok(RunningRedis { address: node.address(), entry })
        });
        let engines = self.engines.iter().map(|engine| {
            let entry = Entry::of(engine.process())?;
            Ok(RunningEngine { grpc: engine.grpc(), admin: engine.admin(), entry })
        });
        let gateways = self.gateways.iter().map(|gateway| {
            let entry = Entry::of(gateway.process())?;
            let (http, grpc, admin) = (gateway.http(), gateway.grpc(), gateway.admin());
            Ok(RunningGateway { http, grpc, admin, entry })
        });
        Ok(Running {
            state: self.backend,
            redis: redis.collect::<anyhow::Result<_>>()?,
            engines: engines.collect::<anyhow::Result<_>>()?,
            gateways: gateways.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Leaves every process running.
    pub fn detach(self) {
        let redis = self.redis.nodes().iter().map(RedisNode::process);
        let engines = self.engines.iter().map(EngineProcess::process);
        let gateways = self.gateways.iter().map(GatewayProcess::process);
        for process in redis.chain(engines).chain(gateways) {
            process.detach();
        }
    }
}

impl Redis {
    async fn start(shape: &Shape, home: Option<&Path>) -> anyhow::Result<Self> {
        let options = redis::Options {
            settings: Vec::new(),
            directory: home.map(PathBuf::from),
            first_port: home.map(|_| REDIS_PORT),
            background: home.is_some(),
            ..redis::Options::default()
        };
        Ok(match shape.backend {
            Backend::Memory => Self::None,
            Backend::Redis => Self::Server(Box::new(RedisServer::start(options).await?)),
            Backend::RedisCluster => {
                let topology =
                    Topology { replicas_per_primary: shape.replicas, options, ..Topology::default() };
                Self::Cluster(RedisCluster::start(topology).await?)
            }
        })
    }

    fn url(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Server(server) => Some(server.url()),
            Self::Cluster(cluster) => Some(cluster.url()),
        }
    }

    fn nodes(&self) -> &[RedisNode] {
        match self {
            Self::None => &[],
            Self::Server(server) => std::slice::from_ref(server.node()),
            Self::Cluster(cluster) => cluster.nodes(),
        }
    }
}

/// Ports of the engine or gateway number `index`.
fn nth_ports(first: (u16, u16), index: usize) -> (u16, u16) {
    let offset = u16::try_from(index).unwrap_or(0) * PORT_STEP;
    (first.0 + offset, first.1 + offset)
}
