//! Who sends what where: a seeded order of requests over all doors, some of them sent twice.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

/// What a cluster offers to senders.
#[derive(Debug, Clone, Copy)]
pub struct Doors {
    /// Engines that take OTLP/gRPC.
    pub engines: usize,
    /// Gateways that take OTLP/HTTP.
    pub gateways: usize,
}

/// One sending of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// Index of the request.
    pub request: usize,
    /// Where it goes.
    pub door: Door,
    /// Whether it is compressed.
    pub gzip: bool,
}

/// Where a request goes, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// To the engine of this index, over gRPC.
    Engine(usize),
    /// To the gateway of this index, as protobuf over HTTP.
    Protobuf(usize),
    /// To the gateway of this index, as JSON over HTTP.
    Json(usize),
}

/// One request in 20 is sent twice, and at least one.
const RESENT_ONE_IN: usize = 20;

/// Plans one sending of each of `requests` requests in random order: half to the engines in turn,
/// half to the gateways in turn and there as JSON and protobuf in turn, half of all compressed.
/// Where there is only one kind of door, it gets everything. The same seed gives the same plan.
#[must_use]
pub fn once(requests: usize, doors: Doors, seed: u64) -> Vec<Sending> {
    plan((0..requests).collect(), doors, &mut StdRng::seed_from_u64(seed))
}

/// Plans like [`once`], and sends every twentieth request twice, at least one.
#[must_use]
pub fn with_resends(requests: usize, doors: Doors, seed: u64) -> Vec<Sending> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..requests).collect();
    order.shuffle(&mut random);
    order.truncate(requests.div_ceil(RESENT_ONE_IN));
    order.extend(0..requests);
    plan(order, doors, &mut random)
}

fn plan(mut order: Vec<usize>, doors: Doors, random: &mut StdRng) -> Vec<Sending> {
    order.shuffle(random);
    let choose = |(position, request): (usize, usize)| {
        let round = position / 2;
        let to_engine = doors.gateways == 0 || (doors.engines > 0 && position.is_multiple_of(2));
        let door = if to_engine {
            let turn = if doors.gateways == 0 { position } else { round };
            Door::Engine(turn % doors.engines.max(1))
        } else {
            let turn = if doors.engines == 0 { position } else { round };
            let gateway = (turn / 2) % doors.gateways;
            if turn.is_multiple_of(2) { Door::Json(gateway) } else { Door::Protobuf(gateway) }
        };
        Sending { request, door, gzip: random.random() }
    };
    order.into_iter().enumerate().map(choose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOORS: Doors = Doors { engines: 3, gateways: 2 };

    fn count(plan: &[Sending], is_counted: impl Fn(Door) -> bool) -> usize {
        plan.iter().filter(|sending| is_counted(sending.door)).count()
    }

    #[test]
    fn every_request_is_sent_and_one_in_twenty_twice() {
        for (requests, resent) in [(1, 1), (20, 1), (78, 4), (1_000, 50)] {
            let plan = with_resends(requests, DOORS, 1);
            let mut times = vec![0; requests];
            plan.iter().for_each(|sending| times[sending.request] += 1);
            assert!(times.iter().all(|times| (1..=2).contains(times)));
            assert_eq!(times.iter().filter(|times| **times == 2).count(), resent);
            assert_eq!(once(requests, DOORS, 1).len(), requests);
        }
    }

    #[test]
    fn half_goes_through_each_door_and_every_engine_and_gateway_gets_some() {
        let plan = once(120, DOORS, 1);
        for engine in 0..3 {
            assert_eq!(count(&plan, |door| door == Door::Engine(engine)), 20);
        }
        for gateway in 0..2 {
            assert_eq!(count(&plan, |door| door == Door::Json(gateway)), 15);
            assert_eq!(count(&plan, |door| door == Door::Protobuf(gateway)), 15);
        }
        assert!(plan.iter().any(|sending| sending.gzip));
        assert!(plan.iter().any(|sending| !sending.gzip));
    }

    #[test]
    fn the_only_kind_of_door_gets_everything() {
        let engines = once(30, Doors { engines: 3, gateways: 0 }, 1);
        for engine in 0..3 {
            assert_eq!(count(&engines, |door| door == Door::Engine(engine)), 10);
        }
        let gateways = once(30, Doors { engines: 0, gateways: 1 }, 1);
        assert_eq!(count(&gateways, |door| door == Door::Json(0)), 15);
        assert_eq!(count(&gateways, |door| door == Door::Protobuf(0)), 15);
    }

    #[test]
    fn the_plan_is_a_function_of_its_seed() {
        assert_eq!(with_resends(100, DOORS, 7), with_resends(100, DOORS, 7));
        assert_ne!(with_resends(100, DOORS, 7), with_resends(100, DOORS, 8));
    }
}
