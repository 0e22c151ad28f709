//! Puts the parts together: lanes with their workers, and for each store the task that reads its outbox and the one
//! that settles.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use service_lifecycle::Files;
use state_core::{Claim, Signal, StateManager};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    DeliveryConfig,
    client::{Client, Transport},
    endpoint::{self, Endpoint, EndpointError},
    in_flight::{InFlight, LaneSet, Place, Places, Settled},
    lanes::{CurrentLanes, Lanes},
    metric,
    outbox::{self, Outbox},
    outgoing::Outgoing,
    roster::{Roster, Source},
    settle::{LOOK_AFTER_MIN, Settler},
};

/// At the end, for noting in the store what has come of events.
const SETTLE_TIME: Duration = Duration::from_secs(3);

/// Delivers closed correlations. Ends with its value; [`drain`](Self::drain) ends it in good order.
pub struct Delivery {
    lanes: CurrentLanes,
    places: Places,
    draining: CancellationToken,
    /// When what is being sent is let go of.
    time_is_up: CancellationToken,
    /// The workers with their roster, and those that read an outbox.
    sending: JoinSet<()>,
    settling: JoinSet<()>,
    /// When there is nothing more to settle.
    settled: CancellationToken,
}

/// Where closed correlations of one store are handed over ([`offer`](Self::offer)). Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// Whether events are delivered from memory, as long as nobody else looks at them.
pub struct Offer<'a> {
    shared: &'a Shared,
    lanes: Arc<Lanes>,
    outbox: Duration,
    /// Why events are left to the outbox, if they are.
    left: Option<&'static str>,
    begin_by: Instant,
}

/// What everybody who brings events of one store needs.
pub(crate) struct Shared {
    pub(crate) lanes: CurrentLanes,
    pub(crate) places: Places,
    settled: mpsc::UnboundedSender<Settled>,
}

impl Delivery {
    /// Follows the endpoints, for what stores [bring](Self::of_store); `None` where nothing is to be delivered.
    /// Connections are made when they are needed. A file of endpoints is followed: what is added, gone or
    /// changed in it counts from then on.
    ///
    /// # Errors
    /// A file of endpoints, or one for TLS, that cannot be used.
    pub fn start(config: &DeliveryConfig, files: &Files) -> Result<Option<Self>, EndpointError> {
        let source = endpoint::open(config, files)?;
        source.map(|source| Self::assemble(source, Client::new)).transpose()
    }

    fn assemble<T: Transport>(
        source: Source,
        connect: impl Fn(&Endpoint, Signal) -> Result<T, EndpointError> + Send + 'static,
    ) -> Result<Self, EndpointError> {
        let (lanes, draining) = (CurrentLanes::default(), CancellationToken::new());
        let roster = Roster::open(source, connect, lanes.clone(), draining.clone())?;
        let (mut sending, time_is_up) = (JoinSet::new(), CancellationToken::new());
        sending.spawn(roster.run(time_is_up.clone()));
        let (settling, settled) = (JoinSet::new(), CancellationToken::new());
        Ok(Self { lanes, places: Places::new(), draining, time_is_up, sending, settling, settled })
    }

    /// Delivers what is in the outbox of a store; answers where correlations are handed over that are closed
    /// there. Several stores share the endpoints and the room for what is in flight.
    pub fn of_store(&mut self, store: Arc<dyn StateManager>) -> Handle {
        self.of_outbox(store)
    }

    fn of_outbox(&mut self, outbox: impl Outbox) -> Handle {
        let (settled, settling) = mpsc::unbounded_channel();
        let (lanes, places) = (self.lanes.clone(), self.places.clone());
        let shared = Arc::new(Shared { lanes: lanes.clone(), places, settled });
        self.sending.spawn(outbox::pull(outbox.clone(), Arc::clone(&shared), self.draining.clone()));
        let settler = Settler { outbox, lanes, settled: settling, draining: self.draining.clone() };
        self.settling.spawn(settler.run(self.settled.clone()));
        Handle { shared }
    }

    /// Sends what was handed over, as far as that is possible by `deadline`; leaves the rest to the
    /// outbox, at once to anybody. Takes a few seconds more when the store does not answer.
    ///
    /// What is handed over after it has begun is left to the outbox.
    pub async fn drain(mut self, deadline: Instant) {
        self.draining.cancel();
        if timeout_at(deadline, async { while self.sending.join_next().await.is_some() {} }).await.is_err() {
            warn!("endpoints did not take everything in time; the outbox keeps it");
            self.time_is_up.cancel();
            // What they held must have been let go of before settling ends.
            let ended = timeout(SETTLE_TIME, async { while self.sending.join_next().await.is_some() {} });
            if ended.await.is_err() {
                self.sending.shutdown().await;
            }
        }
        self.settled.cancel();
        let settling = async { while self.settling.join_next().await.is_some() {} };
        if timeout(SETTLE_TIME, settling).await.is_err() {
            warn!("the state did not answer in time; what was delivered last may be delivered again");
        }
    }
}

impl Handle {
    /// What is done with events of correlations that are closed now.
    pub fn offer(&self) -> Offer<'_> {
        let (shared, now) = (&*self.shared, Instant::now());
        let lanes = shared.lanes.get();
        let (outbox, left) = if lanes.has_room(now) && shared.places.are_there() {
            (lanes.hold, None)
        } else {
            let first_back = lanes.first_back(LaneSet::MAX, now);
            let reason = if first_back.is_zero() { "full" } else { "away" };
            (first_back.max(LOOK_AFTER_MIN), Some(reason))
        };
        let begin_by = lanes.begin_by(now);
        Offer { shared, lanes, outbox, left, begin_by }
    }
}

impl Offer<'_> {
    /// How long others are to leave the event alone: [`Finish::outbox`](state_core::Finish::outbox).
    pub fn outbox(&self) -> Duration {
        self.outbox
    }

    /// Delivers a correlation from memory that was closed with an event just now, unless it is left to
    /// the outbox.
    pub fn hand_over(&self, claim: &Claim) {
        if let Some(reason) = self.left {
            return metric::left(reason);
        }
        let (outgoing, place) = (Outgoing::of_claim(claim, Utc::now()), self.shared.places.take());
        if !self.shared.launch(outgoing, &self.lanes, self.begin_by, place) {
            // The others of this offer have taken the room: it is put back.
            metric::left("full");
        }
    }
}

impl Shared {
    /// Whether there is a lane that takes more.
    pub(crate) fn has_room(&self) -> bool {
        self.lanes.get().has_room(Instant::now())
    }

    /// Gives an event to all lanes that lack it and have room; answers whether there was one, or none
    /// lacks it. It is settled when all are done with it. Without a place nobody gets it.
    pub(crate) fn launch(
        &self,
        outgoing: Outgoing,
        lanes: &Arc<Lanes>,
        begin_by: Instant,
        place: Option<Place>,
    ) -> bool {
        let (now, has_place) = (Instant::now(), place.is_some());
        let wants = |signal| outgoing.telemetry(signal).items > 0;
        let missing = lanes.lacking(wants, |receiver| outgoing.had.contains(receiver));
        let event = InFlight::new(outgoing, begin_by, Arc::clone(lanes), self.settled.clone(), place);
        let event = Arc::new(event);
        let open = lanes.of(missing).filter(|lane| has_place && lane.has_room(now));
        open.map(|lane| lane.push(&event)).count() > 0 || missing == 0
    }
}

#[cfg(test)]
mod tests;
