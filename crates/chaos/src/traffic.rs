//! What is sent: seeded traces of a small shop, spread over the time of a phase.

use std::{sync::Arc, time::Duration};

use correlate_proof::{
    book::Book,
    disguise::Disguise,
    plan::{Planned, sendings},
    recording::{Recording, Telemetry},
};
use loadgen::{
    plan::Doors,
    traffic::{TRACES_PER_BATCH, Traffic},
};
use rand::{SeedableRng as _, rngs::StdRng};

/// Event time of the first trace, 2026-01-01T00:00:00Z; like all telemetry here it is of the past.
const START_UNIX_NANO: u64 = 1_767_225_600_000_000_000;
/// Time within which the services of a trace send what they know of it, but for late ones.
const SPREAD: Duration = Duration::from_secs(1);

/// Every request there is, and when each is sent; in order of time.
#[derive(Debug)]
pub(crate) struct Sendings {
    pub(crate) book: Arc<Book>,
    pub(crate) planned: Vec<Planned>,
}

/// The same for the same seed.
///
/// # Errors
/// When the traffic holds what cannot be told apart.
pub(crate) fn sendings_of(
    seed: u64,
    time: Duration,
    traces_per_second: u32,
    doors: Doors,
) -> anyhow::Result<Sendings> {
    let mut random = StdRng::seed_from_u64(seed);
    let traffic = Traffic { seed, start_unix_nano: START_UNIX_NANO };
    let interval = Duration::from_secs(TRACES_PER_BATCH as u64) / traces_per_second;
    let batches = (time.as_secs_f64() / interval.as_secs_f64()) as u32;
    let (mut requests, mut planned) = (Vec::new(), Vec::new());
    for number in 0..batches {
        let begin = interval * number;
        for request in traffic.batch(number.into()).requests {
            let within = begin..begin + SPREAD;
            planned.extend(sendings(0, requests.len(), within, doors, &mut random));
            requests.push(Telemetry::decode(&request)?);
        }
    }
    planned.sort_by_key(|planned| planned.at);
    let mut book = Book::default();
    book.add(&Arc::new(Recording::new(requests)?), Disguise::default());
    Ok(Sendings { book: Arc::new(book), planned })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOORS: Doors = Doors { engines: 3, gateways: 2 };

    #[test]
    fn traffic_is_a_function_of_its_seed_and_as_much_as_is_asked_for() {
        let of = |seed| sendings_of(seed, Duration::from_secs(10), 20, DOORS).unwrap();
        let sendings = of(7);
        assert_eq!(sendings.book.traces().count(), 200);
        assert!(sendings.planned.is_sorted_by_key(|planned| planned.at));
        assert_eq!(sendings.planned, of(7).planned);
        assert_ne!(sendings.planned, of(8).planned);
    }
}
