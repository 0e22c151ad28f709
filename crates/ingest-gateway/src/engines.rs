//! The engines behind the gateway: which there are, which are ready, and calls to one of them.

mod choice;
mod discovery;
mod engine;
mod signature;
mod tls;

use std::{
    collections::HashMap, convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration,
};

use access::Caller;
use arc_swap::ArcSwap;
use service_lifecycle::Check;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout_at},
};
use tonic::{
    Request, Response, Status,
    transport::{Channel, ClientTlsConfig},
};
use tracing::{debug, info};

use crate::{EnginesConfig, metrics, status};
use discovery::Discovery;
use engine::Engine;
use signature::Signature;

/// All engines that `engines.urls` leads to. Holds no requests: there is no queue.
pub(crate) struct Engines {
    config: EnginesConfig,
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
        Ok(Self { config, known: ArcSwap::default(), check, signature, tls })
    }

    /// Every known engine with its URL, and whether it is ready; by address.
    pub(crate) fn list(&self) -> Vec<(String, bool)> {
        let known = self.known.load();
        known.iter().map(|engine| (engine.url(), engine.is_ready())).collect()
    }

    /// Calls one of the engines that are ready, and others when it cannot be reached or answers
    /// with an error that another one may not have.
    ///
    /// It is asked in the name of `caller`. The message is cloned for each attempt, so it should be cheap to clone.
    ///
    /// # Errors
    /// The last answer of an engine; `UNAVAILABLE` when none could be asked,
    /// `DEADLINE_EXCEEDED` when none answered before `deadline`.
    pub(crate) async fn call<Message, Answer, Attempt>(
        &self,
        caller: &Caller,
        deadline: Instant,
        message: Message,
        attempt: impl Fn(Channel, Request<Message>) -> Attempt,
    ) -> Result<Answer, Status>
    where
        Message: Clone,
        Attempt: Future<Output = Result<Response<Answer>, Status>>,
    {
        let mut tried: Vec<Arc<Engine>> = Vec::new();
        let mut failure = None;
        while tried.len() < self.config.max_attempts {
            let Some(engine) = choice::choose(&self.known.load(), &tried) else {
                break;
            };
            let _in_flight = engine.in_flight();
            let mut request = Request::new(message.clone());
            self.signature.sign(request.metadata_mut(), caller)?;
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let answered = timeout_at(deadline, attempt(engine.channel(), request)).await;
            let answer = match answered {
                Ok(Ok(response)) => {
                    metrics::attempt_ended("answered");
                    return Ok(response.into_inner());
                }
                // Tonic keeps to the time of a request too, and one of the two notices first.
                Ok(Err(answer)) if !status::is_timeout(&answer) => answer,
                Ok(Err(_)) | Err(_) => {
                    metrics::attempt_ended("timeout");
                    let message = format!("engine {} did not answer in time", engine.url());
                    return Err(Status::deadline_exceeded(message));
                }
            };
            failure = Some(self.judge(&engine, answer)?);
            tried.push(engine);
        }
        Err(failure.unwrap_or_else(|| self.none_ready()))
    }

    /// Returns the failure with which another engine is to be tried.
    ///
    /// # Errors
    /// The failure, when no other engine would answer differently.
    fn judge(&self, engine: &Engine, answer: Status) -> Result<Status, Status> {
        if status::is_without_answer(&answer) {
            metrics::attempt_ended("unreachable");
            let cause = status::root_cause(&answer);
            debug!(engine = engine.url(), cause, "an engine did not answer");
            // A stream that breaks may be the fault of one request; only a connection that cannot
            // be made says that the engine is gone.
            if status::is_unreachable(&answer) {
                engine.set_ready(false, &cause);
                self.announce();
            }
            let message = format!("engine {} did not answer: {cause}", engine.url());
            return Ok(status::unavailable(message));
        }
        // What is out of range here is so everywhere.
        if status::is_retryable(&answer) && answer.code() != tonic::Code::OutOfRange {
            metrics::attempt_ended("retryable");
            debug!(engine = engine.url(), %answer, "trying another engine");
            return Ok(answer);
        }
        metrics::attempt_ended("refused");
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
            engine.probe().await;
            self.announce();
            sleep(Duration::from_millis(self.config.probe_ms)).await;
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

fn describe_none_ready(known: usize) -> String {
    match known {
        0 => "no engine is known: none of engines.urls could be resolved".to_owned(),
        1 => "the only known engine is not ready".to_owned(),
        _ => format!("none of the {known} known engines is ready"),
    }
}
