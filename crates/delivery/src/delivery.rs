//! Puts the parts together: lanes with their workers, the task that reads the outbox, the one that settles.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use state_core::{Claim, Receiver, Signal, StateManager};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    DeliveryConfig,
    client::{Client, Transport},
    endpoint::{Endpoint, EndpointError},
    in_flight::{InFlight, LaneSet, Place, Places, Settled},
    lane::{Lane, Worker},
    metric,
    outbox::{self, Outbox},
    outgoing::Outgoing,
    settle::{LOOK_AFTER_MIN, Settler},
};

/// How many requests that take their whole time an event is left to whoever closed or claimed it: one
/// that is being sent when it comes, its own, and one for noting that in the store.
const HOLD_REQUESTS: u32 = 3;
/// At the end, for noting in the store what has come of events.
const SETTLE_TIME: Duration = Duration::from_secs(3);

/// Delivers closed correlations. Ends with its value; [`drain`](Self::drain) ends it in good order.
pub struct Delivery {
    shared: Arc<Shared>,
    draining: CancellationToken,
    /// The workers, and the one that reads the outbox.
    sending: JoinSet<()>,
    settling: JoinSet<()>,
    /// When there is nothing more to settle.
    settled: CancellationToken,
}

/// Where closed correlations are handed over ([`offer`](Self::offer)). Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// Whether events are delivered from memory, as long as nobody else looks at them.
pub struct Offer<'a> {
    shared: &'a Shared,
    outbox: Duration,
    /// Why events are left to the outbox, if they are.
    left: Option<&'static str>,
    begin_by: Instant,
}

/// What everybody who brings events needs.
pub(crate) struct Shared {
    lanes: Arc<[Arc<Lane>]>,
    /// How long an event is left to whoever has it.
    pub(crate) hold: Duration,
    pub(crate) places: Places,
    settled: mpsc::UnboundedSender<Settled>,
}

/// One signal of an endpoint, and how it is sent.
struct Way<T> {
    endpoint: String,
    signal: Signal,
    batch_bytes_max: usize,
    transport: T,
}

impl Delivery {
    /// Starts to deliver; `None` where nothing is to be delivered. Connections are made when they are
    /// needed.
    ///
    /// # Errors
    /// A file of endpoints, or one for TLS, that cannot be used.
    pub fn start(
        config: &DeliveryConfig,
        store: Arc<dyn StateManager>,
    ) -> Result<Option<Self>, EndpointError> {
        let endpoints = Endpoint::all(config)?;
        let Some(longest) = endpoints.iter().map(|endpoint| endpoint.timeout).max() else { return Ok(None) };
        let mut ways = Vec::new();
        for endpoint in &endpoints {
            info!(?endpoint, "closed correlations are delivered");
            for signal in endpoint.signals.iter().copied() {
                ways.push(Way {
                    endpoint: endpoint.name.clone(),
                    signal,
                    batch_bytes_max: endpoint.batch_bytes_max,
                    transport: Client::new(endpoint, signal)?,
                });
            }
        }
        Ok(Some(Self::assemble(store, ways, longest * HOLD_REQUESTS)))
    }

    fn assemble<T: Transport>(outbox: impl Outbox, ways: Vec<Way<T>>, hold: Duration) -> Self {
        let draining = CancellationToken::new();
        let (mut sending, mut lanes) = (JoinSet::new(), Vec::new());
        for (place, way) in ways.into_iter().enumerate() {
            let (lane, incoming) = Lane::new(&way.endpoint, way.signal, place);
            let worker = Worker::new(Arc::clone(&lane), incoming, way.transport, way.batch_bytes_max);
            sending.spawn(worker.run(draining.clone()));
            lanes.push(lane);
        }
        let lanes: Arc<[_]> = lanes.into();
        let (settled, settling) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { lanes: Arc::clone(&lanes), hold, places: Places::new(), settled });
        sending.spawn(outbox::pull(outbox.clone(), Arc::clone(&shared), draining.clone()));
        let settler =
            Settler { outbox, lanes, settled: settling, give_up_after: hold, draining: draining.clone() };
        let (mut settling, settled) = (JoinSet::new(), CancellationToken::new());
        settling.spawn(settler.run(settled.clone()));
        Self { shared, draining, sending, settling, settled }
    }

    /// Where closed correlations are handed over.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// Sends what was handed over, as far as that is possible by `deadline`; leaves the rest to the
    /// outbox, at once to anybody. Takes a few seconds more when the store does not answer.
    ///
    /// What is handed over after it has begun is left to the outbox.
    pub async fn drain(mut self, deadline: Instant) {
        self.draining.cancel();
        if timeout_at(deadline, async { while self.sending.join_next().await.is_some() {} }).await.is_err() {
            warn!("endpoints did not take everything in time; the outbox keeps it");
            self.sending.shutdown().await;
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
        let (outbox, left) = if shared.has_room() && shared.places.are_there() {
            (shared.hold, None)
        } else {
            let first_back = shared.lanes.iter().map(|lane| lane.resume_in(now)).min().unwrap_or_default();
            let reason = if first_back.is_zero() { "full" } else { "away" };
            (first_back.max(LOOK_AFTER_MIN), Some(reason))
        };
        Offer { shared, outbox, left, begin_by: shared.begin_by(now) }
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
        let place = self.shared.places.take();
        if !self.shared.launch(Outgoing::of_claim(claim, Utc::now()), self.begin_by, place) {
            // The others of this offer have taken the room: it is put back.
            metric::left("full");
        }
    }
}

impl Shared {
    /// Until when sending may begin that must have ended when an event is anybody's again.
    pub(crate) fn begin_by(&self, held_from: Instant) -> Instant {
        held_from + self.hold - self.hold / HOLD_REQUESTS
    }

    /// Whether there is a lane that takes more.
    pub(crate) fn has_room(&self) -> bool {
        let now = Instant::now();
        self.lanes.iter().any(|lane| lane.has_room(now))
    }

    /// Gives an event to all lanes that lack it and have room; answers whether there was one, or none
    /// lacks it. It is settled when all are done with it. Without a place nobody gets it.
    pub(crate) fn launch(&self, outgoing: Outgoing, begin_by: Instant, place: Option<Place>) -> bool {
        let (now, has_place) = (Instant::now(), place.is_some());
        let wanted = |lane: &&Arc<Lane>| outgoing.telemetry(lane.signal).items > 0;
        let set = |had: &dyn Fn(&Receiver) -> bool| -> LaneSet {
            let lanes = self.lanes.iter().filter(wanted).filter(|lane| had(&lane.receiver));
            lanes.map(|lane| lane.bit).fold(0, |set, bit| set | bit)
        };
        let (wanted, had) = (set(&|_| true), set(&|receiver| outgoing.had.contains(receiver)));
        let event = InFlight::new(outgoing, begin_by, (wanted, had), self.settled.clone(), place);
        let event = Arc::new(event);
        let missing = wanted & !had;
        let lacking = self.lanes.iter().filter(|lane| missing & lane.bit != 0 && has_place);
        lacking.filter(|lane| lane.has_room(now)).map(|lane| lane.push(&event)).count() > 0 || missing == 0
    }
}

#[cfg(test)]
mod tests;
