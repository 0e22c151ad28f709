//! One key prefix for each space of the contract's cases, on one Redis.

use std::sync::Arc;

use futures::{FutureExt as _, future::BoxFuture};
use state_core::{Settings, StateManager};
use state_redis::{Config, RedisStateManager};

pub(crate) struct Spaces {
    url: String,
}

impl Spaces {
    pub(crate) fn of(url: String) -> Self {
        Self { url }
    }
}

impl state_conformance::Backend for Spaces {
    fn open(&self, space: String, settings: Settings) -> BoxFuture<'_, Arc<dyn StateManager>> {
        let key_prefix = format!("{space}:");
        let config = Config { url: self.url.clone(), key_prefix, max_connections: 6, ..Config::default() };
        let store = RedisStateManager::new(&config, settings).expect("the settings are valid");
        let store: Arc<dyn StateManager> = Arc::new(store);
        async move { store }.boxed()
    }
}
