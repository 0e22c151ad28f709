//! More engines and fewer, under load.

use anyhow::{Context as _, ensure};

use super::forward::shares;
use crate::rollout::{
    Rollout,
    site::{self, Use},
};

/// Of what each would get if all were equally quick. A gateway prefers the one that answers first.
const SHARE_MIN: f64 = 0.4;

pub(super) async fn up_to(rollout: &mut Rollout, engines: usize) -> anyhow::Result<String> {
    while rollout.site.engines.len() < engines {
        let engine = rollout.site.start_engine(Use::Redis).await?;
        rollout.site.engines.push(engine);
    }
    rollout.site.set_one_pool().await?;
    carried(rollout).await
}

/// Ends the youngest by SIGTERM; the gateways notice before they are told.
pub(super) async fn down_to(rollout: &mut Rollout, engines: usize) -> anyhow::Result<String> {
    while rollout.site.engines.len() > engines {
        let engine = rollout.site.engines.pop().context("there is no engine")?;
        site::end(engine.process()).await?;
    }
    rollout.site.set_one_pool().await?;
    carried(rollout).await
}

/// Each engine has its share.
async fn carried(rollout: &Rollout) -> anyhow::Result<String> {
    let shares = shares(rollout).await?;
    let least = SHARE_MIN * 100.0 / shares.len() as f64;
    let told: Vec<String> = shares.iter().map(|share| format!("{share:.0}")).collect();
    let told = told.join(", ");
    ensure!(shares.iter().all(|share| *share >= least), "an engine has less than {least:.0} %: {told} %");
    Ok(format!("the engines carry {told} %"))
}
