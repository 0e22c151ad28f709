//! How much a door takes on at once: requests, and bytes of them.
//!
//! Beyond it requests are refused at once, to be sent again: a queue that is longer than clients
//! wait is work for nobody.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use service_lifecycle::Violation;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::metric;

/// When a client should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A section `limits` of a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Most connections at once; those beyond are closed. Default 10000.
    pub connections_max: usize,
    /// Most requests at once. Default 2000: more than a busy process answers in a second.
    pub requests_in_flight_max: usize,
    /// Most bytes of requests at once, as they come over the wire. Default 256 MiB: four of the largest.
    pub bytes_in_flight_max: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { connections_max: 10_000, requests_in_flight_max: 2_000, bytes_in_flight_max: 256 << 20 }
    }
}

/// The names of the keys of a [`LimitsConfig`] where it stands in a configuration.
#[derive(Debug, Clone, Copy)]
pub struct LimitsKeys {
    /// Name of [`LimitsConfig::connections_max`], such as `grpc.limits.connections_max`.
    pub connections_max: &'static str,
    /// Name of [`LimitsConfig::requests_in_flight_max`].
    pub requests_in_flight_max: &'static str,
    /// Name of [`LimitsConfig::bytes_in_flight_max`].
    pub bytes_in_flight_max: &'static str,
}

impl LimitsConfig {
    /// What would keep everybody out.
    pub fn violations(&self, keys: LimitsKeys) -> Vec<Violation> {
        let limits = [
            (self.connections_max, keys.connections_max),
            (self.requests_in_flight_max, keys.requests_in_flight_max),
            (self.bytes_in_flight_max, keys.bytes_in_flight_max),
        ];
        let broken = limits.into_iter().filter(|(limit, _)| *limit == 0);
        broken.map(|(_, key)| Violation::new(key, "expected at least 1")).collect()
    }
}

/// Counts what is in flight. A clone counts the same.
#[derive(Debug, Clone)]
pub struct Admission {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    door: &'static str,
    section: &'static str,
    requests: Bounded,
    bytes: Bounded,
}

#[derive(Debug)]
struct Bounded {
    max: usize,
    now: AtomicUsize,
}

impl Bounded {
    fn take(&self, count: usize) -> bool {
        let before = self.now.fetch_add(count, Ordering::Relaxed);
        let fits = before.saturating_add(count) <= self.max;
        if !fits {
            self.give(count);
        }
        fits
    }

    fn give(&self, count: usize) {
        self.now.fetch_sub(count, Ordering::Relaxed);
    }
}

/// Too much is in flight; the same request may be taken a second later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{section}.limits.{limit} = {max} {what} are in flight already; send it again, or to another replica"
)]
pub(crate) struct Overload {
    section: &'static str,
    limit: &'static str,
    max: usize,
    what: &'static str,
}

/// Clients repeat the request, best to another replica.
impl From<Overload> for Status {
    fn from(overload: Overload) -> Self {
        let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
        Self::with_error_details(Code::Unavailable, overload.to_string(), details)
    }
}

impl Admission {
    /// Nothing is in flight yet; `door` is the word for the door in metrics, `section` the one of the
    /// configuration that holds the limits.
    pub fn new(config: &LimitsConfig, door: &'static str, section: &'static str) -> Self {
        let bounded = |max| Bounded { max, now: AtomicUsize::new(0) };
        let (requests, bytes) = (bounded(config.requests_in_flight_max), bounded(config.bytes_in_flight_max));
        Self { shared: Arc::new(Shared { door, section, requests, bytes }) }
    }

    /// Takes on a request.
    ///
    /// # Errors
    /// There are too many already.
    pub(crate) fn enter(&self) -> Result<Admitted, Overload> {
        let Shared { door, section, requests, .. } = &*self.shared;
        if !requests.take(1) {
            let limit = "requests_in_flight_max";
            metric::overloaded(door, limit);
            return Err(Overload { section, limit, max: requests.max, what: "requests" });
        }
        metric::requests_in_flight(door, 1.0);
        Ok(Admitted { shared: Arc::clone(&self.shared), bytes: AtomicUsize::new(0) })
    }

    pub(crate) fn door(&self) -> &'static str {
        self.shared.door
    }

    pub(crate) fn section(&self) -> &'static str {
        self.shared.section
    }
}

/// A request that was taken on, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    shared: Arc<Shared>,
    bytes: AtomicUsize,
}

impl Admitted {
    /// Takes on bytes of it, as they come.
    ///
    /// # Errors
    /// There are too many already; what was taken on before stays counted.
    pub(crate) fn add(&self, count: usize) -> Result<(), Overload> {
        let Shared { door, section, bytes, .. } = &*self.shared;
        if !bytes.take(count) {
            let limit = "bytes_in_flight_max";
            metric::overloaded(door, limit);
            return Err(Overload { section, limit, max: bytes.max, what: "bytes" });
        }
        metric::bytes_in_flight(door, count as f64);
        self.bytes.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let Shared { door, requests, bytes, .. } = &*self.shared;
        requests.give(1);
        let taken = *self.bytes.get_mut();
        bytes.give(taken);
        metric::requests_in_flight(door, -1.0);
        metric::bytes_in_flight(door, -(taken as f64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(requests_in_flight_max: usize, bytes_in_flight_max: usize) -> Admission {
        let config = LimitsConfig { requests_in_flight_max, bytes_in_flight_max, ..LimitsConfig::default() };
        Admission::new(&config, "test", "test")
    }

    #[test]
    fn requests_beyond_the_limit_are_refused_until_one_ends() {
        let admission = admission(2, 100);
        let first = admission.enter().unwrap();
        let _second = admission.enter().unwrap();
        let refused = admission.enter().unwrap_err();
        assert!(
            refused.to_string().starts_with("test.limits.requests_in_flight_max = 2 requests"),
            "{refused}"
        );
        drop(first);
        admission.enter().unwrap();
    }

    #[test]
    fn bytes_beyond_the_limit_are_refused_and_all_are_given_back() {
        let admission = admission(10, 100);
        let first = admission.enter().unwrap();
        first.add(60).unwrap();
        first.add(30).unwrap();
        let second = admission.enter().unwrap();
        assert!(second.add(11).is_err());
        second.add(10).unwrap();
        drop(first);
        second.add(90).unwrap();
        drop(second);
        admission.enter().unwrap().add(100).unwrap();
    }
}
