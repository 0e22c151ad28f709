//! Back to state in memory at any step, and onwards to Redis again.

use std::time::Duration;

use anyhow::ensure;
use correlate_proof::redis;

use super::SHARE_PAIRS;
use crate::rollout::{
    Rollout,
    site::{self, Use},
};

/// For engines in memory to finish what Redis holds.
const FINISHED_DEADLINE: Duration = Duration::from_secs(90);

/// `USE_REDIS_STATE=false` with `REDIS_URL` as before, at one engine after the other.
pub(super) async fn roll_back(rollout: &mut Rollout) -> anyhow::Result<String> {
    // Traces that only Redis knows, and that have to be readable all the same.
    rollout.flow(SHARE_PAIRS / 5).await?;
    let site = &rollout.site;
    for engine in &site.engines {
        site.restart_engine(engine, Use::MemoryAgain).await?;
        site.wait_engines_ready().await?;
    }
    let is_sticky = site.engines.len() > 1;
    site.wait_sticky("redis", is_sticky).await?;
    if is_sticky {
        for gateway in &site.gateways {
            let told = gateway.process().log_lines("engines of this pool have states of their own")?;
            let (name, log) = (gateway.process().name(), gateway.process().log().display());
            ensure!(!told.is_empty(), "{name} does not say that engines have states of their own; see {log}");
        }
    }
    let is_finished = redis::is_quiet_within(&site.redis, FINISHED_DEADLINE).await?;
    ensure!(is_finished, "what Redis holds was not closed and delivered within {FINISHED_DEADLINE:?}");
    for engine in &site.engines {
        site::wait_engine(
            engine,
            "to tell that its former state is finished",
            FINISHED_DEADLINE,
            |metrics| {
                site::sum(metrics, "former_state_correlations", &[]) > 0.0
                    && site::sum(metrics, "former_state_unfinished_items", &[]) == 0.0
            },
        )
        .await?;
    }
    let told = if is_sticky { ", each trace going to one of them" } else { "" };
    Ok(format!("what Redis held was finished from memory, by {} of the engines{told}", site.engines.len()))
}

/// `USE_REDIS_STATE=true` again, at one engine after the other: each delivers what it had in memory when it ends.
pub(super) async fn roll_on(rollout: &mut Rollout) -> anyhow::Result<String> {
    for engine in &rollout.site.engines {
        rollout.site.restart_engine(engine, Use::Redis).await?;
        rollout.site.wait_engines_ready().await?;
    }
    rollout.site.wait_sticky("redis", false).await?;
    rollout.forget_what_is_read();
    Ok(format!("on Redis again: {}", rollout.site.engines.len()))
}
