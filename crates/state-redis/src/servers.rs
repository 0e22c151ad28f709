//! Who the servers are: the slot map with a node for each primary, kept up to date by one task.
//!
//! The task belongs to the store. Callers ask for a new look and wait for it as long as they like;
//! whoever gives up leaves nothing half-made behind.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use fred::prelude::Value;
use futures::{
    future::join_all,
    stream::{FuturesUnordered, StreamExt as _},
};
use parking_lot::Mutex;
use state_core::{Error, Result};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{info, warn};

use crate::{
    config::{Address, Seeds},
    error::{self, Fault},
    keys::SLOTS,
    link::{Command, Link},
    node::{Node, NodeConfig},
    topology::Topology,
};

/// How long a server that is known may take to tell the slot map; the others are asked at the same
/// time. Those of the URL take a connection first, and as long as that and a command may.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);
/// Least time between two looks.
const LOOK_DELAY: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Servers {
    shared: Arc<Shared>,
    /// The one task that looks; ends with this value.
    looker: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Shared {
    seeds: Seeds,
    node_config: NodeConfig,
    routes: ArcSwap<Routes>,
    /// Nodes that a slot is on its way to, before they are in the slot map.
    newcomers: Mutex<HashMap<Address, Arc<Node>>>,
    wanted: Notify,
    looks: watch::Sender<Look>,
    closed: AtomicBool,
}

/// The slot map with a node for each primary in it.
#[derive(Debug, Default)]
struct Routes {
    topology: Option<Topology>,
    nodes: HashMap<Address, Arc<Node>>,
}

/// What the last look at the servers has come to.
#[derive(Debug, Clone, Default)]
struct Look {
    number: u64,
    failure: Option<Failure>,
}

/// Why there is no slot map.
#[derive(Debug, Clone)]
struct Failure {
    reason: String,
    /// It stays so until the configuration is changed.
    is_misconfigured: bool,
}

impl Failure {
    fn passing(reason: String) -> Self {
        Self { reason, is_misconfigured: false }
    }

    fn lasting(reason: String) -> Self {
        Self { reason, is_misconfigured: true }
    }

    fn error(&self, attempted: &str) -> Error {
        if self.is_misconfigured {
            error::misconfigured(attempted, self.reason.clone())
        } else {
            error::unavailable(attempted, self.reason.clone())
        }
    }
}

impl Servers {
    pub(crate) fn new(seeds: Seeds, node_config: NodeConfig) -> Self {
        let shared = Shared {
            seeds,
            node_config,
            routes: ArcSwap::default(),
            newcomers: Mutex::default(),
            wanted: Notify::new(),
            looks: watch::Sender::default(),
            closed: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), looker: Mutex::default() }
    }

    pub(crate) fn are_clustered(&self) -> bool {
        self.shared.seeds.clustered
    }

    pub(crate) fn are_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// The primary of a slot, if it is known.
    pub(crate) fn primary(&self, slot: u16) -> Option<Arc<Node>> {
        let routes = self.shared.routes.load();
        let address = routes.topology.as_ref()?.primary(slot)?;
        routes.nodes.get(address).map(Arc::clone)
    }

    /// Every primary that is known.
    pub(crate) fn primaries(&self) -> Vec<Arc<Node>> {
        self.shared.routes.load().nodes.values().map(Arc::clone).collect()
    }

    /// How far the clock of the primary that differs most is from this machine's, in microseconds: ahead if
    /// positive. `None` if none was ever asked.
    pub(crate) fn clock_skew(&self) -> Option<i64> {
        let skews = self.primaries().into_iter().filter_map(|node| node.clock_skew());
        skews.max_by_key(|skew| skew.unsigned_abs())
    }

    /// The server at an address that a redirection named, whether it is known or not.
    pub(crate) async fn at(&self, address: &Address) -> Option<Arc<Node>> {
        if let Some(node) = self.shared.routes.load().nodes.get(address) {
            return Some(Arc::clone(node));
        }
        let node = {
            let mut newcomers = self.shared.newcomers.lock();
            match newcomers.get(address) {
                Some(node) => Arc::clone(node),
                None => {
                    let node = Arc::new(Node::start(address.clone(), &self.shared.node_config).ok()?);
                    newcomers.insert(address.clone(), Arc::clone(&node));
                    node
                }
            }
        };
        node.connected().await.ok()?;
        Some(node)
    }

    /// Has the slot map read again, and waits for it.
    ///
    /// # Errors
    /// Retryable while no server answers; not retryable if the URL can never work.
    pub(crate) async fn look(&self, attempted: &str, deadline: Instant) -> Result<()> {
        let mut looks = self.shared.looks.subscribe();
        let before = looks.borrow_and_update().number;
        self.start();
        self.shared.wanted.notify_one();
        let next = timeout_at(deadline, looks.wait_for(|look| look.number > before));
        let failure = match next.await {
            Ok(Ok(look)) => look.failure.clone(),
            Ok(Err(_)) => return Err(Error::Closed { attempted: attempted.into() }),
            Err(_) => {
                let failure = self.shared.looks.borrow().failure.clone();
                Some(
                    failure.unwrap_or_else(|| Failure::passing("no server told the slot map in time".into())),
                )
            }
        };
        failure.map_or(Ok(()), |failure| Err(failure.error(attempted)))
    }

    fn start(&self) {
        let mut looker = self.looker.lock();
        if looker.is_empty() && !self.are_closed() {
            looker.spawn(Arc::clone(&self.shared).look_when_wanted());
        }
    }

    /// Ends the task and all connections; what is queued is answered first.
    pub(crate) async fn close(&self) {
        if self.shared.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut looker = std::mem::take(&mut *self.looker.lock());
        looker.shutdown().await;
        let routes = self.shared.routes.swap(Arc::default());
        let newcomers = std::mem::take(&mut *self.shared.newcomers.lock());
        join_all(routes.nodes.values().chain(newcomers.values()).map(|node| node.close())).await;
    }
}

impl Shared {
    async fn look_when_wanted(self: Arc<Self>) {
        // Closing waits for a server that may hang; looking must not.
        let mut closing = JoinSet::new();
        loop {
            self.wanted.notified().await;
            let look = self.look().await;
            let (left, failure) = match look {
                Ok(left) => (left, None),
                Err(failure) => (Vec::new(), Some(failure)),
            };
            self.looks.send_modify(|look| {
                look.number += 1;
                look.failure = failure;
            });
            for node in left {
                closing.spawn(async move { node.close().await });
            }
            while closing.try_join_next().is_some() {}
            sleep(LOOK_DELAY).await;
        }
    }

    /// Reads the slot map; answers the nodes that are not in it any more.
    async fn look(&self) -> Result<Vec<Arc<Node>>, Failure> {
        let known = self.routes.load_full();
        let topology = self.topology(&known).await?;
        let primaries = topology.primaries();
        let connections = self.node_config.connections / primaries.len().max(1);
        if connections == 0 {
            let (most, primaries) = (self.node_config.connections, primaries.len());
            warn!(
                most,
                primaries, "fewer Redis connections are allowed than there are primaries; one each is used"
            );
        }
        let mut nodes = HashMap::new();
        let mut new = Vec::new();
        for address in primaries {
            let newcomer = self.newcomers.lock().remove(address);
            let node = match known.nodes.get(address).map(Arc::clone).or(newcomer) {
                Some(node) => node,
                None => {
                    let config = NodeConfig { connections, ..self.node_config.clone() };
                    let node = Node::start(address.clone(), &config);
                    let node = Arc::new(node.map_err(|error| Failure::lasting(error.to_string()))?);
                    new.push(Arc::clone(&node));
                    node
                }
            };
            nodes.insert(address.clone(), node);
        }
        // Waits, so that the first commands do not fail; if a node does not come up, they say so.
        join_all(new.iter().map(async |node| {
            if let Err(error) = node.connected().await {
                warn!(address = %node.address, %error, "no connection to a Redis primary yet");
            }
        }))
        .await;
        if known.topology.as_ref() != Some(&topology) {
            let primaries: Vec<_> = nodes.keys().map(ToString::to_string).collect();
            info!(primaries = primaries.join(" "), "slot map of Redis read");
        }
        let left = known.nodes.iter().filter(|(address, _)| !nodes.contains_key(*address));
        let left: Vec<_> = left.map(|(_, node)| Arc::clone(node)).collect();
        self.routes.store(Arc::new(Routes { topology: Some(topology), nodes }));
        for node in &left {
            info!(address = %node.address, "Redis server is no primary any more");
        }
        Ok(left)
    }

    /// Asks the servers that are known, then those of the URL; the first answer counts.
    async fn topology(&self, known: &Routes) -> Result<Topology, Failure> {
        if !self.seeds.clustered {
            let server = &self.seeds.servers[0];
            if !known.nodes.contains_key(server) {
                let info = self.ask(server, Command::new("INFO", ["cluster"])).await?;
                if info.into_string().is_some_and(|info| info.contains("cluster_enabled:1")) {
                    let reason = format!(
                        "the server at {server} is part of a cluster; use redis-cluster:// in the URL"
                    );
                    return Err(Failure::lasting(reason));
                }
            }
            return Ok(Topology::single(server.clone()));
        }
        let slots = || Command::new("CLUSTER", ["SLOTS"]);
        let known = known.nodes.values().map(async |node| {
            let answers = timeout(ASK_TIMEOUT, node.send(vec![slots()])).await;
            let answers =
                answers.map_err(|_| Failure::passing(format!("{} does not answer", node.address)))?;
            let answers = answers.map_err(|error| Failure::passing(format!("{}: {error}", node.address)))?;
            read(answers.into_iter().next().unwrap_or(Value::Null), &node.address)
        });
        if let Ok(topology) = first(known).await {
            return Ok(topology);
        }
        first(self.seeds.servers.iter().map(async |server| match self.ask(server, slots()).await {
            Ok(answer) => read(answer, server),
            Err(failure) if failure.reason.contains("cluster support disabled") => Err(Failure::lasting(
                format!("the server at {server} is not part of a cluster; use redis:// in the URL"),
            )),
            Err(failure) => Err(failure),
        }))
        .await
    }

    /// Sends one command over a connection of its own.
    async fn ask(&self, server: &Address, command: Command) -> Result<Value, Failure> {
        let config = &self.node_config;
        let asked = async {
            let link = Link::once(&config.fred, server, config.timeout).await?;
            link.send(vec![command]).await.pop().unwrap_or(Ok(Value::Null))
        };
        asked.await.map_err(|error| {
            let reason = format!("{server}: {}", error.details());
            match Fault::of(&error) {
                Fault::Denied | Fault::Permanent => Failure::lasting(reason),
                _ => Failure::passing(reason),
            }
        })
    }
}

/// The first slot map that covers all slots, or else the one that covers most. Without any, the
/// failure: one that stays only if every server says so.
async fn first(
    asked: impl Iterator<Item = impl Future<Output = Result<Topology, Failure>>>,
) -> Result<Topology, Failure> {
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut best: Option<Topology> = None;
    let mut failure: Option<Failure> = None;
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(topology) if topology.slots() == usize::from(SLOTS) => return Ok(topology),
            Ok(topology) if best.as_ref().is_none_or(|best| best.slots() < topology.slots()) => {
                best = Some(topology)
            }
            Ok(_) => {}
            Err(next) if failure.as_ref().is_none_or(|failure| failure.is_misconfigured) => {
                failure = Some(next)
            }
            Err(_) => {}
        }
    }
    best.ok_or_else(|| failure.unwrap_or_else(|| Failure::passing("no server is known".into())))
}

/// Reads a slot map. One without slots is that of a server that was reset or has not joined yet.
fn read(answer: Value, asked: &Address) -> Result<Topology, Failure> {
    let topology = Topology::parse(answer, asked).filter(|topology| topology.slots() > 0);
    topology.ok_or_else(|| Failure::passing(format!("the cluster of {asked} has no slots yet")))
}
