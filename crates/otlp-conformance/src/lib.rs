//! The rules of OTLP as named cases on the real binaries, over real sockets; and the exporters that
//! people use, sending to the same binaries.
//!
//! Every rule is a row of [the conformance page](../../../docs/conformance.md): its id begins the
//! name of its case. What is sent and what comes back is looked at as it is on the wire.

mod clients;
mod doors;
mod grpc;
mod http1;
mod nginx;
mod relay;
#[expect(clippy::unwrap_used, reason = "the rows are tests")]
mod rows;
mod scripted;
mod stored;
mod telemetry;

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use futures::{FutureExt as _, future::LocalBoxFuture};
use libtest_mimic::{Arguments, Conclusion, Trial};
use tokio::runtime::Handle;

pub use doors::Doors;

/// One thing that must hold, on processes that are running.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The rule, `g5a_an_oversize_message_is_not_retryable`, or the client, `python-grpc-gzip`.
    pub name: &'static str,
    run: fn(Arc<Doors>) -> LocalBoxFuture<'static, ()>,
}

impl Case {
    /// The id of a row: what its name begins with.
    #[must_use]
    pub fn id(&self) -> &'static str {
        self.name.split('_').next().unwrap_or(self.name)
    }

    /// The rule in words; nothing of a client.
    #[must_use]
    pub fn title(&self) -> String {
        let words = self.name.split_once('_').map(|(_id, words)| words.replace('_', " "));
        words.unwrap_or_default()
    }

    /// Runs it.
    ///
    /// # Errors
    /// What did not hold.
    pub async fn run(&self, doors: Arc<Doors>) -> Result<(), String> {
        // A case holds nothing that anybody looks at after it.
        let run = AssertUnwindSafe((self.run)(doors)).catch_unwind().await;
        run.map_err(|panic| message(panic.as_ref()))
    }
}

/// Every rule: sections G, H, J and D, in order.
#[must_use]
pub fn rows() -> Vec<Case> {
    rows::all()
}

/// Every client and balancer that is tried.
#[must_use]
pub fn clients() -> Vec<Case> {
    clients::all()
}

/// Runs cases as the test runner's arguments say, and prints its summary.
pub fn run(runtime: &Handle, doors: &Arc<Doors>, cases: &[Case]) -> Conclusion {
    let trials = cases.iter().map(|case| {
        let (case, doors, runtime) = (*case, Arc::clone(doors), runtime.clone());
        Trial::test(case.name, move || Ok(runtime.block_on(case.run(doors))?))
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect())
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
    text.unwrap_or_else(|| "it panicked without a message".to_owned())
}
