//! When what is sent through which door: copies that overlap, shuffled, some of it late, some twice.

use std::{ops::Range, time::Duration};

use loadgen::plan::{Door, Doors, Sending};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// Time within which the requests of a copy are sent, but for late ones; no more than a third of all.
const SPREAD: Duration = Duration::from_secs(8);
/// One request in so many is late, and likewise one is sent again although it was acknowledged.
const LATE_ONE_IN: u32 = 20;
const AGAIN_ONE_IN: u32 = 20;
/// How much later at most, either.
const LATE_MAX: Duration = Duration::from_secs(12);

/// One sending of one request of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// From the beginning.
    pub at: Duration,
    pub copy: usize,
    pub sending: Sending,
}

/// Plans `copies` of `requests` requests over a time; the same for the same seed. In order of time.
pub fn plan(copies: usize, requests: usize, time: Duration, doors: Doors, seed: u64) -> Vec<Planned> {
    let mut random = StdRng::seed_from_u64(seed);
    let spread = SPREAD.min(time / 3);
    let mut plan = Vec::new();
    for copy in 0..copies {
        let begin = (time - spread).mul_f64(copy as f64 / copies as f64);
        for request in 0..requests {
            let sendings = sendings(copy, request, begin..begin + spread, doors, &mut random);
            plan.extend(sendings.into_iter().map(|planned| Planned { at: planned.at.min(time), ..planned }));
        }
    }
    plan.sort_by_key(|planned| planned.at);
    plan
}

/// One sending of a request within a time, or later, or a second one after it.
pub fn sendings(
    copy: usize,
    request: usize,
    within: Range<Duration>,
    doors: Doors,
    random: &mut StdRng,
) -> Vec<Planned> {
    let mut at = within.start + (within.end - within.start).mul_f64(random.random());
    if random.random_ratio(1, LATE_ONE_IN) {
        at += LATE_MAX.mul_f64(random.random());
    }
    let mut times = vec![at];
    if random.random_ratio(1, AGAIN_ONE_IN) {
        times.push(at + LATE_MAX.mul_f64(random.random()));
    }
    let mut planned = |at| {
        let sending = Sending { request, door: door(doors, random), gzip: random.random() };
        Planned { at, copy, sending }
    };
    times.into_iter().map(&mut planned).collect()
}

/// Half of all over gRPC to an engine, a quarter each as protobuf and JSON over HTTP to a gateway.
fn door(doors: Doors, random: &mut StdRng) -> Door {
    let engine = random.random_range(0..doors.engines);
    let gateway = random.random_range(0..doors.gateways);
    match random.random_range(0..4) {
        0 => Door::Protobuf(gateway),
        1 => Door::Json(gateway),
        _ => Door::Engine(engine),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const TIME: Duration = Duration::from_secs(60);
    const DOORS: Doors = Doors { engines: 3, gateways: 2 };

    #[test]
    fn every_request_of_every_copy_is_sent_and_some_twice() {
        let plan = plan(10, 100, TIME, DOORS, 1);
        let mut times = HashMap::<_, usize>::new();
        for planned in &plan {
            *times.entry((planned.copy, planned.sending.request)).or_default() += 1;
        }
        assert_eq!(times.len(), 1_000);
        let twice = times.values().filter(|times| **times == 2).count();
        assert!((20..=100).contains(&twice), "{twice}");
        assert!(plan.is_sorted_by_key(|planned| planned.at) && plan.iter().all(|planned| planned.at <= TIME));
    }

    #[test]
    fn copies_overlap() {
        let plan = plan(10, 100, TIME, DOORS, 1);
        let changes = plan.windows(2).filter(|pair| pair[0].copy != pair[1].copy).count();
        assert!(changes > 100, "{changes}");
    }

    #[test]
    fn the_plan_is_a_function_of_its_seed() {
        assert_eq!(plan(2, 9, TIME, DOORS, 7), plan(2, 9, TIME, DOORS, 7));
        assert_ne!(plan(2, 9, TIME, DOORS, 7), plan(2, 9, TIME, DOORS, 8));
    }
}
