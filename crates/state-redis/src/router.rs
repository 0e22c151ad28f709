//! Finds the primary of a slot, follows it when it moves, and repeats what may be repeated.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use fred::{
    error::{Error as RedisError, ErrorKind},
    prelude::Value,
};
use futures::future::join_all;
use state_core::{Error, Result};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout_at},
};
use tracing::{info, warn};

use crate::{
    acknowledge::Replicas,
    config::{Address, Seeds},
    error::{self, Fault},
    keys::SLOTS,
    link::Command,
    node::{Node, NodeConfig, is_lost},
    topology::Topology,
};

/// Pause before a call is repeated, and least time between two looks at the slot map.
pub(crate) const RETRY_DELAY: Duration = Duration::from_millis(50);

/// The servers, and how to reach the one that is right.
#[derive(Debug)]
pub(crate) struct Router {
    seeds: Seeds,
    node_config: NodeConfig,
    /// How many connections the process may open.
    connections_max: usize,
    timeout: Duration,
    routes: ArcSwap<Routes>,
    /// Held by whoever reads the slot map; holds when it was read last.
    refreshing: Mutex<Option<Instant>>,
    closed: AtomicBool,
}

/// The slot map with a node for each primary in it.
#[derive(Debug, Default)]
struct Routes {
    topology: Option<Topology>,
    nodes: HashMap<Address, Arc<Node>>,
}

impl Routes {
    fn primary(&self, slot: u16) -> Option<&Arc<Node>> {
        self.nodes.get(self.topology.as_ref()?.primary(slot)?)
    }
}

impl Router {
    pub(crate) fn new(seeds: Seeds, node_config: NodeConfig, timeout: Duration) -> Self {
        Self {
            seeds,
            connections_max: node_config.connections,
            node_config,
            timeout,
            routes: ArcSwap::default(),
            refreshing: Mutex::new(None),
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_clustered(&self) -> bool {
        self.seeds.clustered
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// By when an operation that begins now must have ended.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// The primary of a slot, if it is known.
    pub(crate) fn primary(&self, slot: u16) -> Option<Arc<Node>> {
        self.routes.load().primary(slot).map(Arc::clone)
    }

    /// Every primary that is known.
    pub(crate) fn primaries(&self) -> Vec<Arc<Node>> {
        self.routes.load().nodes.values().map(Arc::clone).collect()
    }

    /// Sends commands on keys of one slot, in one pipeline, to the primary that has it; repeats them
    /// until the deadline. They must do the same when they are done twice.
    pub(crate) async fn call(
        &self,
        attempted: &str,
        slot: u16,
        commands: Vec<Command>,
        deadline: Instant,
    ) -> Result<Vec<Value>> {
        self.repeat(attempted, slot, commands, deadline, None).await
    }

    /// Sends writes likewise, and waits until replicas have received them.
    pub(crate) async fn write(
        &self,
        attempted: &str,
        slot: u16,
        commands: Vec<Command>,
        deadline: Instant,
    ) -> Result<Vec<Value>> {
        self.repeat(attempted, slot, commands, deadline, Some(&self.node_config.commit.replicas)).await
    }

    async fn repeat(
        &self,
        attempted: &str,
        slot: u16,
        commands: Vec<Command>,
        deadline: Instant,
        confirm: Option<&Replicas>,
    ) -> Result<Vec<Value>> {
        let mut last = RedisError::new(ErrorKind::Cluster, format!("no server has slot {slot}"));
        loop {
            if self.is_closed() {
                return Err(Error::Closed { attempted: attempted.into() });
            }
            let attempt = self.attempt(slot, commands.clone(), confirm);
            last = match timeout_at(deadline, attempt).await {
                Ok(Ok(answers)) => return Ok(answers),
                Ok(Err(error)) => error,
                // What went wrong before says more than that time is up.
                Err(_) => return Err(error::redis(attempted, last)),
            };
            self.recover(attempted, &last, deadline).await?;
            if Instant::now() + RETRY_DELAY >= deadline {
                return Err(error::redis(attempted, last));
            }
            sleep(RETRY_DELAY).await;
        }
    }

    /// Does what an error asks for before its call is repeated.
    ///
    /// # Errors
    /// Repeating it is of no use.
    pub(crate) async fn recover(&self, attempted: &str, error: &RedisError, deadline: Instant) -> Result<()> {
        match Fault::of(error) {
            Fault::Unable | Fault::Permanent => Err(error::redis(attempted, error.clone())),
            Fault::Ask(_) | Fault::TryAgain | Fault::Behind => Ok(()),
            Fault::NoScript => {
                // Whoever has forgotten them says so; if loading fails, the repeated call says why.
                let _ = join_all(self.primaries().iter().map(|node| node.load_scripts())).await;
                Ok(())
            }
            Fault::Moved | Fault::Lost => match timeout_at(deadline, self.refresh(attempted)).await {
                Ok(Err(error)) if !error.is_retryable() => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// Sends commands once, to the primary of the slot and where it redirects to.
    async fn attempt(
        &self,
        slot: u16,
        commands: Vec<Command>,
        confirm: Option<&Replicas>,
    ) -> Result<Vec<Value>, RedisError> {
        let Some(node) = self.primary(slot) else {
            return Err(RedisError::new(
                ErrorKind::Canceled,
                format!("no server is known to have slot {slot}"),
            ));
        };
        let send = async |commands| match confirm {
            Some(replicas) => node.write(commands, replicas).await,
            None => node.send(commands).await,
        };
        let result = send(commands.clone()).await;
        let Err(error) = &result else { return result };
        match Fault::of(error) {
            Fault::NoScript => {
                node.load_scripts().await?;
                send(commands).await
            }
            Fault::Ask(address) => match self.node_at(&address) {
                Some(node) => node.send_asking(commands, confirm).await,
                None => result,
            },
            _ => result,
        }
    }

    fn node_at(&self, address: &Address) -> Option<Arc<Node>> {
        self.routes.load().nodes.get(address).map(Arc::clone)
    }

    /// Reads the slot map again, unless somebody has just done so.
    ///
    /// # Errors
    /// Retryable while no server answers; not retryable if the URL can never work.
    pub(crate) async fn refresh(&self, attempted: &str) -> Result<()> {
        let asked = Instant::now();
        let mut read = self.refreshing.lock().await;
        if read.is_some_and(|read| read >= asked || asked - read < RETRY_DELAY) {
            return Ok(());
        }
        let known = self.routes.load_full();
        let topology = self.topology(attempted, &known).await?;
        // A node that lost its connection keeps trying; one that is no primary any more is let go.
        let mut nodes = HashMap::new();
        let primaries = topology.primaries();
        let connections = self.connections_max / primaries.len().max(1);
        for address in primaries {
            let node = match known.nodes.get(address) {
                Some(node) => Arc::clone(node),
                None => self.start(attempted, address, connections).await?,
            };
            nodes.insert(address.clone(), node);
        }
        if known.topology.as_ref() != Some(&topology) {
            let primaries: Vec<_> = nodes.keys().map(ToString::to_string).collect();
            info!(primaries = primaries.join(" "), "slot map of Redis read");
        }
        let left: Vec<_> = known.nodes.iter().filter(|(address, _)| !nodes.contains_key(address)).collect();
        self.routes.store(Arc::new(Routes { topology: Some(topology), nodes }));
        for (address, node) in left {
            info!(%address, "Redis server is no primary any more");
            node.close().await;
        }
        *read = Some(Instant::now());
        Ok(())
    }

    async fn start(&self, attempted: &str, address: &Address, connections: usize) -> Result<Arc<Node>> {
        let config = NodeConfig { connections, ..self.node_config.clone() };
        let node = Node::start(address.clone(), &config).map_err(|error| error::redis(attempted, error))?;
        // Waits, so that the first commands do not fail; if it does not come up, they say so.
        if let Err(error) = node.connected().await {
            warn!(%address, %error, "no connection to a Redis primary yet");
        }
        Ok(Arc::new(node))
    }

    /// Asks the servers that are known, then those of the URL, until one answers.
    async fn topology(&self, attempted: &str, known: &Routes) -> Result<Topology> {
        if !self.seeds.clustered {
            return match self.seeds.servers.first() {
                Some(server) if known.nodes.contains_key(server) => Ok(Topology::single(server.clone())),
                Some(server) => self.single(attempted, server).await,
                None => Err(error::misconfigured(attempted, "the URL names no server")),
            };
        }
        let mut last = None;
        for node in known.nodes.values() {
            match node.send(vec![Command::new("CLUSTER", ["SLOTS"])]).await {
                Ok(answers) => match read_slots(answers, &node.address) {
                    Some(topology) => return Ok(topology),
                    None => last = Some("CLUSTER SLOTS answered something else".to_owned()),
                },
                Err(error) => last = Some(format!("{}: {error}", node.address)),
            }
        }
        for server in &self.seeds.servers {
            match self.ask_seed(attempted, server).await {
                Ok(topology) => return Ok(topology),
                Err(error) if !error.is_retryable() => return Err(error),
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    last = Some(format!("{server}: {}", cause.unwrap_or_else(|| error.to_string())));
                }
            }
        }
        Err(error::unavailable(attempted, last.unwrap_or_else(|| "the URL names no server".into())))
    }

    /// Looks whether the one server is on its own, as the URL says.
    async fn single(&self, attempted: &str, server: &Address) -> Result<Topology> {
        let info = self.ask(attempted, server, Command::new("INFO", ["cluster"])).await?;
        if info.into_string().is_some_and(|info| info.contains("cluster_enabled:1")) {
            let reason =
                format!("the server at {server} is part of a cluster; use redis-cluster:// in the URL");
            return Err(error::misconfigured(attempted, reason));
        }
        Ok(Topology::single(server.clone()))
    }

    async fn ask_seed(&self, attempted: &str, server: &Address) -> Result<Topology> {
        let info = self.ask(attempted, server, Command::new("INFO", ["cluster"])).await?;
        if info.into_string().is_some_and(|info| info.contains("cluster_enabled:0")) {
            let reason = format!("the server at {server} is not part of a cluster; use redis:// in the URL");
            return Err(error::misconfigured(attempted, reason));
        }
        let answer = self.ask(attempted, server, Command::new("CLUSTER", ["SLOTS"])).await?;
        let topology = Topology::parse(answer, server);
        let topology =
            topology.filter(|topology| (0..SLOTS).step_by(1024).any(|slot| topology.primary(slot).is_some()));
        topology
            .ok_or_else(|| error::unavailable(attempted, format!("the cluster of {server} has no slots yet")))
    }

    /// Sends one command over a connection of its own.
    async fn ask(&self, attempted: &str, server: &Address, command: Command) -> Result<Value> {
        let link = crate::link::Link::start(&self.node_config.fred, server, self.node_config.timeout)
            .map_err(|error| error::redis(attempted, error))?;
        let answer = match link.connected().await {
            Ok(()) => link.send(vec![command]).await.pop(),
            Err(error) => Some(Err(error)),
        };
        link.close().await;
        match answer {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) if is_lost(&error) => {
                Err(error::unavailable(attempted, format!("{server}: {error}")))
            }
            Some(Err(error)) => {
                Err(error::misconfigured(attempted, format!("the server at {server} answers: {error}")))
            }
            None => Err(error::unavailable(attempted, format!("{server} did not answer"))),
        }
    }

    /// Ends all connections. What is called later answers that the store is closed.
    pub(crate) async fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let routes = self.routes.swap(Arc::default());
        for node in routes.nodes.values() {
            node.close().await;
        }
    }
}

fn read_slots(answers: Vec<Value>, asked: &Address) -> Option<Topology> {
    Topology::parse(answers.into_iter().next()?, asked)
}
