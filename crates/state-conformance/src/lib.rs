//! The contract of `StateManager` as named cases that every backend runs, all of them.
//!
//! A backend's test target has `harness = false` and calls [`run`] with its [`Backend`]; it cannot
//! choose which cases run. Each case gets an empty space of its own, so all run side by side.

#[expect(clippy::unwrap_used, reason = "the cases are tests")]
mod cases;
mod sample;

use std::{process::ExitCode, sync::Arc};

use futures::future::{BoxFuture, LocalBoxFuture};
use libtest_mimic::{Arguments, Trial};
use state_core::{Settings, StateManager};

/// How a backend opens a store.
pub trait Backend: Send + Sync + 'static {
    /// Opens a client of the state named `space`. Spaces are apart; clients of one space share it.
    fn open(&self, space: String, settings: Settings) -> BoxFuture<'_, Arc<dyn StateManager>>;
}

/// What a case runs on: a space that nothing else uses.
#[derive(Clone)]
pub(crate) struct Space {
    backend: Arc<dyn Backend>,
    name: String,
}

impl Space {
    /// Another space, for cases about two of them.
    fn beside(&self) -> Self {
        Self { name: format!("{}-beside", self.name), ..self.clone() }
    }

    /// A client with the default settings.
    async fn client(&self) -> Arc<dyn StateManager> {
        self.client_with(Settings::default()).await
    }

    /// A client with settings of its own.
    async fn client_with(&self, settings: Settings) -> Arc<dyn StateManager> {
        self.backend.open(self.name.clone(), settings).await
    }
}

type Case = (&'static str, fn(Space) -> LocalBoxFuture<'static, ()>);

/// Runs every case on a backend, as the test runner's arguments say, and prints its summary.
pub fn run(runtime: &tokio::runtime::Runtime, backend: impl Backend) -> ExitCode {
    let backend: Arc<dyn Backend> = Arc::new(backend);
    let trials = cases::all()
        .map(|(name, case)| {
            let space = Space { backend: Arc::clone(&backend), name: name.replace("::", "-") };
            let handle = runtime.handle().clone();
            Trial::test(name, move || {
                handle.block_on(case(space));
                Ok(())
            })
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
