//! The engine process: its configuration, its store, and what it serves. The only place that names a backend.

use std::{process::ExitCode, sync::Arc};

use engine::Config;
use service_lifecycle::{App, Process};
use state_core::StateManager;
use state_memory::InMemoryStateManager;
use state_redis::RedisStateManager;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let app = App {
        name: "engine",
        version: env!("CARGO_PKG_VERSION"),
        revision: option_env!("GIT_REVISION").unwrap_or("unknown"),
        about: "Receives OTLP over gRPC and correlates it, in memory or in a Redis Cluster that many engines share",
        metrics: &[engine::METRICS, access::METRICS, delivery::METRICS],
    };
    service_lifecycle::run::<Config, _, _>(&app, |process: Process<Config>| async {
        let States { own, former } = open(&process.config)?;
        engine::serve(process, own, former).await
    })
}

/// The state of an engine, and the one that it was switched away from, if there is one.
struct States {
    own: Arc<dyn StateManager>,
    former: Option<Arc<dyn StateManager>>,
}

fn open(config: &Config) -> anyhow::Result<States> {
    let settings = config.settings();
    let redis = || RedisStateManager::new(&config.redis(), settings);
    if config.use_redis_state {
        return Ok(States { own: Arc::new(redis()?), former: None });
    }
    let own = Arc::new(InMemoryStateManager::new(&config.memory(), settings));
    let former = if config.has_former_state() { Some(Arc::new(redis()?) as _) } else { None };
    Ok(States { own, former })
}
