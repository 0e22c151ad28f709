//! Closes correlations that are whole, idle, old or full, and hands them over for delivery. All engines of a
//! state share the work.

mod agenda;
mod finish;
mod pace;
mod settle;
mod verdict;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use rand::Rng as _;
use state_core::{Claim, StateManager};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{activity::Activity, link::Linker, watch::Watchers};
use agenda::Agenda;
use pace::Pace;
use settle::{Settled, Settler};
use verdict::Verdict;
pub(crate) use verdict::{Cause, Close, Rules};

/// How often an engine looks that has found much: what is due is closed evenly rather than all at once, when
/// requests would wait.
const BUSY_TICK: Duration = Duration::from_millis(50);
/// How often one looks that has not taken anything in lately, for those whose engine is gone: ten engines keep
/// an idle Redis busy for less than a hundredth of a core.
const IDLE_TICK: Duration = Duration::from_secs(5);
/// Most correlations of one round. A round looks into every bucket, which is dear for few; larger ones keep the
/// store from what clients wait for.
const CLAIMED_MAX: usize = 512;
/// So many in one round mean that there are more. Far fewer than are taken at most: some are put back, or the
/// bytes of a round are bounded.
const MUCH: usize = CLAIMED_MAX / 4;
/// Rounds at once while there is much: each waits for five answers of the store in a row, which come late when
/// much is appended.
const ROUNDS_MAX: usize = 3;
/// How long a claim is this engine's. Far longer than what is done with it, and short enough for those
/// of an engine that dies.
const LEASE: Duration = Duration::from_secs(10);
/// After an outage of the store, nothing is called idle for so long: clients send again first.
const CALM: Duration = Duration::from_secs(10);

/// Closes what is due.
pub(crate) struct Closer {
    store: Arc<dyn StateManager>,
    rules: Rules,
    settler: Settler,
    /// What this engine does besides.
    activity: Activity,
    /// When to look at what it has put back.
    agenda: Agenda,
    /// How often it looks while it takes something in.
    pace: Pace,
    /// When it looked last.
    looked: Instant,
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
        let settler = Settler { store: Arc::clone(&store), delivery, linker, watchers };
        Self {
            store,
            rules,
            settler,
            activity,
            agenda: Agenda::new(),
            pace: Pace::new(),
            looked: Instant::now(),
            calm_from: Instant::now(),
        }
    }

    /// Closes until it is stopped; what it has begun by then is finished and handed over.
    pub(crate) async fn run(mut self, stopped: CancellationToken) -> Self {
        loop {
            let claimed = self.close_due(&stopped).await;
            let is_active = claimed > 0 || self.activity.is_within(self.rules.grace + CALM);
            let tick = match claimed {
                MUCH.. => BUSY_TICK,
                _ if is_active => self.pace.tick(),
                _ => IDLE_TICK,
            };
            // Engines that started together do not look together for ever.
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
            let judge = |claim: &Claim, structure: &_| Verdict::Close(verdict::last(claim, structure));
            self.settler.settle(claims, judge).await.answer?;
        }
    }

    /// Takes what is due, decides, and closes or gives back, until there is little left or it is stopped;
    /// answers how many the largest round has taken.
    async fn close_due(&mut self, stopped: &CancellationToken) -> usize {
        let (store, settler, rules) = (&self.store, &self.settler, &self.rules);
        let round = |unrest: Duration| async move {
            let claims = store.claim_due(CLAIMED_MAX, LEASE).await?;
            let claimed = claims.len();
            let late: Vec<_> = claims.iter().map(|claim| claim.quiet.saturating_sub(rules.grace)).collect();
            let judge = |claim: &Claim, structure: &_| verdict::judge(claim, structure, rules, unrest);
            Ok((claimed, late, settler.settle(claims, judge).await))
        };
        let elapsed = self.looked.elapsed();
        self.looked = Instant::now();
        let mut rounds = FuturesUnordered::new();
        rounds.push(round(unrest(self.calm_from)));
        let mut claimed_most = 0;
        while let Some(answer) = rounds.next().await {
            let (claimed, late, settled) =
                answer.unwrap_or_else(|error| (0, Vec::new(), Settled::failed(error)));
            if claimed_most == 0 {
                // Later rounds find what the first one has left.
                self.pace.found(elapsed, late.into_iter());
            }
            claimed_most = claimed_most.max(claimed);
            settled.look_after.into_iter().for_each(|after| self.agenda.note(after));
            if let Err(error) = settled.answer {
                // The readiness check tells of a store that does not answer.
                debug!(error = &error as &dyn std::error::Error, "closing was put off");
                self.calm_from = Instant::now() + CALM.min(rules.window);
            }
            while claimed >= MUCH && rounds.len() < ROUNDS_MAX && !stopped.is_cancelled() {
                rounds.push(round(unrest(self.calm_from)));
            }
        }
        claimed_most
    }
}

/// How long it still does not count that nothing has arrived.
fn unrest(calm_from: Instant) -> Duration {
    calm_from.saturating_duration_since(Instant::now())
}
