//! Rolling upgrades: one process after the other ends and starts anew, under load.

use crate::rollout::{
    Rollout,
    site::{self, Use},
};

pub(super) async fn engines(rollout: &mut Rollout) -> anyhow::Result<String> {
    let site = &rollout.site;
    for engine in &site.engines {
        site.restart_engine(engine, Use::Redis).await?;
        site.wait_engines_ready().await?;
    }
    Ok(format!("{} engines ended with 0 and started anew", site.engines.len()))
}

pub(super) async fn gateways(rollout: &mut Rollout) -> anyhow::Result<String> {
    for gateway in &rollout.site.gateways {
        site::end(gateway.process()).await?;
        gateway.restart().await?;
    }
    Ok(format!("{} gateways ended with 0 and started anew", rollout.site.gateways.len()))
}
