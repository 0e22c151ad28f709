//! The outbox as delivery uses it, and the task that takes from it what nobody delivers.

use std::{sync::Arc, time::Duration};

use rand::Rng as _;
use state_core::{Event, EventId, PutBack, Result, StateManager};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{delivery::Shared, metric, outgoing::Outgoing};

/// How often an engine looks into the outbox while there is something in it.
const TICK: Duration = Duration::from_secs(1);
/// How often in the end when nothing is found, each pause twice as long as the one before: ten engines
/// keep an idle Redis busy for less than a hundredth of a core.
const IDLE_TICK: Duration = Duration::from_secs(8);
/// Most correlations of one look.
const CLAIMED_MAX: usize = 128;
/// So many events of one look mean that there are more, and the next one follows at once.
const MANY: usize = CLAIMED_MAX / 4;
/// How soon it is looked again when there are more and no room for them.
const ROOM_TICK: Duration = Duration::from_millis(50);
/// Most looks in a row that find only events for endpoints that are away: they are read in vain.
const VAIN_LOOKS_MAX: usize = 8;

/// What is needed of a store.
pub(crate) trait Outbox: Clone + Send + Sync + 'static {
    fn claim(&self, max: usize, lease: Duration) -> impl Future<Output = Result<Vec<Event>>> + Send;

    fn put_back(&self, events: Vec<PutBack>) -> impl Future<Output = Result<()>> + Send;

    fn remove(&self, events: &[EventId]) -> impl Future<Output = Result<()>> + Send;
}

impl Outbox for Arc<dyn StateManager> {
    async fn claim(&self, max: usize, lease: Duration) -> Result<Vec<Event>> {
        self.claim_events(max, lease).await
    }

    async fn put_back(&self, events: Vec<PutBack>) -> Result<()> {
        self.put_back_events(events).await
    }

    async fn remove(&self, events: &[EventId]) -> Result<()> {
        self.remove_events(events).await.map(drop)
    }
}

/// Delivers what is in the outbox until it is to drain.
pub(crate) async fn pull(outbox: impl Outbox, shared: Arc<Shared>, draining: CancellationToken) {
    let mut tick = TICK;
    loop {
        // Engines that started together do not look together for ever.
        let pause = tick.mul_f64(rand::rng().random_range(0.8..1.2));
        tokio::select! {
            () = draining.cancelled() => return,
            () = sleep(pause) => {}
        }
        if !shared.has_room() {
            continue;
        }
        tick = (tick * 2).clamp(TICK, IDLE_TICK);
        let mut vain = 0;
        while vain < VAIN_LOOKS_MAX && !draining.is_cancelled() {
            match look(&outbox, &shared).await {
                Ok(Look { claimed: 0, .. }) => break,
                Ok(Look { claimed, is_any_on_its_way }) => {
                    tick = TICK;
                    if claimed < MANY {
                        break;
                    }
                    vain = if is_any_on_its_way { 0 } else { vain + 1 };
                }
                Err(error) => {
                    // The readiness check tells of a store that does not answer.
                    debug!(error = &error as &dyn std::error::Error, "reading the outbox was put off");
                    break;
                }
            }
            if !shared.has_room() {
                tick = ROOM_TICK;
                break;
            }
        }
    }
}

struct Look {
    claimed: usize,
    is_any_on_its_way: bool,
}

async fn look(outbox: &impl Outbox, shared: &Shared) -> Result<Look> {
    let lanes = shared.lanes.get();
    let begin_by = lanes.begin_by(Instant::now());
    let events = outbox.claim(CLAIMED_MAX, lanes.hold).await?;
    let mut look = Look { claimed: events.len(), is_any_on_its_way: false };
    metric::claimed(look.claimed);
    for event in events {
        let place = Some(shared.places.wait().await);
        look.is_any_on_its_way |= shared.launch(Outgoing::of_event(event), &lanes, begin_by, place);
    }
    Ok(look)
}
