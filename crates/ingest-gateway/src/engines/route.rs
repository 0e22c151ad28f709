//! Where requests go: to any engine of a pool, or each trace to an engine of its own.

use std::sync::Arc;

use super::{engine::Engine, rendezvous};
use crate::Routing;

/// The engines of a pool as they are known now.
#[derive(Clone)]
pub(super) struct Pool {
    pub(super) name: Arc<str>,
    pub(super) weight: u32,
    /// By address.
    pub(super) engines: Vec<Arc<Engine>>,
}

impl Pool {
    /// Whether its traces have engines of their own. By itself so when its engines that are ready
    /// have more than one state: any engine would do only if all knew the same.
    pub(super) fn is_sticky(&self, routing: Routing) -> bool {
        match routing {
            Routing::Sticky => true,
            Routing::Balanced => false,
            Routing::Auto => self.has_several_states(),
        }
    }

    /// Whether correlations are only known to one engine, or some, of those that are ready.
    pub(super) fn has_several_states(&self) -> bool {
        let ready = self.engines.iter().filter(|engine| engine.is_ready());
        let mut states = ready.filter_map(|engine| engine.state());
        let first = states.next();
        states.any(|state| first.as_ref().is_some_and(|first| first.id != state.id))
    }
}

/// Engines that may take a request.
#[derive(Clone)]
pub(crate) struct Among {
    pub(super) engines: Vec<Arc<Engine>>,
    /// Whether any of them is as good as another. Otherwise there is one, and another may be asked
    /// only when this one is gone: it may have a state of its own.
    pub(crate) is_any: bool,
    /// Name of the pool they are in, if they are asked because they are.
    pub(crate) pool: Option<Arc<str>>,
}

/// All places for requests at one moment.
pub(crate) struct Route {
    pools: Vec<PoolPlaces>,
}

/// The places of one pool; their numbers follow those of the pool before.
struct PoolPlaces {
    pool: Pool,
    is_sticky: bool,
    first_place: usize,
}

impl Route {
    /// Looks which engines of `known` are ready, those that are `gone` left out.
    ///
    /// A pool without any gives its traces to the others, as if it had no weight.
    pub(super) fn new(known: &[Pool], routing: Routing, gone: &[Among]) -> Self {
        let mut first_place = 0;
        let mut pools = Vec::new();
        for pool in known.iter().filter(|pool| pool.weight > 0) {
            let is_sticky = pool.is_sticky(routing);
            let is_gone = |engine: &Arc<Engine>| {
                let mut gone = gone.iter().flat_map(|among| &among.engines);
                gone.any(|other| Arc::ptr_eq(other, engine))
            };
            let is_candidate = |engine: &&Arc<Engine>| engine.is_ready() && !is_gone(engine);
            let engines: Vec<_> = pool.engines.iter().filter(is_candidate).cloned().collect();
            if engines.is_empty() {
                continue;
            }
            let places = if is_sticky { engines.len() } else { 1 };
            pools.push(PoolPlaces { pool: Pool { engines, ..pool.clone() }, is_sticky, first_place });
            first_place += places;
        }
        Self { pools }
    }

    /// The one place of all requests, where there is no other; `None` when it depends on the trace.
    ///
    /// # Errors
    /// There is no place at all.
    pub(crate) fn only_place(&self) -> Result<Option<usize>, NoPlace> {
        match &self.pools[..] {
            [] => Err(NoPlace),
            [only] if !only.is_sticky || only.pool.engines.len() == 1 => Ok(Some(0)),
            _ => Ok(None),
        }
    }

    /// The place of a key. There must be one.
    pub(crate) fn place(&self, key: u64) -> usize {
        let pools = self
            .pools
            .iter()
            .map(|PoolPlaces { pool, .. }| rendezvous::Place { name: &pool.name, weight: pool.weight });
        let pool = &self.pools[rendezvous::choose(key, pools).unwrap_or_default()];
        if !pool.is_sticky {
            return pool.first_place;
        }
        let engines = pool.pool.engines.iter();
        let engines = engines.map(|engine| rendezvous::Place { name: engine.name(), weight: 1 });
        pool.first_place + rendezvous::choose(key, engines).unwrap_or_default()
    }

    /// Who may take what belongs to a place that [`place`](Self::place) has named.
    pub(crate) fn among(&self, place: usize) -> Among {
        let index = self.pools.partition_point(|pool| pool.first_place <= place) - 1;
        let PoolPlaces { pool, is_sticky, first_place } = &self.pools[index];
        let engines = match is_sticky {
            true => vec![Arc::clone(&pool.engines[place - first_place])],
            false => pool.engines.clone(),
        };
        Among { engines, is_any: !is_sticky, pool: Some(Arc::clone(&pool.name)) }
    }
}

/// No engine is ready.
#[derive(Debug)]
pub(crate) struct NoPlace;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::engines::engine::State;

    fn pool(name: &str, weight: u32, states: &[&str]) -> Pool {
        let url = "http://127.0.0.1:1".to_owned().try_into().unwrap();
        let port = |index: usize| u16::try_from(name.len() * 100 + index).unwrap();
        let engine = |(index, state): (usize, &&str)| {
            let engine = Engine::new(([127, 0, 0, 1], port(index)).into(), &url, name.into(), None);
            let (id, correlation_keys) = ((*state).to_owned(), Vec::new());
            engine.set_state(State { id, backend: "memory", correlation_keys, former_id: None });
            engine.set_ready(true, "in this test");
            Arc::new(engine)
        };
        Pool { name: name.into(), weight, engines: states.iter().enumerate().map(engine).collect() }
    }

    fn keys() -> impl Iterator<Item = u64> {
        (0..1_000_u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    #[tokio::test]
    async fn engines_of_one_state_are_one_place() {
        let known = [pool("a", 1, &["shared", "shared"])];
        let route = Route::new(&known, Routing::Auto, &[]);
        assert_eq!(route.only_place().unwrap(), Some(0));
        let among = route.among(0);
        assert!(among.is_any && among.engines.len() == 2);
    }

    #[tokio::test]
    async fn engines_with_states_of_their_own_are_places_of_their_own() {
        let known = [pool("a", 1, &["one", "two"])];
        let route = Route::new(&known, Routing::Auto, &[]);
        assert_eq!(route.only_place().unwrap(), None);
        let mut seen = HashSet::new();
        for key in keys() {
            let among = route.among(route.place(key));
            assert!(!among.is_any && among.engines.len() == 1);
            seen.insert(among.engines[0].address);
        }
        assert_eq!(seen.len(), 2);
        let forced = Route::new(&known, Routing::Balanced, &[]);
        assert_eq!(forced.only_place().unwrap(), Some(0), "what is configured counts");
    }

    #[tokio::test]
    async fn a_key_stays_where_it_is_while_its_engine_does() {
        let known = [pool("a", 1, &["one", "two", "three"])];
        let whole = Route::new(&known, Routing::Sticky, &[]);
        let gone = &known[0].engines[1];
        let among = Among { engines: vec![Arc::clone(gone)], is_any: false, pool: None };
        let smaller = Route::new(&known, Routing::Sticky, &[among]);
        gone.set_ready(false, "in this test");
        let unready = Route::new(&known, Routing::Sticky, &[]);
        let address = |route: &Route, key| route.among(route.place(key)).engines[0].address;
        for key in keys() {
            let before = address(&whole, key);
            let after = address(&smaller, key);
            assert_eq!(after, address(&unready, key), "tried is as good as gone");
            assert!(before == after || before == gone.address);
        }
    }

    #[tokio::test]
    async fn a_pool_without_ready_engines_gives_its_traces_to_the_others() {
        let known = [pool("stable", 90, &["s"]), pool("canary", 10, &["c"])];
        let part = |route: &Route| {
            let canary = |key: &u64| route.among(route.place(*key)).pool.as_deref() == Some("canary");
            keys().filter(canary).count()
        };
        let route = Route::new(&known, Routing::Auto, &[]);
        assert!((50..150).contains(&part(&route)), "{}", part(&route));
        known[0].engines[0].set_ready(false, "in this test");
        assert_eq!(part(&Route::new(&known, Routing::Auto, &[])), 1_000);
        known[1].engines[0].set_ready(false, "in this test");
        assert!(Route::new(&known, Routing::Auto, &[]).only_place().is_err());
    }
}
