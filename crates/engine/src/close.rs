//! Closes correlations that are whole, idle, old or full, and hands them over for delivery. All engines of a
//! state share the work.

mod agenda;
mod finish;
mod verdict;

use std::{sync::Arc, time::Duration};

use otlp_codec::Structure;
use rand::Rng as _;
use state_core::{Claim, Finish, Finished, Release, StateManager};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{activity::Activity, link::Linker, metrics, watch::Watchers};
use agenda::Agenda;
use verdict::Verdict;
pub(crate) use verdict::{Cause, Close, Rules};

/// How often an engine looks for what is due that has taken something in lately. A close is later by half
/// of it on average.
const TICK: Duration = Duration::from_millis(300);
/// How often any other looks, for those whose engine is gone: ten engines keep an idle Redis busy for less
/// than a hundredth of a core.
const IDLE_TICK: Duration = Duration::from_secs(5);
/// Most correlations of one look.
const CLAIMED_MAX: usize = 512;
/// So many in one look mean that there are more. Far fewer than are taken at most: some are put back, or the
/// bytes of a look are bounded.
const MUCH: usize = CLAIMED_MAX / 4;
/// How long a claim is this engine's. Far longer than what is done with it, and short enough for those
/// of an engine that dies.
const LEASE: Duration = Duration::from_secs(10);
/// After an outage of the store, nothing is called idle for so long: clients send again first.
const CALM: Duration = Duration::from_secs(10);

/// Closes what is due.
pub(crate) struct Closer {
    store: Arc<dyn StateManager>,
    rules: Rules,
    /// Where they are handed over; `None` where nobody is to get them.
    delivery: Option<delivery::Handle>,
    /// What links traces to those that led to them; `None` where they are not linked.
    linker: Option<Linker>,
    /// Who is told of them.
    watchers: Watchers,
    /// What this engine does besides.
    activity: Activity,
    /// When to look at what it has put back.
    agenda: Agenda,
    /// From when on it counts that nothing has arrived.
    calm_from: Instant,
}

impl Closer {
    pub(crate) fn new(
        store: Arc<dyn StateManager>,
        rules: Rules,
        delivery: Option<delivery::Handle>,
        linker: Option<Linker>,
        watchers: Watchers,
        activity: Activity,
    ) -> Self {
        Self {
            store,
            rules,
            delivery,
            linker,
            watchers,
            activity,
            agenda: Agenda::new(),
            calm_from: Instant::now(),
        }
    }

    /// Closes until it is stopped; what it has begun by then is finished and handed over.
    pub(crate) async fn run(mut self, stopped: CancellationToken) -> Self {
        loop {
            let is_active = self.activity.is_within(self.rules.grace + CALM) | self.close_due(&stopped).await;
            // Engines that started together do not look together for ever.
            let tick = if is_active { TICK } else { IDLE_TICK };
            let pause = tick.mul_f64(rand::rng().random_range(0.8..1.2));
            let pause = self.agenda.next().map_or(pause, |next| next.min(pause));
            tokio::select! {
                () = stopped.cancelled() => return self,
                () = sleep(pause) => {}
                // Its grace may be shorter than the pause.
                () = self.activity.arrival(), if !is_active => {}
            }
        }
    }

    /// Closes everything, due or not: for a state that is about to end.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn close_all(&mut self) -> state_core::Result<()> {
        loop {
            let claims = self.store.claim_active(CLAIMED_MAX, LEASE).await?;
            if claims.is_empty() {
                return Ok(());
            }
            self.settle(claims, |claim, structure| Verdict::Close(verdict::last(claim, structure))).await?;
        }
    }

    /// Takes what is due, decides, and closes or gives back, until there is little left or it is stopped;
    /// answers whether there was anything. While there is much, the next are taken as these are closed: each
    /// step waits for the store.
    async fn close_due(&mut self, stopped: &CancellationToken) -> bool {
        let store = Arc::clone(&self.store);
        let mut claims = self.noted(store.claim_due(CLAIMED_MAX, LEASE).await).unwrap_or_default();
        let is_any = !claims.is_empty();
        while !claims.is_empty() {
            let is_much = claims.len() >= MUCH && !stopped.is_cancelled();
            let (rules, unrest) = (self.rules, self.calm_from.saturating_duration_since(Instant::now()));
            let judge = |claim: &Claim, structure: &_| verdict::judge(claim, structure, &rules, unrest);
            let next =
                async { if is_much { store.claim_due(CLAIMED_MAX, LEASE).await } else { Ok(Vec::new()) } };
            let (settled, next) = tokio::join!(self.settle(claims, judge), next);
            self.noted(settled);
            claims = self.noted(next).unwrap_or_default();
        }
        is_any
    }

    /// Notes if the store does not answer.
    fn noted<T>(&mut self, answer: state_core::Result<T>) -> Option<T> {
        answer
            .inspect_err(|error| {
                // The readiness check tells of a store that does not answer.
                debug!(error = error as &dyn std::error::Error, "closing was put off");
                self.calm_from = Instant::now() + CALM.min(self.rules.window);
            })
            .ok()
    }

    /// Closes or gives back, as each is judged.
    async fn settle(
        &mut self,
        claims: Vec<Claim>,
        judge: impl Fn(&Claim, &Structure) -> Verdict,
    ) -> state_core::Result<()> {
        let (mut closing, mut releases) = (Vec::new(), Vec::new());
        for claim in claims {
            match judge(&claim, &structure(&claim)) {
                Verdict::Close(close) => closing.push((claim, close)),
                Verdict::Wait(look_after) => {
                    self.agenda.note(look_after);
                    releases.push(Release { ticket: claim.ticket, look_after });
                }
            }
        }
        if let Some(linker) = &self.linker {
            linker.link(closing.iter_mut().map(|(claim, _)| claim)).await;
        }
        let offer = self.delivery.as_ref().map(delivery::Handle::offer);
        let outbox = offer.as_ref().map(delivery::Offer::outbox);
        let finishes: Vec<Finish> =
            closing.iter().map(|(claim, close)| Finish { outbox, ..claim.finish(close.note()) }).collect();
        let finish = finish::finish(finishes, |finishes| self.store.finish(finishes));
        let (finished, released) = tokio::join!(finish, self.store.release(releases));
        for ((claim, close), finished) in closing.iter().zip(finished?) {
            match finished {
                Finished::Finished if claim.has_news() => {
                    metrics::closed(close.cause.as_str());
                    offer.iter().for_each(|offer| offer.hand_over(claim));
                    self.watchers.tell(claim, close);
                }
                Finished::Finished => metrics::closed("no_news"),
                Finished::Changed | Finished::Lost => {}
            }
        }
        released
    }
}

/// How the spans hang together. Malformed ids make a trace that is never whole: it is closed when it is idle.
fn structure(claim: &Claim) -> Structure {
    let payloads = claim.entry.spans.iter().map(|fragment| &fragment.payload()[..]);
    Structure::read(payloads).unwrap_or_else(|error| {
        let key = &claim.ticket.key;
        warn!(%key, error = &error as &dyn std::error::Error, "the structure of a trace cannot be read");
        Structure::default()
    })
}
