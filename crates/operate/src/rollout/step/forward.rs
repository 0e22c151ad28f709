//! From one engine in memory to engines on Redis: staging, a share, all.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use loadgen::{content::hex, sender::Sender, store::Store, targets::Targets};
use testbed::EngineProcess;

use super::SHARE_PAIRS;
use crate::rollout::{
    Rollout,
    load::{self, REQUESTS_PER_SECOND},
    site::{self, Use},
    traffic::SPANS,
};

/// Pairs of traces that a new engine is tried with.
const SMOKE_PAIRS: u64 = 10;
/// Of a share, in percent; four times what chance makes of a thousand traces.
const TOLERANCE: f64 = 6.0;
/// An engine tells the ledger of its state every 15 s, and closes what is not whole after its window.
const EMPTY_DEADLINE: Duration = Duration::from_secs(60);

pub(super) async fn memory(rollout: &mut Rollout) -> anyhow::Result<String> {
    rollout.flow(SHARE_PAIRS / 2).await?;
    rollout.site.wait_sticky("memory", false).await?;
    Ok(format!("{REQUESTS_PER_SECOND} requests/s of {SPANS} spans, half over gRPC and half over HTTP"))
}

pub(super) async fn staging(rollout: &mut Rollout) -> anyhow::Result<String> {
    let engine = rollout.site.start_engine(Use::Redis).await?;
    let told = engine.process().log_lines("state and limits")?;
    let told = told.last().context("the engine does not say which state it has")?;
    ensure!(told.contains("redis-cluster"), "the engine says: {told}");
    let targets = Targets { engines: vec![engine.url()], gateways: Vec::new() };
    let traces = load::smoke(&rollout.ledger, &Sender::new(&targets)?, SMOKE_PAIRS).await?;
    let store = Store::new(&targets)?;
    for trace in &traces {
        let id = hex(&rollout.ledger.traffic.trace_id(*trace));
        let correlation = store.get(&id).await?.with_context(|| format!("{id} is not there"))?;
        let (found, _) = rollout.ledger.take_apart(&correlation.traces);
        let spans = found.get(trace).copied().unwrap_or_default().count_ones();
        ensure!(spans == SPANS, "{id} has {spans} of {SPANS} spans");
    }
    rollout.site.engines.push(engine);
    Ok(format!("{} traces read back from the engine on Redis", traces.len()))
}

/// Gives the engines on Redis a share of the traces.
pub(super) async fn share(rollout: &mut Rollout, percent: u32) -> anyhow::Result<String> {
    let site = &rollout.site;
    site.set_pools(&[site.old_pool(100 - percent)?, site.pool(percent)]).await?;
    let shares = shares(rollout).await?;
    let new: f64 = shares.iter().skip(1).sum();
    ensure!((new - f64::from(percent)).abs() <= TOLERANCE, "{new:.1} % instead of {percent} % go to Redis");
    Ok(format!("{new:.1} % of the spans go to Redis"))
}

/// All traces to Redis; the engine in memory ends when it has nothing more to deliver.
pub(super) async fn all(rollout: &mut Rollout) -> anyhow::Result<String> {
    let site = &rollout.site;
    site.set_pools(&[site.old_pool(0)?, site.pool(100)]).await?;
    let old = site.old.as_ref().context("there is no engine in memory")?;
    site::wait_engine(old, "without anything to close or deliver", EMPTY_DEADLINE, |metrics| {
        let left = |account: &str| site::sum(metrics, "state_ledger_items", &[account]);
        let received = site::sum(metrics, "engine_accepted_items_total", &[]);
        // What it says may be of a time before it took the last request.
        left("\"kept\"") + left("\"duplicate\"") == received
            && left("\"pending\"") + left("\"stored\"") == 0.0
    })
    .await?;
    site.set_one_pool().await?;
    let old = rollout.site.old.take().context("there is no engine in memory")?;
    site::end(old.process()).await?;
    let said = old.process().log_lines("state in memory ends with this process")?;
    let said = said.last().context("it does not say that its state ends")?;
    ensure!(said.contains("everything in it is delivered"), "the engine in memory says: {said}");
    rollout.forget_what_is_read();
    Ok("the engine in memory had delivered everything and ended".to_owned())
}

/// The share of the spans in percent of each engine, in the order of their starts.
pub(super) async fn shares(rollout: &Rollout) -> anyhow::Result<Vec<f64>> {
    let engines: Vec<&EngineProcess> = rollout.site.old.iter().chain(&rollout.site.engines).collect();
    let received = async || {
        let mut all = Vec::new();
        for engine in &engines {
            let (_, metrics) = engine.admin_get("/metrics").await?;
            all.push(site::sum(&metrics, "engine_received_items_total", &["traces"]));
        }
        anyhow::Ok(all)
    };
    let before = received().await?;
    rollout.flow(SHARE_PAIRS).await?;
    let after = received().await?;
    let new: Vec<f64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    let all: f64 = new.iter().sum();
    Ok(new.iter().map(|new| 100.0 * new / all.max(1.0)).collect())
}
