//! Finds the traces that carry a key, and remembers the keys that too many carry.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use state_core::{Filter, RangeQuery, StateManager, Summary, Tenant};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::score::Key;

/// How many look-ups are on their way at once.
const IN_FLIGHT_MAX: usize = 16;
/// For how long a key that too many carry is not looked up again: that costs as much as there are.
const COMMON_FOR: Duration = Duration::from_secs(600);
/// Most such keys that are remembered.
const COMMON_MAX: usize = 10_000;

/// A key of a tenant.
pub(super) type Carried = (Tenant, Key);

/// Who carries a key.
#[derive(Debug)]
pub(super) enum Carriers {
    These(Vec<Summary>),
    TooMany,
    /// The store did not answer, or not in time.
    Unknown,
}

/// Finds the carriers of keys.
#[derive(Debug)]
pub(super) struct Candidates {
    store: Arc<dyn StateManager>,
    /// Most that may carry a key, beside the one for which it is asked.
    most: usize,
    /// Keys that more carry, and until when they are taken for such.
    common: Mutex<HashMap<Carried, Instant>>,
}

impl Candidates {
    pub(super) fn new(store: Arc<dyn StateManager>, most: usize) -> Self {
        Self { store, most, common: Mutex::default() }
    }

    /// Looks every key up, as far as there is time.
    pub(super) async fn find(
        &self,
        keys: BTreeSet<Carried>,
        deadline: Instant,
    ) -> HashMap<Carried, Carriers> {
        let look_ups = keys.into_iter().map(|carried| self.look_up(carried, deadline));
        stream::iter(look_ups).buffer_unordered(IN_FLIGHT_MAX).collect().await
    }

    async fn look_up(&self, carried: Carried, deadline: Instant) -> (Carried, Carriers) {
        let now = Instant::now();
        if self.is_common(&carried, now) {
            return (carried, Carriers::TooMany);
        }
        if now >= deadline {
            return (carried, Carriers::Unknown);
        }
        let (tenant, key) = carried.clone();
        let filter = Filter { key: Some(key), ..Filter::default() };
        let query = RangeQuery { tenant, filter, limit: self.most + 1, ..RangeQuery::default() };
        let carriers = match timeout_at(deadline, self.store.get_correlations_by_time_range(&query)).await {
            Ok(Ok(page)) if page.next.is_some() => {
                self.remember(carried.clone(), now);
                Carriers::TooMany
            }
            Ok(Ok(page)) => Carriers::These(page.correlations),
            Ok(Err(error)) => {
                debug!(error = &error as &dyn std::error::Error, "traces of a key were not found");
                Carriers::Unknown
            }
            Err(_late) => Carriers::Unknown,
        };
        (carried, carriers)
    }

    fn is_common(&self, carried: &Carried, now: Instant) -> bool {
        let common = self.common.lock().unwrap_or_else(PoisonError::into_inner);
        common.get(carried).is_some_and(|until| *until > now)
    }

    fn remember(&self, carried: Carried, now: Instant) {
        let mut common = self.common.lock().unwrap_or_else(PoisonError::into_inner);
        if common.len() >= COMMON_MAX {
            common.retain(|_, until| *until > now);
        }
        // Forgetting costs a look-up, memory without end costs the engine.
        if common.len() >= COMMON_MAX {
            common.clear();
        }
        common.insert(carried, now + COMMON_FOR);
    }
}
