//! Waiting for a state instead of for a time.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

/// Time between two looks: short against everything that is waited for here.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What a look at a state says.
pub(crate) enum Look {
    Reached,
    /// Not yet, and what is seen instead.
    NotYet(String),
}

/// Asks until the answer is yes.
///
/// # Errors
/// When it is still no after `deadline`.
pub async fn eventually(
    state: &str,
    deadline: Duration,
    mut is_reached: impl AsyncFnMut() -> bool,
) -> anyhow::Result<()> {
    let look =
        async || Ok(if is_reached().await { Look::Reached } else { Look::NotYet("it is not".to_owned()) });
    wait_until(state, deadline, look).await
}

/// Looks until the state is reached.
///
/// # Errors
/// That of a look, at once; or, after `deadline`, one that names what was seen last.
pub(crate) async fn wait_until(
    state: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Look>,
) -> anyhow::Result<()> {
    let end = Instant::now() + deadline;
    loop {
        let Look::NotYet(seen) = look().await? else {
            return Ok(());
        };
        if Instant::now() >= end {
            bail!("failed to see {state} within {deadline:?}; last seen: {seen}");
        }
        sleep(LOOK_INTERVAL).await;
    }
}
