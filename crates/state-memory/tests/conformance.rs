//! Runs the contract of `StateManager` on memory.

use std::{
    collections::HashMap,
    process::ExitCode,
    sync::{Arc, Mutex},
};

use futures::{FutureExt as _, future::BoxFuture};
use state_core::{Settings, StateManager};
use state_memory::{Config, InMemoryStateManager};

/// One state for each space.
#[derive(Default)]
struct Memory(Mutex<HashMap<String, InMemoryStateManager>>);

impl state_conformance::Backend for Memory {
    fn open(&self, space: String, settings: Settings) -> BoxFuture<'_, Arc<dyn StateManager>> {
        let mut spaces = self.0.lock().expect("no case panics while it opens a store");
        let state =
            spaces.entry(space).or_insert_with(|| InMemoryStateManager::new(&Config::default(), settings));
        let client: Arc<dyn StateManager> = Arc::new(state.client());
        async move { client }.boxed()
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    state_conformance::run(&runtime, Memory::default())
}
