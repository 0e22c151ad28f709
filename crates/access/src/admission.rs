//! How much a door takes on at once: requests, and bytes of them.
//!
//! Beyond it requests are refused at once, to be sent again: a queue that is longer than clients
//! wait is work for nobody. What is refused should have cost little until then, so a request is let in
//! only when there is room for as many bytes as requests have had lately.

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
/// How many requests it takes until another size of them is usual.
const WEIGHT: usize = 16;

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
    /// Bytes that a request has had lately, on average.
    usual_bytes: AtomicUsize,
}

#[derive(Debug)]
struct Bounded {
    max: usize,
    now: AtomicUsize,
}

impl Bounded {
    /// How many there were before; `None` when there is no room.
    fn take(&self, count: usize) -> Option<usize> {
        let before = self.now.fetch_add(count, Ordering::Relaxed);
        let fits = before.saturating_add(count) <= self.max;
        if !fits {
            self.give(count);
        }
        fits.then_some(before)
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
        let usual_bytes = AtomicUsize::new(0);
        Self { shared: Arc::new(Shared { door, section, requests, bytes, usual_bytes }) }
    }

    /// Takes on a request, and as many bytes as are usual.
    ///
    /// # Errors
    /// There are too many already.
    pub(crate) fn enter(&self) -> Result<Admitted, Overload> {
        let Shared { door, requests, usual_bytes, .. } = &*self.shared;
        let Some(others) = requests.take(1) else {
            return Err(self.shared.overload("requests_in_flight_max", requests.max, "requests"));
        };
        metric::requests_in_flight(door, 1.0);
        let (size, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let admitted = Admitted { shared: Arc::clone(&self.shared), size, taken };
        // One alone is let in whatever is usual, or large ones could keep out all that come later.
        if others > 0 {
            admitted.take(usual_bytes.load(Ordering::Relaxed))?;
        }
        Ok(admitted)
    }

    pub(crate) fn door(&self) -> &'static str {
        self.shared.door
    }

    pub(crate) fn section(&self) -> &'static str {
        self.shared.section
    }
}

impl Shared {
    fn overload(&self, limit: &'static str, max: usize, what: &'static str) -> Overload {
        metric::overloaded(self.door, limit);
        Overload { section: self.section, limit, max, what }
    }

    /// A request had so many bytes. Of two at once one may be overlooked.
    fn learn(&self, size: usize) {
        let usual = self.usual_bytes.load(Ordering::Relaxed);
        let usual = if usual == 0 { size } else { usual - usual / WEIGHT + size / WEIGHT };
        self.usual_bytes.store(usual, Ordering::Relaxed);
    }
}

/// A request that was taken on, until it is dropped. Read by one task at a time.
#[derive(Debug)]
pub(crate) struct Admitted {
    shared: Arc<Shared>,
    /// Bytes that it is known to have.
    size: AtomicUsize,
    /// Bytes that were taken on for it: as many or more.
    taken: AtomicUsize,
}

impl Admitted {
    /// Takes on bytes of it, as they come.
    ///
    /// # Errors
    /// There are too many already, and it is to be refused; what was taken on before stays counted.
    pub(crate) fn add(&self, count: usize) -> Result<(), Overload> {
        self.grow_to(self.size.load(Ordering::Relaxed) + count)
    }

    /// Takes on what it has become: decompressed it has more bytes than have come.
    ///
    /// # Errors
    /// As of [`Admitted::add`].
    pub(crate) fn grow_to(&self, size: usize) -> Result<(), Overload> {
        let known = self.size.fetch_max(size, Ordering::Relaxed);
        self.take(size.max(known))
    }

    fn take(&self, count: usize) -> Result<(), Overload> {
        let Shared { door, bytes, .. } = &*self.shared;
        let more = count.saturating_sub(self.taken.load(Ordering::Relaxed));
        if bytes.take(more).is_none() {
            return Err(self.shared.overload("bytes_in_flight_max", bytes.max, "bytes"));
        }
        if more > 0 {
            metric::bytes_in_flight(door, more as f64);
            self.taken.fetch_add(more, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let Shared { door, requests, bytes, .. } = &*self.shared;
        let (size, taken) = (*self.size.get_mut(), *self.taken.get_mut());
        requests.give(1);
        bytes.give(taken);
        metric::requests_in_flight(door, -1.0);
        metric::bytes_in_flight(door, -(taken as f64));
        // Nobody knows how large one would have become that there was no room for.
        if size > 0 && size <= taken {
            self.shared.learn(size);
        }
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
        assert!(refused.to_string().contains("requests_in_flight_max = 2 requests"), "{refused}");
        drop(first);
        admission.enter().unwrap();
    }

    #[test]
    fn bytes_beyond_the_limit_are_refused_and_all_are_given_back() {
        let admission = admission(10, 100);
        let first = admission.enter().unwrap();
        first.add(60).unwrap();
        first.add(30).unwrap();
        assert!(admission.enter().unwrap().add(11).is_err());
        let second = admission.enter().unwrap();
        second.add(10).unwrap();
        drop(first);
        second.add(90).unwrap();
        drop(second);
        admission.enter().unwrap().add(100).unwrap();
    }

    #[test]
    fn a_request_is_let_in_when_there_is_room_for_the_usual_bytes() {
        let admission = admission(10, 100);
        admission.enter().unwrap().add(40).unwrap();
        let first = admission.enter().unwrap();
        first.add(50).unwrap();
        let _second = admission.enter().unwrap();
        let refused = admission.enter().unwrap_err();
        assert!(refused.to_string().contains("bytes_in_flight_max = 100 bytes"), "{refused}");
        drop(first);
        admission.enter().unwrap();
    }

    #[test]
    fn what_is_usual_follows_those_that_were_taken_in_whole() {
        let admission = admission(10, 100);
        let usual = || admission.shared.usual_bytes.load(Ordering::Relaxed);
        admission.enter().unwrap().add(90).unwrap();
        assert_eq!(usual(), 90);
        assert!(admission.enter().unwrap().add(101).is_err());
        drop(admission.enter().unwrap());
        assert_eq!(usual(), 90, "one was refused and one was not read");
        for _ in 0..10 * WEIGHT {
            admission.enter().unwrap().add(32).unwrap();
        }
        assert!((32..48).contains(&usual()), "{}", usual());
    }

    #[test]
    fn one_alone_is_let_in_whatever_is_usual() {
        let admission = admission(10, 100);
        admission.enter().unwrap().add(100).unwrap();
        let small = admission.enter().unwrap();
        small.add(1).unwrap();
        assert!(admission.enter().is_err());
        drop(small);
        admission.enter().unwrap().add(1).unwrap();
    }

    #[test]
    fn a_request_counts_as_what_it_has_become() {
        let admission = admission(10, 100);
        let request = admission.enter().unwrap();
        request.add(10).unwrap();
        request.grow_to(80).unwrap();
        request.grow_to(20).unwrap();
        assert!(admission.enter().unwrap().add(21).is_err());
        admission.enter().unwrap().add(20).unwrap();
        assert!(request.grow_to(101).is_err());
        drop(request);
        admission.enter().unwrap().add(100).unwrap();
    }
}
