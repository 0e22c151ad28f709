//! The engines behind the gateway: which there are, which are ready, and which of them are asked.

mod call;
mod choice;
mod circuit;
mod closes;
mod discovery;
mod engine;
mod latency;
mod pools;
mod rendezvous;
mod route;
mod signature;
mod tls;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use access::Caller;
use anyhow::Context as _;
use arc_swap::ArcSwap;
use futures::future::join_all;
use otlp_codec::SplitOptions;
use otlp_proto::STATE_ID;
use service_lifecycle::{Check, Files};
use tokio::time::Instant;
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use tower::retry::budget::{Budget, TpsBudget};

use crate::{EnginesConfig, metrics, status};
use engine::Engine;
use pools::Pools;
use route::Pool;
use signature::Signature;
use tls::Encryption;

pub(crate) use call::{Failure, Repeat};
pub(crate) use closes::{Closes, Told};
pub(crate) use engine::backend_name;
pub(crate) use route::{Among, Route};

/// Retries are counted over this time.
const BUDGET_TIME: Duration = Duration::from_secs(10);

/// All engines that `engines.urls` or `engines.pools` leads to. Holds no requests: there is no queue.
pub(crate) struct Engines {
    config: EnginesConfig,
    split_options: Arc<SplitOptions>,
    pools: Pools,
    /// Of all requests together, so that engines in trouble do not get a multiple of them.
    budget: TpsBudget,
    /// Replaced as a whole when an address comes or goes, or a weight changes.
    known: ArcSwap<Vec<Pool>>,
    /// Names of the pools that were said to have an engine for each trace.
    sticky: Mutex<HashSet<Arc<str>>>,
    /// Ready while at least one engine is.
    check: Check,
    signature: Signature,
    encryption: Encryption,
}

/// Who can be asked for which state.
struct States {
    /// The engines that know of a state, their own or their former one.
    by_id: BTreeMap<String, Vec<Arc<Engine>>>,
    /// What is answered for a state that an engine knows of and has never reached. It may be one of the others.
    unreached: Option<Status>,
}

/// One engine as this gateway sees it, for people.
pub(crate) struct Seen {
    pub(crate) url: String,
    pub(crate) pool: Arc<str>,
    pub(crate) ready: bool,
    /// `memory`, `redis`, `redis-cluster`, or `unknown`.
    pub(crate) state: &'static str,
}

impl Engines {
    /// Knows no engine until [`Engines::watch`] runs.
    ///
    /// # Errors
    /// A file that cannot be used: of TLS, or of pools.
    pub(crate) fn new(config: EnginesConfig, check: Check, files: &Files) -> anyhow::Result<Self> {
        let signature = Signature::new(&config.token)?;
        let encryption = Encryption::open(&config)?;
        let pools = Pools::open(&config, encryption.is_possible(), files).context("engines.pools")?;
        let split_options = Arc::new(config.split_options().context("engines.text_patterns")?);
        metrics::begin_at_zero();
        let budget =
            TpsBudget::new(BUDGET_TIME, config.retries_per_second, f32::from(config.retry_percent) / 100.0);
        let (known, sticky) = Default::default();
        Ok(Self { config, split_options, pools, budget, known, sticky, check, signature, encryption })
    }

    /// Every known engine, by pool and address.
    pub(crate) fn list(&self) -> Vec<Seen> {
        let seen = |engine: &Arc<Engine>| Seen {
            url: engine.url(),
            pool: Arc::clone(&engine.pool),
            ready: engine.is_ready(),
            state: engine.state().map_or("unknown", |state| state.backend),
        };
        self.known.load().iter().flat_map(|pool| &pool.engines).map(seen).collect()
    }

    /// How the engines split requests.
    pub(crate) fn split_options(&self) -> Arc<SplitOptions> {
        Arc::clone(&self.split_options)
    }

    /// The same as the engines that are ready say of themselves, in order of preference: one list where all
    /// of them agree.
    pub(crate) fn correlation_keys_told(&self) -> BTreeSet<Vec<String>> {
        let known = self.known.load();
        let engines = known.iter().flat_map(|pool| &pool.engines).filter(|engine| engine.is_ready());
        engines.filter_map(|engine| engine.state()).map(|state| state.correlation_keys.clone()).collect()
    }

    /// Where requests go now; engines that are `gone` get none.
    pub(crate) fn route(&self, gone: &[Among]) -> Route {
        Route::new(&self.known.load(), self.config.routing, gone)
    }

    /// Asks every state that an engine which is ready knows of, its own or its former one: one answer for each, at
    /// least one.
    pub(crate) async fn ask_each_state<Message, Answer, Attempt>(
        &self,
        caller: &Caller,
        deadline: Instant,
        repeat: Repeat,
        message: Message,
        attempt: impl Fn(Channel, Request<Message>) -> Attempt,
    ) -> Vec<Result<Answer, Status>>
    where
        Message: Clone,
        Attempt: Future<Output = Result<Response<Answer>, Status>>,
    {
        let States { by_id, unreached } = self.states();
        if by_id.is_empty() {
            return vec![Err(self.none_ready())];
        }
        let ask = async |(id, engines): (String, Vec<Arc<Engine>>)| {
            let among = Among { engines, is_any: true, pool: None };
            // An engine that knows two states would answer for both.
            let id = Some(id).filter(|id| !id.is_empty());
            let id = id.and_then(|id| MetadataValue::<Ascii>::try_from(id).ok());
            let attempt = |channel, mut request: Request<Message>| {
                if let Some(id) = id.clone() {
                    request.metadata_mut().insert(STATE_ID, id);
                }
                attempt(channel, request)
            };
            let asked = self.call(caller, &among, deadline, repeat, message.clone(), attempt);
            asked.await.map_err(|failure| failure.status)
        };
        let mut answers = join_all(by_id.into_iter().map(ask)).await;
        answers.extend(unreached.map(Err));
        answers
    }

    /// The states that engines which are ready know of.
    fn states(&self) -> States {
        let (mut by_id, mut unreached) = (BTreeMap::<String, Vec<Arc<Engine>>>::new(), None);
        for engine in self.known.load().iter().flat_map(|pool| &pool.engines) {
            let Some(state) = engine.state().filter(|_| engine.is_ready()) else { continue };
            by_id.entry(state.id.clone()).or_default().push(Arc::clone(engine));
            match state.former_id.as_deref() {
                None => {}
                Some("") => {
                    let message =
                        format!("engine {} has not reached its former state in Redis yet", engine.url());
                    unreached = Some(status::unavailable(message));
                }
                Some(id) => by_id.entry(id.to_owned()).or_default().push(Arc::clone(engine)),
            }
        }
        States { by_id, unreached }
    }

    /// Whether the budget allows one more attempt after `tried` engines.
    pub(crate) fn may_try_again(&self, tried: usize) -> bool {
        if tried >= self.config.max_attempts {
            return false;
        }
        let is_allowed = self.budget.withdraw();
        if !is_allowed {
            metrics::retry_budget_exhausted();
        }
        is_allowed
    }

    /// What a request is answered that no engine can be asked.
    pub(crate) fn none_ready(&self) -> Status {
        let known = self.known.load().iter().map(|pool| pool.engines.len()).sum();
        status::unavailable(describe_none_ready(known))
    }
}

fn describe_none_ready(known: usize) -> String {
    match known {
        0 => "no engine is known: none of the URLs of engines could be resolved".to_owned(),
        1 => "the only known engine is not ready".to_owned(),
        _ => format!("none of the {known} known engines is ready"),
    }
}
