//! Appends fragments wherever their buckets are, as often as it takes to have all confirmed.

use std::{collections::HashMap, sync::Arc};

use fred::error::Error as RedisError;
use futures::future::join_all;
use state_core::{Outcome, Result};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, sleep, timeout_at},
};

use crate::{
    commit::{self, Commit, Entry},
    config::Address,
    error::{self, Fault},
    metric,
    node::Node,
    router::{RETRY_DELAY, Router},
};

/// Where each entry stands.
type Outcomes = Vec<std::result::Result<Outcome, RedisError>>;

/// Sends fragments to their primaries, gathered with those of other requests; what fails in a way
/// that may pass goes out again, as a whole, until the deadline.
///
/// # Errors
/// At least one fragment was not confirmed.
pub(crate) async fn append(
    router: &Router,
    config: &commit::Config,
    attempted: &str,
    entries: Arc<[Entry]>,
    in_flight: &InFlight,
    deadline: Instant,
) -> Result<Vec<Outcome>> {
    let permit = in_flight.take(&entries).map_err(|reason| error::unavailable(attempted, reason))?;
    let mut outcomes: Outcomes = vec![Err(commit::lost()); entries.len()];
    let mut pending: Vec<usize> = (0..entries.len()).collect();
    loop {
        gathered(router, config, &entries, &pending, &mut outcomes, &permit, deadline).await;
        follow(router, config, attempted, &entries, &mut outcomes, deadline).await?;
        pending.retain(|place| outcomes[*place].is_err());
        let errors = pending.iter().filter_map(|place| Some((*place, outcomes[*place].as_ref().err()?)));
        let Some((place, error)) = errors.max_by_key(|(_, error)| urgency(error)) else { break };
        let (slot, error) = (config.keys.of(entries[place].bucket).slot, error.clone());
        router.recover(attempted, slot, &error, deadline).await?;
        if Instant::now() + RETRY_DELAY >= deadline {
            return Err(router.error(attempted, slot, &error));
        }
        sleep(RETRY_DELAY).await;
    }
    outcomes
        .into_iter()
        .map(|outcome| outcome.map_err(|error| error::redis(attempted, None, &error)))
        .collect()
}

/// Bounds what is on its way to Redis. Beyond it appends are refused at once: a queue that is longer
/// than clients wait is work for nobody.
#[derive(Debug)]
pub(crate) struct InFlight {
    bytes_max: usize,
    /// A permit is a KiB.
    permits: Arc<Semaphore>,
}

impl InFlight {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, permits: Arc::new(Semaphore::new(bytes_max.div_ceil(1024))) }
    }

    /// Tells how much is taken.
    pub(crate) fn publish(&self) {
        let left = self.permits.available_permits() * 1024;
        metric::in_flight(self.bytes_max.saturating_sub(left));
    }

    /// Takes the share of these entries. One that is larger than all there is takes all.
    fn take(&self, entries: &[Entry]) -> std::result::Result<Arc<OwnedSemaphorePermit>, String> {
        let bytes: usize = entries.iter().map(Entry::bytes).sum();
        let permits = bytes.min(self.bytes_max).div_ceil(1024);
        let taken = Arc::clone(&self.permits).try_acquire_many_owned(permits.try_into().unwrap_or(u32::MAX));
        let reason =
            || format!("redis.in_flight_bytes_max = {} bytes are on their way already", self.bytes_max);
        let taken = taken.map(Arc::new).map_err(|_| {
            metric::in_flight_refused();
            reason()
        });
        self.publish();
        taken
    }
}

/// Of several errors, which one decides what is done about all.
fn urgency(error: &RedisError) -> u8 {
    match Fault::of(error) {
        Fault::Permanent | Fault::Denied | Fault::Unable => 2,
        Fault::Moved | Fault::Lost => 1,
        Fault::Ask(_) | Fault::TryAgain | Fault::NoScript | Fault::Behind => 0,
    }
}

/// Hands entries to the queues of their primaries, and takes the answers.
async fn gathered(
    router: &Router,
    config: &commit::Config,
    entries: &Arc<[Entry]>,
    pending: &[usize],
    outcomes: &mut Outcomes,
    permit: &Arc<OwnedSemaphorePermit>,
    deadline: Instant,
) {
    let mut groups = HashMap::<Address, (Arc<Node>, Vec<usize>)>::new();
    for place in pending {
        let slot = config.keys.of(entries[*place].bucket).slot;
        match router.servers().primary(slot) {
            Some(node) => {
                groups.entry(node.address.clone()).or_insert_with(|| (node, Vec::new())).1.push(*place)
            }
            None => outcomes[*place] = Err(commit::lost()),
        }
    }
    let answers = groups.into_values().map(|(node, places)| {
        let (reply, answer) = oneshot::channel();
        let commit = Commit {
            entries: Arc::clone(entries),
            places: places.clone(),
            reply,
            _permit: Arc::clone(permit),
        };
        node.commit(commit);
        async move { (places, timeout_at(deadline, answer).await) }
    });
    for (places, answer) in join_all(answers).await {
        // Without an answer, what went wrong before says more than that time is up.
        let Ok(Ok(answer)) = answer else { continue };
        for (place, outcome) in places.into_iter().zip(answer) {
            outcomes[place] = outcome;
        }
    }
}

/// Sends entries whose slot is on its way to another server after it, bucket by bucket.
async fn follow(
    router: &Router,
    config: &commit::Config,
    attempted: &str,
    entries: &[Entry],
    outcomes: &mut Outcomes,
    deadline: Instant,
) -> Result<()> {
    let is_moving = |outcome: &std::result::Result<Outcome, RedisError>| {
        outcome.as_ref().is_err_and(|error| matches!(Fault::of(error), Fault::Ask(_)))
    };
    let moving: Vec<usize> = (0..entries.len()).filter(|place| is_moving(&outcomes[*place])).collect();
    let again: Vec<&Entry> = moving.iter().map(|place| &entries[*place]).collect();
    for (places, command) in config.calls(&again) {
        let slot = config.keys.of(again[places[0]].bucket).slot;
        let mut answers = router.write(attempted, slot, vec![command], deadline).await?;
        let answer = answers.pop().ok_or_else(commit::lost);
        let count = places.len();
        for (place, outcome) in places.into_iter().zip(commit::read_outcomes(answer, count)) {
            outcomes[moving[place]] = outcome;
        }
    }
    Ok(())
}
