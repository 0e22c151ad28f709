//! The lanes that there are at one time. They change with the file of endpoints, and who has looked at
//! them before goes on with what there was.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use state_core::{Receiver, Signal};
use tokio::time::Instant;

use crate::{in_flight::LaneSet, lane::Lane};

/// How many requests that take their whole time an event is left to whoever closed or claimed it: one
/// that is being sent when it comes, its own, and one for noting that in the store.
const HOLD_REQUESTS: u32 = 3;

/// All lanes, each with a bit of its own.
#[derive(Default)]
pub(crate) struct Lanes {
    all: Vec<Arc<Lane>>,
    /// How long an event is left to whoever has it.
    pub(crate) hold: Duration,
}

/// The lanes that there are now. Cheap to clone; a clone sees the same.
#[derive(Clone, Default)]
pub(crate) struct CurrentLanes(Arc<Mutex<Arc<Lanes>>>);

impl CurrentLanes {
    pub(crate) fn get(&self) -> Arc<Lanes> {
        Arc::clone(&self.lock())
    }

    pub(crate) fn replace(&self, lanes: Lanes) {
        *self.lock() = Arc::new(lanes);
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Lanes>> {
        // A pointer is whole whatever happened while it was locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    /// `longest` is the longest time that a request may take.
    pub(crate) fn new(all: Vec<Arc<Lane>>, longest: Duration) -> Self {
        Self { all, hold: longest * HOLD_REQUESTS }
    }

    /// Those of a set.
    pub(crate) fn of(&self, set: LaneSet) -> impl Iterator<Item = &Arc<Lane>> {
        self.all.iter().filter(move |lane| set & lane.bit != 0)
    }

    /// Those that want one of these signals, and are not among those who have it.
    pub(crate) fn lacking(&self, wants: impl Fn(Signal) -> bool, has: impl Fn(&Receiver) -> bool) -> LaneSet {
        let lacking = self.all.iter().filter(|lane| wants(lane.signal) && !has(&lane.receiver));
        lacking.fold(0, |set, lane| set | lane.bit)
    }

    /// Whether there is a lane that takes more.
    pub(crate) fn has_room(&self, now: Instant) -> bool {
        self.all.iter().any(|lane| lane.has_room(now))
    }

    /// How long it takes until one of a set is not left alone any more.
    pub(crate) fn first_back(&self, set: LaneSet, now: Instant) -> Duration {
        self.of(set).map(|lane| lane.resume_in(now)).min().unwrap_or_default()
    }

    /// Until when sending may begin that must have ended when an event is anybody's again.
    pub(crate) fn begin_by(&self, held_from: Instant) -> Instant {
        held_from + self.hold - self.hold / HOLD_REQUESTS
    }
}
