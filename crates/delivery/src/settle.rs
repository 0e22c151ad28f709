//! Notes in the store what came of events: those that all have are removed, others put back.

use std::time::Duration;

use chrono::Utc;
use rand::Rng as _;
use state_core::{EventId, PutBack};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    in_flight::Settled,
    lanes::{CurrentLanes, Lanes},
    metric,
    outbox::Outbox,
};

/// Most events that are taken from the queue at once.
const TAKEN_MAX: usize = 1024;
/// While the store does not answer.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Shortest time until somebody looks again at an event that was put back.
pub(crate) const LOOK_AFTER_MIN: Duration = Duration::from_secs(1);
/// Longest: so late at most is an endpoint that is back, for what it has missed.
const LOOK_AFTER_MAX: Duration = Duration::from_secs(60);
/// The part of its age after which an event is looked at again: many old ones must not be read all the
/// time, nor all at once.
const AGE_PART: u32 = 4;

/// Settles events.
pub(crate) struct Settler<O> {
    pub(crate) outbox: O,
    pub(crate) lanes: CurrentLanes,
    pub(crate) settled: mpsc::UnboundedReceiver<Settled>,
    /// From then on others are to have at once what is put back.
    pub(crate) draining: CancellationToken,
}

impl<O: Outbox> Settler<O> {
    /// Settles until it is to end, and then what is there.
    pub(crate) async fn run(mut self, end: CancellationToken) {
        let (mut pending, mut retry_at) = (Vec::new(), Instant::now());
        let (mut is_ending, mut is_over) = (false, false);
        while !is_over {
            tokio::select! {
                biased;
                taken = self.settled.recv_many(&mut pending, TAKEN_MAX) => is_over = taken == 0,
                () = sleep_until(retry_at), if !pending.is_empty() => {}
                () = end.cancelled(), if !is_ending => {
                    is_ending = true;
                    self.settled.close();
                    continue;
                }
            }
            if is_over || retry_at <= Instant::now() {
                pending = self.settle(pending).await;
                retry_at = Instant::now() + if pending.is_empty() { Duration::ZERO } else { RETRY_INTERVAL };
            }
        }
        self.give_up(&pending);
    }

    /// Tries once; answers what is to be tried again.
    async fn settle(&self, pending: Vec<Settled>) -> Vec<Settled> {
        let lanes = self.lanes.get();
        let (lacking, done): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|event| event.missing(&lanes) != 0);
        let ids: Vec<EventId> = done.iter().map(|event| event.id.clone()).collect();
        let removed = async { if ids.is_empty() { Ok(()) } else { self.outbox.remove(&ids).await } };
        let events: Vec<PutBack> = lacking.iter().map(|event| self.put_back(event, &lanes)).collect();
        let count = events.len();
        let put_back = async { if count == 0 { Ok(()) } else { self.outbox.put_back(events).await } };
        let (removed, put_back) = tokio::join!(removed, put_back);
        let mut left = Vec::new();
        if put_back.is_ok() {
            metric::put_back(count);
        }
        for (result, events) in [(removed, done), (put_back, lacking)] {
            if let Err(error) = result {
                debug!(error = &error as &dyn std::error::Error, "noting deliveries was put off");
                left.extend(events);
            }
        }
        // After that somebody else may have delivered the event once more.
        let (given_up, left): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|event| event.at.elapsed() >= lanes.hold);
        self.give_up(&given_up);
        left
    }

    fn give_up(&self, events: &[Settled]) {
        if !events.is_empty() {
            metric::unsettled(events.len());
            warn!(events = events.len(), "deliveries could not be noted in the state; they will be repeated");
        }
    }

    fn put_back(&self, event: &Settled, lanes: &Lanes) -> PutBack {
        let look_after = self.look_after(event, lanes);
        PutBack { event: event.id.clone(), delivered: event.gained.clone(), look_after }
    }

    fn look_after(&self, event: &Settled, lanes: &Lanes) -> Duration {
        if self.draining.is_cancelled() {
            return Duration::ZERO;
        }
        let age = (Utc::now() - event.closed).to_std().unwrap_or_default();
        let patience = (age / AGE_PART).clamp(LOOK_AFTER_MIN, LOOK_AFTER_MAX);
        let first_back = lanes.first_back(event.missing(lanes), Instant::now());
        patience.max(first_back).mul_f64(rand::rng().random_range(1.0..1.2))
    }
}
