//! Sends what comes in for a lane: whole events, in requests up to a size, one request at a time.

use std::{mem, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::Utc;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Lane, Share};
use crate::{
    client::{Answer, Transport},
    metric,
};

/// Least time between two lines about what an endpoint rejects.
const TOLD_INTERVAL: Duration = Duration::from_secs(10);

/// Sends for a lane.
pub(crate) struct Worker<T> {
    lane: Arc<Lane>,
    incoming: mpsc::UnboundedReceiver<Share>,
    transport: T,
    batch_bytes_max: usize,
    /// The event that did not fit into the request before.
    held: Option<Share>,
    told: Told,
}

/// Counts what was rejected between two lines of the log.
#[derive(Default)]
struct Told {
    at: Option<Instant>,
    items: u64,
}

impl<T: Transport> Worker<T> {
    pub(crate) fn new(
        lane: Arc<Lane>,
        incoming: mpsc::UnboundedReceiver<Share>,
        transport: T,
        batch_bytes_max: usize,
    ) -> Self {
        Self { lane, incoming, transport, batch_bytes_max, held: None, told: Told::default() }
    }

    /// Sends until it is to drain and has nothing left.
    pub(crate) async fn run(mut self, draining: CancellationToken) {
        while let Some(first) = self.next(&draining).await {
            let batch = self.fill(first);
            self.deliver(batch, &draining).await;
        }
    }

    /// The next event that may be sent. Those that may not are let go of.
    async fn next(&mut self, draining: &CancellationToken) -> Option<Share> {
        loop {
            let share = match self.held.take() {
                Some(share) => share,
                None => tokio::select! {
                    biased;
                    share = self.incoming.recv() => share?,
                    () = draining.cancelled() => return None,
                },
            };
            if self.may_send(&share) {
                return Some(share);
            }
        }
    }

    fn may_send(&self, share: &Share) -> bool {
        let now = Instant::now();
        self.lane.is_open(now) && now < share.event.begin_by
    }

    /// Adds what is there already and fits into one request.
    fn fill(&mut self, first: Share) -> Vec<Share> {
        let mut bytes = first.telemetry().bytes;
        let mut batch = vec![first];
        while let Ok(share) = self.incoming.try_recv() {
            if !self.may_send(&share) {
                continue;
            }
            bytes += share.telemetry().bytes;
            if bytes > self.batch_bytes_max {
                self.held = Some(share);
                break;
            }
            batch.push(share);
        }
        batch
    }

    async fn deliver(&mut self, batch: Vec<Share>, draining: &CancellationToken) {
        let mut left = vec![batch];
        while let Some(mut batch) = left.pop() {
            let payloads = batch.iter().flat_map(|share| &share.telemetry().payloads);
            let payloads: Vec<Bytes> = payloads.cloned().collect();
            match self.transport.send(payloads).await {
                Answer::Taken { rejected, message } => self.taken(&batch, rejected, &message),
                Answer::Refused { reason, is_too_large: true, .. } if batch.len() > 1 => {
                    // Its limit is lower than ours: less at once, and the one that is too large is refused alone.
                    self.lane.metrics.not_taken(reason);
                    let rest = batch.split_off(batch.len() / 2);
                    left.extend([rest, batch]);
                }
                Answer::Refused { reason, message, .. } => self.refused(&batch, reason, &message),
                Answer::Failed { reason, message, retry_after } => {
                    // What was not taken is let go of, and what is queued too, when its turn comes.
                    return self.failed(reason, &message, retry_after, draining.is_cancelled());
                }
            }
        }
    }

    fn taken(&mut self, batch: &[Share], rejected: u64, message: &str) {
        self.answered();
        let items: u64 = batch.iter().map(|share| share.telemetry().items).sum();
        let rejected = rejected.min(items);
        let Lane { metrics, bit, .. } = &*self.lane;
        metrics.delivered.events.increment(batch.len() as u64);
        metrics.delivered.items.increment(items - rejected);
        metrics.rejected.items.increment(rejected);
        let now = Utc::now();
        for Share { event, .. } in batch {
            event.gain(*bit);
            let lag = (now - event.outgoing.closed).to_std().unwrap_or_default();
            metrics.lag.record(lag.as_secs_f64());
        }
        if rejected > 0 {
            self.tell_rejected(rejected, "partial_success", message);
        }
    }

    fn refused(&mut self, batch: &[Share], reason: &'static str, message: &str) {
        self.answered();
        let items = batch.iter().map(|share| share.telemetry().items).sum();
        let Lane { metrics, bit, .. } = &*self.lane;
        metrics.not_taken(reason);
        metrics.rejected.events.increment(batch.len() as u64);
        metrics.rejected.items.increment(items);
        // It will never have it, so there is nothing left to do for it.
        batch.iter().for_each(|share| share.event.gain(*bit));
        self.tell_rejected(items, reason, message);
    }

    fn answered(&self) {
        let Lane { name, signal, health, metrics, .. } = &*self.lane;
        let failures = health.answered();
        metrics.up.set(1.0);
        if failures > 0 {
            info!(endpoint = name, signal = metric::label(*signal), failures, "an endpoint is back");
        }
    }

    fn failed(&self, reason: &'static str, message: &str, retry_after: Option<Duration>, is_ending: bool) {
        let Lane { name, signal, health, metrics, .. } = &*self.lane;
        let (failures, pause) = health.failed(retry_after, Instant::now());
        metrics.not_taken(reason);
        if !is_ending {
            // Of an endpoint that is gone, another lane may tell by now.
            metrics.up.set(0.0);
        }
        let (signal, pause_ms) = (metric::label(*signal), pause.as_millis());
        if failures == 1 {
            warn!(
                endpoint = name,
                signal,
                reason,
                detail = message,
                pause_ms,
                "an endpoint fails; the outbox keeps what it lacks"
            );
        } else {
            debug!(
                endpoint = name,
                signal,
                reason,
                detail = message,
                failures,
                pause_ms,
                "an endpoint fails again"
            );
        }
    }

    fn tell_rejected(&mut self, items: u64, reason: &'static str, message: &str) {
        if let Some(items) = self.told.due(items, Instant::now()) {
            let Lane { name, signal, .. } = &*self.lane;
            warn!(
                endpoint = name,
                signal = metric::label(*signal),
                reason,
                detail = message,
                items,
                "an endpoint will never take what it was sent; this is the latest of it"
            );
        }
    }
}

impl Told {
    /// How many items a line would stand for, these included, if one is due.
    fn due(&mut self, items: u64, now: Instant) -> Option<u64> {
        self.items += items;
        if self.at.is_some_and(|at| now < at + TOLD_INTERVAL) {
            return None;
        }
        self.at = Some(now);
        Some(mem::take(&mut self.items))
    }
}
