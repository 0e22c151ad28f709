//! Follows which engines there are and which are ready: pools, DNS, health.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep},
};
use tracing::{info, warn};

use super::{Engines, Pool, describe_none_ready, discovery::Discovery, engine::Engine, pools::PoolConfig};
use crate::metrics;

/// An engine is one in its pool: in another one it begins anew.
type Member = (Arc<str>, SocketAddr);

impl Engines {
    /// Follows pools, DNS and the health of every engine, for ever. The probes end when it is dropped.
    pub(crate) async fn watch(self: Arc<Self>) -> Infallible {
        let mut discovery = Discovery::default();
        let mut running = HashMap::<Member, (Arc<Engine>, AbortHandle)>::new();
        let mut probes = JoinSet::new();
        loop {
            let configured = self.pools.current();
            discovery.look_up(configured.iter().flat_map(|pool| &pool.urls)).await;
            let mut known = Vec::new();
            for PoolConfig { name, weight, urls } in configured.iter() {
                let found = discovery.addresses(urls).into_iter();
                let engines = found.map(|(address, url)| {
                    let member = (Arc::clone(name), address);
                    let (engine, _) = running.entry(member).or_insert_with(|| {
                        let tls = self.encryption.tls();
                        let engine = Arc::new(Engine::new(address, &url, Arc::clone(name), tls));
                        let probe = probes.spawn(Arc::clone(&self).probe(Arc::clone(&engine)));
                        (engine, probe)
                    });
                    Arc::clone(engine)
                });
                known.push(Pool { engines: engines.collect(), name: Arc::clone(name), weight: *weight });
            }
            let is_known = |(name, address): &Member| {
                let pool = known.iter().find(|pool| pool.name == *name);
                pool.is_some_and(|pool| pool.engines.iter().any(|engine| engine.address == *address))
            };
            for ((pool, address), (_, probe)) in running.extract_if(|member, _| !is_known(member)) {
                info!(%address, %pool, "an engine is gone from DNS or from its pool");
                probe.abort();
            }
            self.tell_weights(&known);
            self.known.store(Arc::new(known));
            self.announce();
            // Reaps the aborted ones.
            while probes.try_join_next().is_some() {}
            sleep(Duration::from_millis(self.config.refresh_ms)).await;
        }
    }

    async fn probe(self: Arc<Self>, engine: Arc<Engine>) {
        loop {
            let was_ready = engine.is_ready();
            engine.probe(&self.signature).await;
            if engine.is_ready() && !was_ready {
                self.welcome(&engine);
            }
            self.announce();
            sleep(Duration::from_millis(self.config.probe_ms)).await;
        }
    }

    /// An engine that comes (back) is believed to be as quick as the others are on average.
    fn welcome(&self, engine: &Engine) {
        let (known, now) = (self.known.load(), Instant::now());
        let others = known.iter().filter(|pool| pool.name == engine.pool).flat_map(|pool| &pool.engines);
        let others = others.filter(|other| other.is_ready() && other.address != engine.address);
        let latencies: Vec<Duration> = others.map(|other| other.latency(now)).collect();
        if let Ok(count @ 1..) = u32::try_from(latencies.len()) {
            engine.assume_latency(latencies.iter().sum::<Duration>() / count);
        }
    }

    /// Says when the parts of pools have changed, or a pool is gone.
    fn tell_weights(&self, known: &[Pool]) {
        for gone in self.known.load().iter().filter(|old| known.iter().all(|pool| pool.name != old.name)) {
            metrics::pool_seen(&gone.name, 0, false);
        }
        let weights = |pools: &[Pool]| -> Vec<(Arc<str>, u32)> {
            pools.iter().map(|pool| (Arc::clone(&pool.name), pool.weight)).collect()
        };
        let now = weights(known);
        if !self.config.pools.is_empty() && now != weights(&self.known.load()) {
            info!(pools = ?now, "traces are spread over pools by these weights");
        }
    }

    /// Tells readiness and metrics. Called after every probe, so a lost race mends itself.
    pub(super) fn announce(&self) {
        let pools = self.known.load();
        let known: usize = pools.iter().map(|pool| pool.engines.len()).sum();
        let engines = pools.iter().flat_map(|pool| &pool.engines);
        let ready = engines.filter(|engine| engine.is_ready()).count();
        metrics::engines_seen(known, ready);
        for pool in pools.iter() {
            self.tell_routing(pool);
        }
        match ready {
            0 => self.check.not_ready(describe_none_ready(known)),
            _ => self.check.ready(),
        }
    }

    /// Says when a pool begins or ends to have an engine for each trace.
    fn tell_routing(&self, pool: &Pool) {
        let is_sticky = pool.is_sticky(self.config.routing);
        metrics::pool_seen(&pool.name, pool.weight, is_sticky);
        // Names are whole whatever happened while it was locked.
        let mut said = self.sticky.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = match is_sticky {
            true => said.insert(Arc::clone(&pool.name)),
            false => said.remove(&pool.name),
        };
        let (has_several_states, pool) = (pool.has_several_states(), &pool.name);
        match (is_news, is_sticky) {
            (true, true) if has_several_states => warn!(
                %pool,
                "engines of this pool have states of their own, so every trace goes to one of them; \
                 use_redis_state = true at all of them would let any engine take any trace"
            ),
            (true, true) => info!(%pool, "every trace goes to one engine of this pool"),
            (true, false) => info!(%pool, "any engine of this pool takes any trace"),
            (false, _) => {}
        }
    }
}
