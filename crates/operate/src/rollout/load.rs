//! Load that goes on while everything changes: over gRPC and HTTP through the gateways, and again as a Collector
//! sends it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use loadgen::{
    plan::Door,
    sender::{Failure, Sender},
};
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    ledger::Ledger,
    traffic::{Part, traces_of},
};

/// A moderate load: what is tried is the rollout, and not how much goes.
pub(super) const REQUESTS_PER_SECOND: u32 = 200;
/// How long a trace is in flight.
const FLIGHT: Duration = Duration::from_secs(1);
/// Pairs whose requests are not all answered. Five times those of a second in flight.
const IN_FLIGHT_MAX: usize = 500;

// As those of the Collector's exporters, a tenth of their times.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(3);
const FACTOR: f64 = 1.5;
/// A request that is not acknowledged then has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Failures that are told in words.
const EXAMPLES_MAX: usize = 5;

/// What all clients share.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) ledger: Arc<Ledger>,
    sender: Sender,
    gateways: usize,
    requests: AtomicU64,
    failed: AtomicU64,
    repeated: AtomicU64,
    examples: Mutex<Vec<String>>,
}

/// What came of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) requests: u64,
    /// Refused by an answer, be it once, or not acknowledged in the end.
    pub(super) failed: u64,
    /// Attempts that were not answered, and were made again: the connection was closed or refused.
    pub(super) repeated: u64,
}

impl Load {
    /// The gateways are those of the sender, as "engines" over gRPC and over HTTP.
    pub(super) fn new(ledger: &Arc<Ledger>, sender: Sender, gateways: usize) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            sender,
            gateways,
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            examples: Mutex::default(),
        }
    }

    /// Sends until it is told to stop, and waits until every request has an answer or is given up.
    ///
    /// # Errors
    /// When a task fails.
    pub(super) async fn run(self: Arc<Self>, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
        let pairs_per_second = f64::from(REQUESTS_PER_SECOND) / Part::BOTH.len() as f64;
        let mut ticks = interval(Duration::from_secs_f64(1.0 / pairs_per_second));
        // A machine that is too slow gets less, not all at once.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut sending, room) = (JoinSet::new(), Arc::new(Semaphore::new(IN_FLIGHT_MAX)));
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let place = Arc::clone(&room).acquire_owned().await.context("the clients have ended")?;
            let load = Arc::clone(&self);
            sending.spawn(async move {
                let _place = place;
                let pair = load.ledger.begin(false);
                load.send_pair(pair).await;
            });
            while let Some(sent) = sending.try_join_next() {
                sent?;
            }
        }
        while let Some(sent) = sending.join_next().await {
            sent?;
        }
        Ok(())
    }

    pub(super) fn tally(&self) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tally { requests: read(&self.requests), failed: read(&self.failed), repeated: read(&self.repeated) }
    }

    /// The first failures in words.
    pub(super) fn examples(&self) -> Vec<String> {
        self.examples.lock().clone()
    }

    async fn send_pair(&self, pair: u64) {
        for part in Part::BOTH {
            if part == Part::Late {
                sleep(FLIGHT).await;
            }
            if self.send(pair, part).await {
                self.ledger.acknowledged(pair, part);
            }
        }
        self.ledger.settled(pair);
    }

    /// Sends a request until it is acknowledged or given up; answers whether it is acknowledged.
    async fn send(&self, pair: u64, part: Part) -> bool {
        let request = self.ledger.traffic.request(pair, part);
        let (door, is_compressed) = (self.door(pair), pair % 8 < 4);
        let (mut wait, mut is_refused) = (FIRST_WAIT, false);
        let end = Instant::now() + PATIENCE;
        self.requests.fetch_add(1, Ordering::Relaxed);
        for turn in 0.. {
            let door = self.sender.after(door, turn);
            let failure = match self.sender.attempt(&request, door, is_compressed).await {
                Ok(answer) if answer.rejected == 0 => return true,
                Ok(answer) => {
                    self.failed(is_refused, format!("{door:?} rejected items: {}", answer.message));
                    return false;
                }
                Err(failure) => failure,
            };
            let Failure { error, is_retryable, is_answered, retry_after } = failure;
            let pause = wait.max(retry_after.unwrap_or_default());
            let is_given_up = !is_retryable || Instant::now() + pause >= end;
            if is_answered || is_given_up {
                self.failed(is_refused, format!("{door:?}: {error:#}"));
                is_refused = true;
            } else {
                self.repeated.fetch_add(1, Ordering::Relaxed);
            }
            if is_given_up {
                return false;
            }
            sleep(pause).await;
            wait = wait.mul_f64(FACTOR).min(LAST_WAIT);
        }
        false
    }

    /// Counts a request once, however often it is refused.
    fn failed(&self, was_refused: bool, words: String) {
        self.failed.fetch_add(u64::from(!was_refused), Ordering::Relaxed);
        let mut examples = self.examples.lock();
        if examples.len() < EXAMPLES_MAX {
            examples.push(words);
        }
    }

    /// Half over gRPC, a quarter each as protobuf and JSON over HTTP, at the gateways in turn.
    fn door(&self, pair: u64) -> Door {
        let gateway = usize::try_from(pair / 4).unwrap_or_default() % self.gateways;
        match pair % 4 {
            0 | 2 => Door::Engine(gateway),
            1 => Door::Protobuf(gateway),
            _ => Door::Json(gateway),
        }
    }
}

/// Sends some pairs to one engine that the gateways do not know, and answers the numbers of their traces.
///
/// # Errors
/// When one is not acknowledged.
pub(super) async fn smoke(ledger: &Ledger, engine: &Sender, pairs: u64) -> anyhow::Result<Vec<u64>> {
    let mut traces = Vec::new();
    for _ in 0..pairs {
        let pair = ledger.begin(true);
        for part in Part::BOTH {
            let sending = loadgen::plan::Sending { request: 0, door: Door::Engine(0), gzip: false };
            engine.send(&ledger.traffic.request(pair, part), sending).await?;
            ledger.acknowledged(pair, part);
        }
        ledger.settled(pair);
        traces.extend(traces_of(pair));
    }
    Ok(traces)
}
