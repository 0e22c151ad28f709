//! Which engine gets a request: the one of two random ones where it will probably wait less.
//!
//! Two random choices spread load nearly as well as knowing the least loaded of all, without every
//! gateway running to the same one.

use std::sync::Arc;

use rand::seq::IndexedRandom;
use tokio::time::Instant;

use super::engine::Engine;

/// Chooses among the engines that are ready and not yet `tried`.
///
/// Those that were put aside count only when all that are ready are: then the fault probably lies
/// behind them, and an engine's own answer says more than none.
pub(super) fn choose(known: &[Arc<Engine>], tried: &[Arc<Engine>], now: Instant) -> Option<Arc<Engine>> {
    let ready: Vec<&Arc<Engine>> = known.iter().filter(|engine| engine.is_ready()).collect();
    let is_tried = |engine: &Engine| tried.iter().any(|other| other.address == engine.address);
    let all_aside = ready.iter().all(|engine| engine.is_aside(now));
    let is_candidate = |engine: &Engine| !is_tried(engine) && (all_aside || !engine.is_aside(now));
    let candidates: Vec<&Arc<Engine>> = ready.into_iter().filter(|engine| is_candidate(engine)).collect();
    let two = candidates.choose_multiple(&mut rand::rng(), 2);
    two.min_by_key(|engine| engine.cost(now)).map(|engine| Arc::clone(engine))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn engines(ready: &[bool]) -> Vec<Arc<Engine>> {
        let url = "http://127.0.0.1:1".to_owned().try_into().unwrap();
        let engine = |(index, &ready): (usize, &bool)| {
            let engine = Engine::new(([127, 0, 0, 1], 1 + index as u16).into(), &url, "pool".into(), None);
            engine.set_ready(ready, "in this test");
            Arc::new(engine)
        };
        ready.iter().enumerate().map(engine).collect()
    }

    #[tokio::test]
    async fn only_engines_that_are_ready_and_not_tried_are_chosen() {
        let (engines, now) = (engines(&[true, false, true]), Instant::now());
        for _ in 0..100 {
            let first = choose(&engines, &[], now).unwrap();
            assert!(first.is_ready());
            let second = choose(&engines, &[Arc::clone(&first)], now).unwrap();
            assert!(second.is_ready() && second.address != first.address);
            assert!(choose(&engines, &[first, second], now).is_none());
        }
    }

    #[tokio::test]
    async fn of_two_the_less_loaded_is_chosen() {
        let engines = engines(&[true, true]);
        let _busy = [engines[0].begin(), engines[0].begin()];
        let _less = engines[1].begin();
        for _ in 0..100 {
            assert_eq!(choose(&engines, &[], Instant::now()).unwrap().address, engines[1].address);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_the_quicker_is_chosen_until_the_slow_one_is_forgiven() {
        let engines = engines(&[true, true]);
        let slow = engines[0].begin();
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(slow);
        let now = Instant::now();
        // The quick one has ten calls in flight, and is still expected to answer first.
        let _in_flight: Vec<_> = (0..10).map(|_| engines[1].begin()).collect();
        for _ in 0..100 {
            assert_eq!(choose(&engines, &[], now).unwrap().address, engines[1].address);
        }
        let later = now + Duration::from_secs(30);
        assert_eq!(choose(&engines, &[], later).unwrap().address, engines[0].address);
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_is_aside_is_chosen_only_when_all_are() {
        let (engines, now) = (engines(&[true, true]), Instant::now());
        while !engines[0].is_aside(now) {
            engines[0].failed();
        }
        for _ in 0..100 {
            assert_eq!(choose(&engines, &[], now).unwrap().address, engines[1].address);
        }
        assert!(choose(&engines, &[Arc::clone(&engines[1])], now).is_none(), "not as a second try either");
        while !engines[1].is_aside(now) {
            engines[1].failed();
        }
        assert!(choose(&engines, &[], now).is_some());
    }
}
