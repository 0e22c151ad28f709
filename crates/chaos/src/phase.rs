//! One phase: a cluster, load and faults on it, and what is left in the end.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use correlate_proof::{
    arrival::Arrivals,
    cluster::{Cluster, Options},
    delivered::Delivered,
    disguise::TraceId,
    redis,
    sink::Sink,
    store::Store,
};
use loadgen::{output::note, sender::Sender, targets::Targets};
use testbed::{Topology, redis::Options as RedisOptions};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    check::{self, Checked},
    clients::Clients,
    footprint::Footprint,
    inject::{Done, Injector, Recovery},
    mutation::Mutation,
    plan::Phase,
    reader::{self, Seen},
    report::Report,
    traffic::{self, Sendings},
};

const ENGINES: usize = 3;
const GATEWAYS: usize = 2;
/// A failover with this takes some two seconds; the default of Redis is 15,000.
const NODE_TIMEOUT_MS: u64 = 1_000;
/// For everything to be closed and delivered: after a clock went back that takes five minutes from then on.
const QUIET_DEADLINE: Duration = Duration::from_secs(300);

/// What a phase is run with.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) phase: &'a Phase,
    pub(crate) seed: u64,
    pub(crate) rate: u32,
    pub(crate) mutate: Option<Mutation>,
    /// For data and logs.
    pub(crate) home: &'a Path,
}

/// Runs a phase and enters into the report what it has shown; answers the times of recovery.
///
/// # Errors
/// When it could not be run to its end.
pub(crate) async fn run(setting: &Setting<'_>, report: &mut Report) -> anyhow::Result<Vec<Duration>> {
    let Setting { phase, seed, rate, mutate, home } = *setting;
    let doors = loadgen::plan::Doors { engines: ENGINES, gateways: GATEWAYS };
    let Sendings { book, planned } = traffic::sendings_of(seed, phase.time, rate, doors)?;
    let ids: Vec<TraceId> = book.traces().map(|(id, _)| *id).collect();
    let delivered = Arc::new(Delivered::new(&book, mutate.and_then(Mutation::of_proof)));
    let sink = Mutex::new(Sink::start(Arc::clone(&delivered)).await?);
    let endpoint = sink.lock().await.url();
    let cluster = Cluster::start(home, &endpoint, options(phase, mutate)).await?;
    let targets = cluster.targets();
    let clients = clients(setting, &book, &targets)?;
    let store = Store::new(targets.gateways)?;

    let start = Instant::now();
    let injector = Injector { cluster: &cluster, sink: &sink, attempts: &clients.attempts, phase, start };
    let (seen, footprint, stop) = (Seen::default(), Footprint::default(), AtomicBool::new(false));
    let load = async {
        let faults = async { tokio::try_join!(injector.run(&phase.redis), injector.run(&phase.processes)) };
        let sent = Arc::clone(&clients).run(planned, start, start + phase.time);
        let both = tokio::try_join!(Box::pin(faults), Box::pin(sent));
        stop.store(true, Ordering::Relaxed);
        both
    };
    let reading = reader::read(&clients, &store, &ids, &seen, &stop);
    let (both, (), ()) = tokio::join!(load, Box::pin(reading), footprint.watch(&cluster, &stop));
    let ((of_redis, of_processes), unsent) = both?;
    note(&format!(
        "all is healed, {unsent} requests were not sent for lack of time; waiting until the rest is closed and delivered"
    ));
    cluster.redis().mend().await.context("Redis did not become whole in the end")?;
    let is_quiet = redis::is_quiet_within(cluster.redis(), QUIET_DEADLINE).await?;
    if mutate == Some(Mutation::LoseTtl) {
        cluster.redis().nodes()[cluster.redis().shards().await?[0].primary]
            .command(&["EVAL", "return redis.call('PERSIST', redis.call('RANDOMKEY'))", "0"])
            .await?;
    }
    note("what is stored and was delivered is compared");
    let checked = check::check(&clients, &delivered, &store, cluster.redis()).await?;

    let done: Vec<Done> = [of_redis, of_processes].concat();
    tell(&checked, &clients, &done, start);
    let planned_faults = phase.redis.len() + phase.processes.len();
    report.left_out += (planned_faults - done.len()) as u64;
    report.faults += done.len() as u64;
    report.quiet &= is_quiet;
    report.redis.push(phase.layout.name());
    enter(report, &checked, &clients);
    report.reads += seen.answered.load(Ordering::Relaxed);
    report.reads_refused += seen.refused.load(Ordering::Relaxed);
    report.reads_stale += seen.stale.load(Ordering::Relaxed);
    report.memory_mib_max = report.memory_mib_max.max(footprint.memory_mib());
    report.descriptors_max = report.descriptors_max.max(footprint.descriptors());
    report.unrecovered += done.iter().filter(|done| done.recovery == Recovery::Never).count() as u64;
    Ok(done.iter().filter_map(Done::recovered_after).collect())
}

fn options(phase: &Phase, mutate: Option<Mutation>) -> Options {
    let redis = Topology {
        replicas_per_primary: phase.layout.replicas(),
        node_timeout_ms: NODE_TIMEOUT_MS,
        options: RedisOptions { proxied: true, ..RedisOptions::default() },
        ..Topology::default()
    };
    // What engines add themselves is nobody's question here; the ledger would count it.
    let mut engine = vec![("links.enabled".to_owned(), "false".to_owned())];
    let level = match (mutate, phase.layout.replicas()) {
        (Some(Mutation::AcknowledgePrimary), _) => "primary",
        // One of two replicas may lag and become the primary: only what all have is safe.
        (_, 2..) => "all_replicas",
        _ => "auto",
    };
    engine.push(("redis.acknowledge".to_owned(), level.to_owned()));
    Options { redis, engine }
}

fn clients(
    setting: &Setting<'_>,
    book: &Arc<correlate_proof::book::Book>,
    targets: &Targets,
) -> anyhow::Result<Arc<Clients>> {
    // Where a clock is moved forward, what has just arrived is due at once.
    let arrivals = match setting.phase.moves_clocks() {
        true => Arrivals::with_grace(Duration::ZERO),
        false => Arrivals::default(),
    };
    Ok(Clients::new(book, Sender::new(targets)?, arrivals, setting.mutate))
}

fn enter(report: &mut Report, checked: &Checked, clients: &Clients) {
    let items = clients.standings.count(clients.book.traces().map(|(_, sent)| sent));
    let findings = &checked.findings;
    let disturbed_before = report.refused_share * report.attempts as f64;
    let disturbed = clients.attempts.refused() + clients.attempts.unanswered();
    report.attempts += clients.attempts.count();
    let share = (disturbed_before + disturbed as f64) / report.attempts.max(1) as f64;
    report.refused_share = (share * 1e4).round() / 1e4;
    report.acked += items.acknowledged;
    report.unknown += items.unknown;
    report.refused += items.refused;
    report.lost += findings.missing;
    report.duplicated += findings.duplicated;
    report.invented += findings.extra;
    report.closed_twice += findings.closed_twice as u64;
    report.redelivered += findings.redelivered as u64;
    report.nonretryable += clients.attempts.wrong();
    report.ledger_balanced &= checked.ledger_balanced;
    report.disagreements += checked.disagreements;
    report.keys += checked.keys as u64;
    report.keys_together += checked.keys_together as u64;
    report.lasting_keys += checked.lasting_keys;
}

/// Tells the first differences, and what happened while the first of them was sent.
fn tell(checked: &Checked, clients: &Clients, done: &[Done], start: Instant) {
    clients.attempts.examples().iter().for_each(|example| note(&format!("wrong answer: {example}")));
    checked.findings.examples.iter().take(20).for_each(|example| note(example));
    let first = checked.findings.first.and_then(|id| clients.book.get(&id));
    let Some((begun, acknowledged)) = first.and_then(|sent| clients.arrivals.around(sent)) else { return };
    let (begun, acknowledged) = (begun - start, acknowledged - start);
    note(&format!(
        "the first of these was sent from {:.1} s to {:.1} s; what happened at that time:",
        begun.as_secs_f64(),
        acknowledged.as_secs_f64()
    ));
    let is_beside = |done: &&Done| {
        let over = done.healed + done.recovered_after().unwrap_or_default();
        done.began <= acknowledged && over >= begun
    };
    done.iter().filter(is_beside).for_each(|done| note(&format!("  {}", done.in_words())));
}
