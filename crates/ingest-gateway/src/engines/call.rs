//! One request, sent to one engine, and to others when that one does not take it.

use std::{future::Future, sync::Arc, time::Duration};

use access::Caller;
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};
use tonic::{Request, Response, Status, metadata::MetadataMap, transport::Channel};
use tower::retry::budget::Budget;
use tracing::debug;

use super::{
    Among, Engines,
    attempt::{Attempt, Ordinal},
    choice,
    engine::Engine,
    method::{Method, Repeat},
};
use crate::{metrics, status};

/// Why a request has no answer that counts.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the client is told.
    pub(crate) status: Status,
    /// The engine is gone, rather than having answered.
    pub(crate) is_gone: bool,
    /// No engine has seen the request.
    is_unsent: bool,
}

impl Failure {
    /// An engine's own answer, or this gateway's.
    fn answered(status: Status) -> Self {
        Self { status, is_gone: false, is_unsent: false }
    }
}

impl Engines {
    /// Calls one of the engines that are ready.
    ///
    /// Where any of them is as good as another, others are called when it cannot be reached or
    /// answers with an error that another one may not have, or when it takes long
    /// (`engines.hedge_ms`): then the first answer counts. Where there is one alone, it is given up
    /// only when it is no longer ready.
    ///
    /// It is asked in the name of `caller`. The message is cloned for each attempt, so it should be
    /// cheap to clone.
    ///
    /// # Errors
    /// The last answer of an engine; `UNAVAILABLE` when none could be asked,
    /// `DEADLINE_EXCEEDED` when none answered before `deadline`.
    pub(crate) async fn call<Message, Answer, Answering>(
        &self,
        caller: &Caller,
        among: &Among,
        deadline: Instant,
        method: Method,
        message: Message,
        call: impl Fn(Channel, Request<Message>) -> Answering,
    ) -> Result<Answer, Failure>
    where
        Message: Clone,
        Answering: Future<Output = Result<Response<Answer>, Status>>,
    {
        let mut metadata = MetadataMap::new();
        self.signature.sign(&mut metadata, caller).map_err(Failure::answered)?;
        let begin = |engine: Arc<Engine>, ordinal: Ordinal| {
            let mut request = Request::new(message.clone());
            request.metadata_mut().clone_from(&metadata);
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let metadata = request.metadata_mut();
            let attempt = Attempt::begin(&self.tracer, method.path, engine.address, ordinal, metadata);
            let answering = call(engine.channel(), request);
            async move {
                let _call = engine.begin();
                let answer = attempt.run(answering).await;
                (engine, answer)
            }
        };
        let Some(first) = choice::choose(&among.engines, &[], Instant::now()) else {
            return Err(Failure { status: self.none_ready(), is_gone: true, is_unsent: true });
        };
        self.budget.deposit();
        let patience = Duration::from_millis(self.config.hedge_ms);
        let mut tried = vec![Arc::clone(&first)];
        let alone = Ordinal { earlier: 0, is_hedge: false };
        let mut attempts = FuturesUnordered::from_iter([begin(Arc::clone(&first), alone)]);
        let mut look_again_at = Instant::now() + patience;
        loop {
            let may_look_again = method.repeat == Repeat::Safe && look_again_at < deadline;
            let failure = tokio::select! {
                Some((engine, answer)) = attempts.next() => {
                    let failure = match answer {
                        Ok(response) => {
                            metrics::attempt_ended("answered");
                            for _ in 0..attempts.len() {
                                metrics::attempt_ended("abandoned");
                            }
                            engine.succeeded();
                            return Ok(response.into_inner());
                        }
                        // Tonic keeps to the time of a request too, and one of the two notices first.
                        Err(answer) if status::is_timeout(&answer) => return Err(self.too_late(&tried)),
                        Err(answer) => self.judge(&engine, answer)?,
                    };
                    if !among.is_any || method.repeat == Repeat::Unsent && !failure.is_unsent {
                        return Err(failure);
                    }
                    Some(failure)
                }
                () = sleep_until(deadline) => return Err(self.too_late(&tried)),
                () = sleep_until(look_again_at), if may_look_again => {
                    if !among.is_any {
                        if !first.is_ready() {
                            return Err(self.given_up(&first));
                        }
                        look_again_at += patience;
                        continue;
                    }
                    look_again_at = deadline;
                    None
                }
            };
            match self.another(among, &tried) {
                Some(engine) => {
                    if failure.is_none() {
                        metrics::hedged();
                    }
                    let ordinal = Ordinal { earlier: tried.len(), is_hedge: failure.is_none() };
                    tried.push(Arc::clone(&engine));
                    attempts.push(begin(engine, ordinal));
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
    fn another(&self, among: &Among, tried: &[Arc<Engine>]) -> Option<Arc<Engine>> {
        let engine = choice::choose(&among.engines, tried, Instant::now())?;
        self.may_try_again(tried.len()).then_some(engine)
    }

    fn too_late(&self, tried: &[Arc<Engine>]) -> Failure {
        for engine in tried {
            metrics::attempt_ended("timeout");
            engine.failed();
        }
        let urls: Vec<String> = tried.iter().map(|engine| engine.url()).collect();
        let status = Status::deadline_exceeded(format!("engine {} did not answer in time", urls.join(", ")));
        Failure::answered(status)
    }

    fn given_up(&self, engine: &Engine) -> Failure {
        metrics::attempt_ended("timeout");
        engine.failed();
        let message = format!("engine {} does not answer and is not ready any more", engine.url());
        Failure { status: status::unavailable(message), is_gone: true, is_unsent: false }
    }

    /// Returns the failure with which another engine may be tried.
    ///
    /// # Errors
    /// The failure, when no other engine would answer differently.
    fn judge(&self, engine: &Engine, answer: Status) -> Result<Failure, Failure> {
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
            return Ok(Failure { status: status::unavailable(message), is_gone: true, is_unsent });
        }
        // What is out of range here is so everywhere.
        if status::is_retryable(&answer) && answer.code() != tonic::Code::OutOfRange {
            metrics::attempt_ended("retryable");
            engine.failed();
            debug!(engine = engine.url(), %answer, "an engine does not take a request now");
            return Ok(Failure::answered(answer));
        }
        metrics::attempt_ended("refused");
        engine.succeeded();
        Err(Failure::answered(answer))
    }
}
