//! The engines behind the gateway: which there are, which are ready, and calls to one of them.

mod choice;
mod circuit;
mod discovery;
mod engine;
mod latency;
mod signature;
mod tls;

use std::{
    collections::HashMap, convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration,
};

use access::Caller;
use arc_swap::ArcSwap;
use futures::{StreamExt, stream::FuturesUnordered};
use service_lifecycle::Check;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tonic::{
    Request, Response, Status,
    metadata::MetadataMap,
    transport::{Channel, ClientTlsConfig},
};
use tower::retry::budget::{Budget, TpsBudget};
use tracing::{debug, info};

use crate::{EnginesConfig, metrics, status};
use discovery::Discovery;
use engine::Engine;
use signature::Signature;

/// Retries are counted over this time.
const BUDGET_TIME: Duration = Duration::from_secs(10);

/// Whether another engine may be sent a request that one may already have carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Twice is as good as once.
    Safe,
    /// Only while it was certainly not sent.
    Unsent,
}

/// All engines that `engines.urls` leads to. Holds no requests: there is no queue.
pub(crate) struct Engines {
    config: EnginesConfig,
    /// Of all requests together, so that engines in trouble do not get a multiple of them.
    budget: TpsBudget,
    /// Replaced as a whole when an address comes or goes.
    known: ArcSwap<Vec<Arc<Engine>>>,
    /// Ready while at least one engine is.
    check: Check,
    signature: Signature,
    tls: Option<ClientTlsConfig>,
}

impl Engines {
    /// Knows no engine until [`Engines::watch`] runs.
    ///
    /// # Errors
    /// A file for TLS that cannot be read.
    pub(crate) fn new(config: EnginesConfig, check: Check) -> anyhow::Result<Self> {
        let signature = Signature::new(&config.token)?;
        let tls = tls::client(&config)?;
        metrics::begin_at_zero();
        let budget =
            TpsBudget::new(BUDGET_TIME, config.retries_per_second, f32::from(config.retry_percent) / 100.0);
        Ok(Self { config, budget, known: ArcSwap::default(), check, signature, tls })
    }

    /// Every known engine with its URL, and whether it is ready; by address.
    pub(crate) fn list(&self) -> Vec<(String, bool)> {
        let known = self.known.load();
        known.iter().map(|engine| (engine.url(), engine.is_ready())).collect()
    }

    /// Calls one of the engines that are ready, and others when it cannot be reached or answers
    /// with an error that another one may not have, or when it takes long (`engines.hedge_ms`):
    /// then the first answer counts.
    ///
    /// It is asked in the name of `caller`. The message is cloned for each attempt, so it should be
    /// cheap to clone.
    ///
    /// # Errors
    /// The last answer of an engine; `UNAVAILABLE` when none could be asked,
    /// `DEADLINE_EXCEEDED` when none answered before `deadline`.
    pub(crate) async fn call<Message, Answer, Attempt>(
        &self,
        caller: &Caller,
        deadline: Instant,
        repeat: Repeat,
        message: Message,
        attempt: impl Fn(Channel, Request<Message>) -> Attempt,
    ) -> Result<Answer, Status>
    where
        Message: Clone,
        Attempt: Future<Output = Result<Response<Answer>, Status>>,
    {
        let mut metadata = MetadataMap::new();
        self.signature.sign(&mut metadata, caller)?;
        let begin = |engine: Arc<Engine>| {
            let mut request = Request::new(message.clone());
            request.metadata_mut().clone_from(&metadata);
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let answering = attempt(engine.channel(), request);
            async move {
                let _call = engine.begin();
                let answer = answering.await;
                (engine, answer)
            }
        };
        let Some(first) = choice::choose(&self.known.load(), &[], Instant::now()) else {
            return Err(self.none_ready());
        };
        self.budget.deposit();
        let mut tried = vec![Arc::clone(&first)];
        let mut attempts = FuturesUnordered::from_iter([begin(first)]);
        let mut hedge_at = Instant::now() + Duration::from_millis(self.config.hedge_ms);
        loop {
            let may_hedge = repeat == Repeat::Safe && hedge_at < deadline;
            let failure = tokio::select! {
                Some((engine, answer)) = attempts.next() => {
                    let failure = match answer {
                        Ok(response) => {
                            metrics::attempt_ended("answered");
                            engine.succeeded();
                            return Ok(response.into_inner());
                        }
                        // Tonic keeps to the time of a request too, and one of the two notices first.
                        Err(answer) if status::is_timeout(&answer) => return Err(self.too_late(&tried)),
                        Err(answer) => self.judge(&engine, answer)?,
                    };
                    if repeat == Repeat::Unsent && !failure.is_unsent {
                        return Err(failure.status);
                    }
                    Some(failure.status)
                }
                () = sleep_until(deadline) => return Err(self.too_late(&tried)),
                () = sleep_until(hedge_at), if may_hedge => {
                    hedge_at = deadline;
                    None
                }
            };
            match self.another(&tried) {
                Some(engine) => {
                    if failure.is_none() {
                        metrics::hedged();
                    }
                    tried.push(Arc::clone(&engine));
                    attempts.push(begin(engine));
                }
                // Another one may still answer.
                None => {
                    if let (Some(failure), true) = (failure, attempts.is_empty()) {
                        return Err(failure);
                    }
                }
            }
        }
    }

    /// One more engine to ask, if there is one and the budget allows it.
    fn another(&self, tried: &[Arc<Engine>]) -> Option<Arc<Engine>> {
        if tried.len() >= self.config.max_attempts {
            return None;
        }
        let engine = choice::choose(&self.known.load(), tried, Instant::now())?;
        if !self.budget.withdraw() {
            metrics::retry_budget_exhausted();
            return None;
        }
        Some(engine)
    }

    fn too_late(&self, tried: &[Arc<Engine>]) -> Status {
        for engine in tried {
            metrics::attempt_ended("timeout");
            engine.failed();
        }
        let urls: Vec<String> = tried.iter().map(|engine| engine.url()).collect();
        Status::deadline_exceeded(format!("engine {} did not answer in time", urls.join(", ")))
    }

    /// Returns the failure with which another engine is to be tried.
    ///
    /// # Errors
    /// The failure, when no other engine would answer differently.
    fn judge(&self, engine: &Engine, answer: Status) -> Result<Failure, Status> {
        if status::is_without_answer(&answer) {
            metrics::attempt_ended("unreachable");
            engine.failed();
            let cause = status::root_cause(&answer);
            debug!(engine = engine.url(), cause, "an engine did not answer");
            // A stream that breaks may be the fault of one request; only a connection that cannot
            // be made says that the engine is gone.
            let is_unsent = status::is_unreachable(&answer);
            if is_unsent {
                engine.set_ready(false, &cause);
                self.announce();
            }
            let message = format!("engine {} did not answer: {cause}", engine.url());
            return Ok(Failure { status: status::unavailable(message), is_unsent });
        }
        // What is out of range here is so everywhere.
        if status::is_retryable(&answer) && answer.code() != tonic::Code::OutOfRange {
            metrics::attempt_ended("retryable");
            engine.failed();
            debug!(engine = engine.url(), %answer, "trying another engine");
            return Ok(Failure { status: answer, is_unsent: false });
        }
        metrics::attempt_ended("refused");
        engine.succeeded();
        Err(answer)
    }

    fn none_ready(&self) -> Status {
        status::unavailable(describe_none_ready(self.known.load().len()))
    }

    /// Follows DNS and the health of every engine, for ever. The probes end when it is dropped.
    pub(crate) async fn watch(self: Arc<Self>) -> Infallible {
        let mut discovery = Discovery::new(self.config.urls.clone());
        let mut running: HashMap<SocketAddr, AbortHandle> = HashMap::new();
        let mut probes = JoinSet::new();
        loop {
            let found = discovery.resolve().await;
            for (address, probe) in running.extract_if(|address, _| !found.contains_key(address)) {
                info!(%address, "an engine is gone from DNS");
                probe.abort();
            }
            let mut engines = self.known.load().as_ref().clone();
            engines.retain(|engine| found.contains_key(&engine.address));
            for (&address, url) in &found {
                running.entry(address).or_insert_with(|| {
                    let engine = Arc::new(Engine::new(address, url, self.tls.as_ref()));
                    engines.push(Arc::clone(&engine));
                    probes.spawn(Arc::clone(&self).probe(engine))
                });
            }
            engines.sort_by_key(|engine| engine.address);
            self.known.store(Arc::new(engines));
            self.announce();
            // Reaps the aborted ones.
            while probes.try_join_next().is_some() {}
            sleep(Duration::from_millis(self.config.refresh_ms)).await;
        }
    }

    async fn probe(self: Arc<Self>, engine: Arc<Engine>) {
        loop {
            let was_ready = engine.is_ready();
            engine.probe().await;
            if engine.is_ready() && !was_ready {
                self.welcome(&engine);
            }
            self.announce();
            sleep(Duration::from_millis(self.config.probe_ms)).await;
        }
    }

    /// An engine that comes (back) is believed to be as quick as the others are on average.
    fn welcome(&self, engine: &Engine) {
        let (known, now) = (self.known.load(), Instant::now());
        let others = known.iter().filter(|other| other.is_ready() && other.address != engine.address);
        let latencies: Vec<Duration> = others.map(|other| other.latency(now)).collect();
        if let Ok(count @ 1..) = u32::try_from(latencies.len()) {
            engine.assume_latency(latencies.iter().sum::<Duration>() / count);
        }
    }

    /// Tells readiness and metrics. Called after every probe, so a lost race mends itself.
    fn announce(&self) {
        let known = self.known.load();
        let ready = known.iter().filter(|engine| engine.is_ready()).count();
        metrics::engines_seen(known.len(), ready);
        match ready {
            0 => self.check.not_ready(describe_none_ready(known.len())),
            _ => self.check.ready(),
        }
    }
}

/// Why another engine is to be tried.
struct Failure {
    status: Status,
    /// No engine has seen the request.
    is_unsent: bool,
}

fn describe_none_ready(known: usize) -> String {
    match known {
        0 => "no engine is known: none of engines.urls could be resolved".to_owned(),
        1 => "the only known engine is not ready".to_owned(),
        _ => format!("none of the {known} known engines is ready"),
    }
}
