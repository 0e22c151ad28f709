//! Settles claims: closes and hands over what is to be closed, and gives back the rest.

use std::{sync::Arc, time::Duration};

use otlp_codec::Structure;
use state_core::{Claim, Error, Finish, Finished, Release, Result, StateManager};
use tokio::task::yield_now;
use tracing::warn;

use super::{finish, verdict::Verdict};
use crate::{link::Linker, metrics, watch::Watchers};

/// So many are decided on before the requests that have come meanwhile get their turn.
const JUDGED_IN_A_ROW: usize = 64;

/// Settles claims.
pub(super) struct Settler {
    pub(super) store: Arc<dyn StateManager>,
    /// Where they are handed over; `None` where nobody is to get them.
    pub(super) delivery: Option<delivery::Handle>,
    /// What links traces to those that led to them; `None` where they are not linked.
    pub(super) linker: Option<Linker>,
    /// Who is told of them.
    pub(super) watchers: Watchers,
}

/// What became of claims.
pub(super) struct Settled {
    /// When to look again at each that was given back.
    pub(super) look_after: Vec<Duration>,
    /// What the store said.
    pub(super) answer: Result<()>,
}

impl Settled {
    /// Nothing was claimed.
    pub(super) fn failed(error: Error) -> Self {
        Self { look_after: Vec::new(), answer: Err(error) }
    }
}

impl Settler {
    /// Closes or gives back, as each is judged.
    pub(super) async fn settle(
        &self,
        claims: Vec<Claim>,
        judge: impl Fn(&Claim, &Structure) -> Verdict,
    ) -> Settled {
        let (mut closing, mut releases) = (Vec::new(), Vec::new());
        for (place, claim) in claims.into_iter().enumerate() {
            if place % JUDGED_IN_A_ROW == JUDGED_IN_A_ROW - 1 {
                yield_now().await;
            }
            match judge(&claim, &structure(&claim)) {
                Verdict::Close(close) => closing.push((claim, close)),
                Verdict::Wait(look_after) => releases.push(Release { ticket: claim.ticket, look_after }),
            }
        }
        if let Some(linker) = &self.linker {
            linker.link(closing.iter_mut().map(|(claim, _)| claim)).await;
        }
        let offer = self.delivery.as_ref().map(delivery::Handle::offer);
        let outbox = offer.as_ref().map(delivery::Offer::outbox);
        let finishes: Vec<Finish> =
            closing.iter().map(|(claim, close)| Finish { outbox, ..claim.finish(close.note()) }).collect();
        let look_after = releases.iter().map(|release| release.look_after).collect();
        let finish = finish::finish(finishes, |finishes| self.store.finish(finishes));
        let (finished, released) = tokio::join!(finish, self.store.release(releases));
        let finished = match finished {
            Ok(finished) => finished,
            Err(error) => return Settled { look_after, answer: Err(error) },
        };
        for ((claim, close), finished) in closing.iter().zip(finished) {
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
        Settled { look_after, answer: released }
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
