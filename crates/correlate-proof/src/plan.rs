//! When what is sent through which door: copies that overlap, shuffled, some of it late, some twice.

use std::time::Duration;

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
pub(crate) struct Planned {
    /// From the beginning.
    pub(crate) at: Duration,
    pub(crate) copy: usize,
    pub(crate) sending: Sending,
}

/// Plans `copies` of `requests` requests over a time; the same for the same seed. In order of time.
pub(crate) fn plan(copies: usize, requests: usize, time: Duration, doors: Doors, seed: u64) -> Vec<Planned> {
    let mut random = StdRng::seed_from_u64(seed);
    let spread = SPREAD.min(time / 3);
    let mut plan = Vec::new();
    for copy in 0..copies {
        let begin = (time - spread).mul_f64(copy as f64 / copies as f64);
        for request in 0..requests {
            let mut at = begin + spread.mul_f64(random.random());
            if random.random_ratio(1, LATE_ONE_IN) {
                at += LATE_MAX.mul_f64(random.random());
            }
            let mut times = vec![at];
            if random.random_ratio(1, AGAIN_ONE_IN) {
                times.push(at + LATE_MAX.mul_f64(random.random()));
            }
            for at in times {
                let sending = Sending { request, door: door(doors, &mut random), gzip: random.random() };
                plan.push(Planned { at: at.min(time), copy, sending });
            }
        }
    }
    plan.sort_by_key(|planned| planned.at);
    plan
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
