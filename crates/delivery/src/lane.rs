//! One signal of one endpoint: what is on its way to it, and whether it takes anything now.

mod health;
mod worker;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use state_core::{Receiver, Signal};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    in_flight::{InFlight, LaneSet},
    metric::{self, LaneMetrics},
    outgoing::Telemetry,
};
use health::Health;
pub(crate) use worker::Worker;

/// Most bytes on their way to one lane: several requests, so that one is ready when another was
/// answered. What is beyond stays in the outbox.
const QUEUED_BYTES_MAX: usize = 32 << 20;
/// What an event takes beside its telemetry, estimated.
const EVENT_BYTES: usize = 512;

/// The side of a lane that everybody sees; its [`Worker`] sends.
pub(crate) struct Lane {
    /// Of the endpoint.
    pub(crate) name: String,
    pub(crate) signal: Signal,
    /// What stores know it by.
    pub(crate) receiver: Receiver,
    /// Itself in a set.
    pub(crate) bit: LaneSet,
    health: Health,
    metrics: LaneMetrics,
    queued: AtomicUsize,
    queue: mpsc::UnboundedSender<Share>,
}

/// An event on its way to a lane.
pub(crate) struct Share {
    event: Arc<InFlight>,
    lane: Arc<Lane>,
}

impl Lane {
    /// The lane at a place among all, and what comes in for it.
    pub(crate) fn new(
        endpoint: &str,
        signal: Signal,
        place: u32,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Share>) {
        // Its length is bounded by the bytes, of which an event has some in any case.
        let (queue, incoming) = mpsc::unbounded_channel();
        let lane = Self {
            name: endpoint.to_owned(),
            signal,
            receiver: Receiver::named(&format!("{endpoint}/{}", metric::label(signal))),
            bit: 1 << place,
            health: Health::default(),
            metrics: LaneMetrics::new(endpoint, signal),
            queued: AtomicUsize::new(0),
            queue,
        };
        (Arc::new(lane), incoming)
    }

    /// Whether it is not being left alone.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.health.resume_in(now).is_zero()
    }

    /// Whether it is not being left alone and there is room for more.
    pub(crate) fn has_room(&self, now: Instant) -> bool {
        self.queued.load(Ordering::Relaxed) < QUEUED_BYTES_MAX && self.is_open(now)
    }

    /// How long it is still left alone.
    pub(crate) fn resume_in(&self, now: Instant) -> std::time::Duration {
        self.health.resume_in(now)
    }

    /// Nobody misses it any more.
    pub(crate) fn retire(&self) {
        self.metrics.up.set(1.0);
    }

    /// Takes an event on its way.
    pub(crate) fn push(self: &Arc<Self>, event: &Arc<InFlight>) {
        let share = Share { event: Arc::clone(event), lane: Arc::clone(self) };
        self.queued.fetch_add(share.bytes(), Ordering::Relaxed);
        self.metrics.queued.increment(share.bytes() as f64);
        // After the end of its worker the event is let go of.
        let _ = self.queue.send(share);
    }
}

impl Share {
    fn telemetry(&self) -> &Telemetry {
        self.event.outgoing.telemetry(self.lane.signal)
    }

    fn bytes(&self) -> usize {
        EVENT_BYTES + self.telemetry().bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.lane.queued.fetch_sub(self.bytes(), Ordering::Relaxed);
        self.lane.metrics.queued.decrement(self.bytes() as f64);
    }
}
