//! What goes wrong, how, and which alerts must tell of it.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use testbed::{EngineProcess, Process, RedisCluster, redis::RedisNode};
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};

use super::{
    endpoint::Mood,
    scene::{Door, Scene},
};

/// How long slow servers stop where they are, again and again; less than what makes others take them for dead.
const STOPS: Duration = Duration::from_millis(300);
/// And how long they go on in between.
const GOES_ON: Duration = Duration::from_millis(100);
/// A request whose trace has no id, as a broken exporter sends it, and how often it does.
const WITHOUT_ID: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000000","spanId":"eee19b7ec3c1b174","name":"GET /","kind":2,"startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}"#;
const WITHOUT_ID_INTERVAL: Duration = Duration::from_millis(200);
/// What somebody adds to the ledger by hand.
const ITEMS_FROM_NOWHERE: i64 = 1_000;
/// So far a clock is ahead.
const CLOCK_OFF_SECONDS: i32 = 10;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    ProcessesDie,
    ShardDies,
    ReplicaHangs,
    RedisIsSlow,
    ClockIsOff,
    EndpointFails,
    EndpointRejects,
    IdsAreMissing,
    LedgerIsChanged,
    StatesDiffer,
    TracesAreMany,
}

/// What a fault keeps going as long as it lasts.
#[derive(Debug, Default)]
pub(super) struct Lasting {
    clients: Vec<Process>,
    tasks: JoinSet<()>,
}

impl Fault {
    /// Those that need the cluster for themselves, in their order.
    pub(super) const ALONE: [Self; 5] =
        [Self::ProcessesDie, Self::ShardDies, Self::ReplicaHangs, Self::RedisIsSlow, Self::ClockIsOff];
    /// Those that do not touch each other, and take long.
    pub(super) const TOGETHER: [Self; 6] = [
        Self::EndpointFails,
        Self::EndpointRejects,
        Self::IdsAreMissing,
        Self::LedgerIsChanged,
        Self::StatesDiffer,
        Self::TracesAreMany,
    ];

    /// What it is, in words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ProcessesDie => "an engine and a gateway die, then all engines",
            Self::ShardDies => "a primary of Redis dies with its replica",
            Self::ReplicaHangs => "a replica of Redis hangs",
            Self::RedisIsSlow => "Redis is slow and more clients come than the limits allow",
            Self::ClockIsOff => "an engine's clock is ahead",
            Self::EndpointFails => "an endpoint refuses until things expire, then is slow",
            Self::EndpointRejects => "an endpoint rejects",
            Self::IdsAreMissing => "a client sends spans without a trace id",
            Self::LedgerIsChanged => "somebody changes the ledger by hand",
            Self::StatesDiffer => "an engine with its state in memory joins the others",
            Self::TracesAreMany => "far more traces begin than expire",
        }
    }

    /// The alerts that must fire after each of its steps, before the next one is made.
    pub(super) fn alerts(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::ProcessesDie => {
                &[&["EngineMissing", "EnginesNotReady", "GatewayMissing"], &["NoEngineReady"]]
            }
            Self::ShardDies => &[&[
                "RedisDown",
                "StoreNotReady",
                "RedisConnectionErrors",
                "EngineRefusals",
                "GatewayRefusals",
            ]],
            Self::ReplicaHangs => &[&["ReplicasBehind"]],
            Self::RedisIsSlow => &[&["HighRedisLatency", "StateFull", "DoorOverloaded"]],
            Self::ClockIsOff => &[&["ClockSkew"]],
            Self::EndpointFails => {
                &[&["DeliveryEndpointDown", "UndeliveredNearExpiry", "UndeliveredExpired"], &["DeliveryLag"]]
            }
            Self::EndpointRejects => &[&["DeliveryRejected"]],
            Self::IdsAreMissing => &[&["ItemsRefused"]],
            Self::LedgerIsChanged => &[&["LedgerNotBalanced"]],
            Self::StatesDiffer => &[&["RoutingSticky"]],
            Self::TracesAreMany => &[&["CorrelationCountGrowth"]],
        }
    }

    /// Makes one of its steps.
    ///
    /// # Errors
    /// When it cannot be done.
    pub(super) async fn make(self, step: usize, scene: &Scene, lasting: &mut Lasting) -> anyhow::Result<()> {
        match self {
            Self::ProcessesDie if step == 0 => {
                scene.engines[0].process().kill()?;
                scene.gateways[0].process().kill()
            }
            Self::ProcessesDie => scene.all_engines().try_for_each(|engine| engine.process().kill()),
            Self::ShardDies => {
                let shard = &scene.redis.shards().await?[0];
                let members = shard.replicas.iter().chain([&shard.primary]);
                members.map(|index| &scene.redis.nodes()[*index]).try_for_each(|node| node.process().kill())
            }
            Self::ReplicaHangs => {
                let replica = scene.redis.shards().await?[0].replicas[0];
                scene.redis.nodes()[replica].process().pause()
            }
            Self::RedisIsSlow => {
                lasting.tasks.spawn(stop_again_and_again(Arc::clone(&scene.redis)));
                let many = ["--rate", "max", "--in-flight", "96", "--spans-per-request", "200"];
                let small = ["--rate", "max", "--in-flight", "400", "--spans-per-request", "10"];
                let traces = ["--spans-per-trace", "10"];
                lasting.clients = vec![
                    scene.client("crowd-grpc", Door::Engines, &[&many[..], &traces].concat())?,
                    scene.client("crowd-http", Door::Gateways, &[&small[..], &traces].concat())?,
                ];
                Ok(())
            }
            Self::ClockIsOff => set_clock(&scene.engines[0], CLOCK_OFF_SECONDS).await,
            Self::EndpointFails => {
                scene.archive.becomes(if step == 0 { Mood::Refuses } else { Mood::TakesSlowly });
                Ok(())
            }
            Self::EndpointRejects => {
                scene.shop.becomes(Mood::Rejects);
                Ok(())
            }
            Self::IdsAreMissing => {
                let url = format!("{}/v1/traces", scene.gateways[0].url());
                let client =
                    reqwest::Client::builder().no_proxy().build().context("failed to set up a client")?;
                lasting.tasks.spawn(async move {
                    let mut ticks = interval(WITHOUT_ID_INTERVAL);
                    loop {
                        ticks.tick().await;
                        let request = client.post(&url).header("content-type", "application/json");
                        // Whether it arrives is seen by the alert.
                        let _ = request.body(WITHOUT_ID).send().await;
                    }
                });
                Ok(())
            }
            Self::LedgerIsChanged => add_to_ledger(scene, ITEMS_FROM_NOWHERE).await,
            Self::StatesDiffer => scene.let_apart_join(true),
            Self::TracesAreMany => {
                let load = ["--rate", "3000", "--spans-per-request", "100", "--spans-per-trace", "1"];
                lasting.clients.push(scene.client("many-traces", Door::Apart, &load)?);
                Ok(())
            }
        }
    }

    /// Puts everything right again.
    ///
    /// # Errors
    /// When it cannot be done.
    pub(super) async fn heal(self, scene: &Scene, lasting: Lasting) -> anyhow::Result<()> {
        let Lasting { clients, mut tasks } = lasting;
        drop(clients);
        tasks.shutdown().await;
        match self {
            Self::ProcessesDie => {
                for engine in scene.all_engines() {
                    engine.restart().await?;
                }
                scene.gateways[0].restart().await
            }
            Self::ShardDies => scene.redis.mend().await,
            Self::ReplicaHangs | Self::RedisIsSlow => {
                scene.redis.nodes().iter().try_for_each(|node| node.process().resume())?;
                scene.redis.mend().await
            }
            Self::ClockIsOff => set_clock(&scene.engines[0], 0).await,
            Self::EndpointFails => {
                scene.archive.becomes(Mood::Takes);
                Ok(())
            }
            Self::EndpointRejects => {
                scene.shop.becomes(Mood::Takes);
                Ok(())
            }
            Self::LedgerIsChanged => add_to_ledger(scene, -ITEMS_FROM_NOWHERE).await,
            Self::StatesDiffer => scene.let_apart_join(false),
            Self::IdsAreMissing | Self::TracesAreMany => Ok(()),
        }
    }
}

/// Stops all servers of Redis where they are, lets them go on for a moment, and so on.
async fn stop_again_and_again(redis: Arc<RedisCluster>) {
    loop {
        // One that has ended is seen by whatever waits for it.
        redis.nodes().iter().for_each(|node| drop(node.process().pause()));
        sleep(STOPS).await;
        redis.nodes().iter().for_each(|node| drop(node.process().resume()));
        sleep(GOES_ON).await;
    }
}

/// Restarts an engine with its clock off by so many seconds.
async fn set_clock(engine: &EngineProcess, seconds: i32) -> anyhow::Result<()> {
    engine.process().set_clock(seconds)?;
    engine.restart().await
}

/// Adds to what the first bucket of the first shard says that it has received.
async fn add_to_ledger(scene: &Scene, items: i64) -> anyhow::Result<()> {
    let primary: &RedisNode = &scene.redis.nodes()[scene.redis.shards().await?[0].primary];
    let keys = primary.command(&["KEYS", "n:{*"]).await?;
    let ledger = keys.lines().min().context("the first shard has no ledger")?;
    primary.command(&["HINCRBY", ledger, "spans.received", &items.to_string()]).await.map(drop)
}
