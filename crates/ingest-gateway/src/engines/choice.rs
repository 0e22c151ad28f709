//! Which engine gets a request: the less loaded of two random ones.
//!
//! Two random choices spread load nearly as well as knowing the least loaded of all, without every
//! gateway running to the same one.

use std::sync::Arc;

use rand::seq::IndexedRandom;

use super::engine::Engine;

/// Chooses among the engines that are ready and not yet `tried`.
pub(super) fn choose(known: &[Arc<Engine>], tried: &[Arc<Engine>]) -> Option<Arc<Engine>> {
    let is_tried = |engine: &Engine| tried.iter().any(|other| other.address == engine.address);
    let candidates: Vec<&Arc<Engine>> =
        known.iter().filter(|engine| engine.is_ready() && !is_tried(engine)).collect();
    let two = candidates.choose_multiple(&mut rand::rng(), 2);
    two.min_by_key(|engine| engine.load()).map(|engine| Arc::clone(engine))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engines(ready: &[bool]) -> Vec<Arc<Engine>> {
        let url = "http://127.0.0.1:1".to_owned().try_into().unwrap();
        let engine = |(index, &ready): (usize, &bool)| {
            let engine = Engine::new(([127, 0, 0, 1], 1 + index as u16).into(), &url, None);
            engine.set_ready(ready, "in this test");
            Arc::new(engine)
        };
        ready.iter().enumerate().map(engine).collect()
    }

    #[tokio::test]
    async fn only_engines_that_are_ready_and_not_tried_are_chosen() {
        let engines = engines(&[true, false, true]);
        for _ in 0..100 {
            let first = choose(&engines, &[]).unwrap();
            assert!(first.is_ready());
            let second = choose(&engines, &[Arc::clone(&first)]).unwrap();
            assert!(second.is_ready() && second.address != first.address);
            assert!(choose(&engines, &[first, second]).is_none());
        }
    }

    #[tokio::test]
    async fn of_two_the_less_loaded_is_chosen() {
        let engines = engines(&[true, true]);
        let _busy = [engines[0].in_flight(), engines[0].in_flight()];
        let _less = engines[1].in_flight();
        for _ in 0..100 {
            assert_eq!(choose(&engines, &[]).unwrap().address, engines[1].address);
        }
    }
}
