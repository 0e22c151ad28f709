//! An event while it is in memory: which lanes have it, and what becomes of it when none holds it any more.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use metrics::Gauge;
use state_core::{EventId, Receiver, Signal};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};

use crate::{lanes::Lanes, metric, outgoing::Outgoing};

/// Most events in memory that are being delivered or noted as delivered.
const IN_FLIGHT_EVENTS_MAX: usize = 16_384;

/// A set of lanes, each a bit by its place.
pub(crate) type LaneSet = u64;

/// An event that is being delivered. When the last lane lets go of it, for whatever reason, it is
/// settled.
pub(crate) struct InFlight {
    pub(crate) outgoing: Outgoing,
    /// Until when sending it may begin. After that, somebody else may be sending it.
    pub(crate) begin_by: Instant,
    /// Those that there were when it came.
    lanes: Arc<Lanes>,
    /// Lanes that have got it since.
    gained: AtomicU64,
    settled: mpsc::UnboundedSender<Settled>,
    place: Option<Place>,
}

/// What came of an event.
pub(crate) struct Settled {
    pub(crate) id: EventId,
    pub(crate) closed: DateTime<Utc>,
    /// Signals of which there is something in it.
    signals: Vec<Signal>,
    /// Who had it before.
    had: Vec<Receiver>,
    /// Who has got it.
    pub(crate) gained: Vec<Receiver>,
    /// When it came to that.
    pub(crate) at: Instant,
    /// Its place among the events in flight, which it keeps until the store knows.
    pub(crate) _place: Option<Place>,
}

/// Room for events in flight. Cheap to clone; clones share it.
#[derive(Clone)]
pub(crate) struct Places {
    left: Arc<Semaphore>,
    taken: Gauge,
}

/// Room for one; given back when it is dropped.
pub(crate) struct Place {
    taken: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(crate) fn new() -> Self {
        Self { left: Arc::new(Semaphore::new(IN_FLIGHT_EVENTS_MAX)), taken: metric::in_flight() }
    }

    /// Whether there is one now.
    pub(crate) fn are_there(&self) -> bool {
        self.left.available_permits() > 0
    }

    /// A place, if there is one now.
    pub(crate) fn take(&self) -> Option<Place> {
        Arc::clone(&self.left).try_acquire_owned().ok().map(|permit| self.place(permit))
    }

    /// Waits for a place.
    pub(crate) async fn wait(&self) -> Place {
        let permit = Arc::clone(&self.left).acquire_owned().await;
        self.place(permit.expect("nobody closes the semaphore"))
    }

    fn place(&self, permit: OwnedSemaphorePermit) -> Place {
        self.taken.increment(1.0);
        Place { taken: self.taken.clone(), _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.decrement(1.0);
    }
}

impl InFlight {
    pub(crate) fn new(
        outgoing: Outgoing,
        begin_by: Instant,
        lanes: Arc<Lanes>,
        settled: mpsc::UnboundedSender<Settled>,
        place: Option<Place>,
    ) -> Self {
        Self { outgoing, begin_by, lanes, gained: AtomicU64::new(0), settled, place }
    }

    /// Notes that a lane is done with it: it has it, or will never take it.
    pub(crate) fn gain(&self, lane: LaneSet) {
        self.gained.fetch_or(lane, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let gained = *self.gained.get_mut();
        let settled = Settled {
            id: self.outgoing.id.clone(),
            closed: self.outgoing.closed,
            signals: self.outgoing.signals().collect(),
            had: mem::take(&mut self.outgoing.had),
            gained: self.lanes.of(gained).map(|lane| lane.receiver).collect(),
            at: Instant::now(),
            _place: self.place.take(),
        };
        // Where nobody notes it any more, the outbox gives it away again.
        let _ = self.settled.send(settled);
    }
}

impl Settled {
    /// Which lanes lack it. There may be others than when it came: it waits for those that are new, and
    /// for none that is gone.
    pub(crate) fn missing(&self, lanes: &Lanes) -> LaneSet {
        let has = |receiver: &Receiver| self.had.contains(receiver) || self.gained.contains(receiver);
        lanes.lacking(|signal| self.signals.contains(&signal), has)
    }
}
