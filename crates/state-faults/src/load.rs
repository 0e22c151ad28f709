//! Clients that send all the time: writers, probes that measure, closers, and one who asks for readiness.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use state_core::{Append, Outcome, Settings, StateManager};
use state_redis::{Config, RedisStateManager};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::ledger::Ledger;

/// Short, so that correlations are closed while the fault lasts.
pub(crate) const GRACE: Duration = Duration::from_millis(500);
/// Traces of a large request.
pub(crate) const MANY: usize = 100;
/// Pause of a client before it sends again what was not acknowledged.
const RESEND_DELAY: Duration = Duration::from_millis(50);
/// A request that nobody acknowledges for so long is given up, and the run has failed.
const GIVEN_UP: Duration = Duration::from_secs(90);
const WRITERS: usize = 4;
const LEASE: Duration = Duration::from_secs(2);

/// A request of a probe, from its first attempt to its acknowledgement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// The one shard it touches; `None` for a large one that touches all.
    pub(crate) shard: Option<usize>,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) errors: u32,
}

/// What the clients share.
#[derive(Debug)]
pub(crate) struct Load {
    store: Arc<RedisStateManager>,
    pub(crate) ledger: Ledger,
    samples: Mutex<Vec<Sample>>,
    refused_ready: AtomicU64,
    given_up: AtomicU64,
    stop: AtomicBool,
    stop_closing: AtomicBool,
}

pub(crate) fn open(url: &str, prefix: &str) -> anyhow::Result<Arc<RedisStateManager>> {
    let config = Config { url: url.to_owned(), key_prefix: prefix.to_owned(), ..Config::default() };
    let settings = Settings { grace: GRACE, ..Settings::default() };
    Ok(Arc::new(RedisStateManager::new(&config, settings)?))
}

impl Load {
    pub(crate) fn new(store: Arc<RedisStateManager>) -> Arc<Self> {
        Arc::new(Self {
            store,
            ledger: Ledger::default(),
            samples: Mutex::default(),
            refused_ready: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            stop_closing: AtomicBool::new(false),
        })
    }

    /// Starts the clients that send. `probes` holds correlations of each shard.
    pub(crate) fn start(self: &Arc<Self>, probes: &[Vec<String>]) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        for writer in 0..WRITERS {
            clients.spawn(Arc::clone(self).write_single(writer));
        }
        clients.spawn(Arc::clone(self).write_many());
        for (shard, ids) in probes.iter().enumerate() {
            clients.spawn(Arc::clone(self).probe(Some(shard), ids.clone(), 1, Duration::from_millis(5)));
        }
        let shared = probes.iter().flatten().cloned().collect();
        clients.spawn(Arc::clone(self).probe(None, shared, MANY, Duration::from_millis(50)));
        clients.spawn(Arc::clone(self).ask_for_readiness());
        clients
    }

    /// Starts engines that close what is due, each with a store of its own.
    pub(crate) fn start_closing(self: &Arc<Self>, stores: Vec<Arc<RedisStateManager>>) -> JoinSet<()> {
        stores.into_iter().map(|store| Arc::clone(self).close(store)).collect()
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn stop_closing(&self) {
        self.stop_closing.store(true, Ordering::Relaxed);
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.samples.lock().clone()
    }

    pub(crate) fn refused_ready(&self) -> u64 {
        self.refused_ready.load(Ordering::Relaxed)
    }

    pub(crate) fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Sends a request until it is acknowledged, as an OTLP client does; answers how often it was not.
    pub(crate) async fn deliver(&self, request: Vec<Append>) -> u32 {
        let began = Instant::now();
        let mut errors = 0;
        while began.elapsed() < GIVEN_UP {
            match self.store.append(request.clone()).await {
                Ok(outcomes) => {
                    let are_kept =
                        outcomes.iter().all(|outcome| matches!(outcome, Outcome::Added | Outcome::Duplicate));
                    if are_kept && outcomes.len() == request.len() {
                        self.ledger.acknowledge(&request);
                    } else {
                        self.ledger.misbehaved(format!("append answered {outcomes:?}"));
                    }
                    return errors;
                }
                Err(error) => self.ledger.failed(&error),
            }
            errors += 1;
            sleep(RESEND_DELAY).await;
        }
        self.given_up.fetch_add(1, Ordering::Relaxed);
        errors
    }

    /// Three spans for each trace, in three requests; some come when their trace was closed before.
    async fn write_single(self: Arc<Self>, writer: usize) {
        let mut round = 0_usize;
        while self.goes_on() {
            let late = if round % 10 == 9 { 30 } else { 0 };
            let trace = (round / 3).saturating_sub(late);
            let request = self.ledger.request([format!("w{writer}={trace}")].into_iter());
            self.deliver(request).await;
            round += 1;
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn write_many(self: Arc<Self>) {
        let mut round = 0_usize;
        while self.goes_on() {
            let first = round / 4 * MANY;
            let request = self.ledger.request((first..first + MANY).map(|trace| format!("m={trace}")));
            self.deliver(request).await;
            round += 1;
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn probe(self: Arc<Self>, shard: Option<usize>, ids: Vec<String>, traces: usize, pause: Duration) {
        let mut turn = 0;
        while self.goes_on() {
            let request = self.ledger.request((turn..turn + traces).map(|n| ids[n % ids.len()].clone()));
            turn += traces;
            let began = Instant::now();
            let errors = self.deliver(request).await;
            self.samples.lock().push(Sample { shard, began, ended: Instant::now(), errors });
            sleep(pause).await;
        }
    }

    async fn ask_for_readiness(self: Arc<Self>) {
        while self.goes_on() {
            if let Err(error) = self.store.ready().await {
                self.ledger.failed(&error);
                self.refused_ready.fetch_add(1, Ordering::Relaxed);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn close(self: Arc<Self>, store: Arc<RedisStateManager>) {
        while !self.stop_closing.load(Ordering::Relaxed) {
            match store.claim_due(256, LEASE).await {
                Ok(claims) if !claims.is_empty() => {
                    let finishes = claims.iter().map(|claim| claim.finish("quiet")).collect();
                    if let Err(error) = store.finish(finishes).await {
                        self.ledger.failed(&error);
                    }
                }
                Ok(_) => {}
                Err(error) => self.ledger.failed(&error),
            }
            sleep(RESEND_DELAY).await;
        }
    }
}
