//! The proof from beginning to end.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use correlate_proof::{
    book::Book,
    check::Findings,
    cluster::{Cluster, Options},
    delivered::Delivered,
    disguise::Disguise,
    mutation::Mutation,
    plan::{self, Planned},
    readback,
    recording::Recording,
    redis,
    sink::Sink,
    store::Store,
};
use loadgen::{output::note, sender::Sender};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{Arguments, cases::Cases, fault, feed::Feed, report::Report};

/// So long at least copies are sent: shorter, no death would fall between them.
const TIME_MIN: Duration = Duration::from_secs(30);

/// Traces that are read back.
const READ_BACK_MAX: usize = 600;
/// For everything to be closed and delivered after the last request. An endpoint that is back gets within
/// a minute what it has missed.
const QUIET_DEADLINE: Duration = Duration::from_secs(240);

/// Runs the proof; what does not hold is in the report.
///
/// # Errors
/// When it could not be run to its end. Data and logs are kept then, as when something does not hold.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let home = tempfile::Builder::new().prefix("prove-correlate-").tempdir();
    let home = home.context("failed to create a directory for data and logs")?;
    let proven = prove(arguments, home.path()).await;
    if !proven.as_ref().is_ok_and(|report| report.failures().is_empty()) {
        keep(home);
    }
    proven
}

fn keep(home: TempDir) {
    note(&format!("data and logs are kept in {}", home.keep().display()));
}

async fn prove(arguments: &Arguments, home: &Path) -> anyhow::Result<Report> {
    let Arguments { copies, kills, seed, mutate, .. } = *arguments;
    let began = Instant::now();
    let recording = Arc::new(Recording::read(&arguments.dir)?);
    let mut book = Book::default();
    (0..usize::from(copies)).for_each(|copy| book.add(&recording, Disguise::of_copy(seed, copy)));
    let cases = Cases::add_to(&mut book, seed)?;
    let book = Arc::new(book);
    let rows = recording.rows() * usize::from(copies);
    let time = Duration::from_secs_f64(rows as f64 / f64::from(arguments.rate)).max(TIME_MIN);

    let delivered = Arc::new(Delivered::new(&book, mutate));
    let mut sink = Sink::start(Arc::clone(&delivered)).await?;
    let cluster = Cluster::start(home, &sink.url(), Options::default()).await?;
    let targets = cluster.targets();
    let plan = plan::plan(usize::from(copies), recording.requests.len(), time, targets.doors(), seed);
    let (requests, sent) = (usize::from(copies) * recording.requests.len(), plan.len());
    let plan = spoil(plan, mutate);
    note(&format!(
        "seed {seed}: {copies} copies with {rows} spans and logs within {} s, {kills} deaths",
        time.as_secs()
    ));

    let feed = Arc::new(Feed::new(&book, Sender::new(&targets)?, mutate));
    let start = Instant::now();
    let deaths = fault::kills(usize::from(kills), cluster.engines().len(), time, seed);
    let (.., killed) = tokio::try_join!(
        Box::pin(Arc::clone(&feed).run(plan, start, &delivered)),
        Box::pin(cases.run(&feed, &delivered)),
        fault::trouble(&mut sink, start, time),
        Box::pin(fault::kill_engines(&cluster, &deaths, start)),
    )?;
    note("everything is acknowledged, and is waited for until it is closed and delivered");
    let is_all_out = redis::is_quiet_within(cluster.redis(), QUIET_DEADLINE).await?;

    // Nothing is given up before it is acknowledged.
    let everything = |_, _| true;
    let generations = redis::generations(cluster.redis()).await?;
    let (mut findings, late_span_alone, cut_trace_linked) = {
        let pages = delivered.pages();
        let is_counted = |id: &_| !cases.contains(id);
        (
            Findings::of_delivery(&book, &pages, &generations, feed.arrivals(), &everything, is_counted),
            cases.is_late_span_alone(&pages, &generations),
            cases.is_cut_trace_linked(&pages),
        )
    };
    note("what was delivered is compared; the gateways are asked for it");
    let store = Store::new(targets.gateways)?;
    let sample = readback::sample(&book, READ_BACK_MAX, seed);
    let read_back = readback::traces(&book, &store, &sample, &everything, &mut findings).await?;
    let (keys_together, keys) = readback::keys(&book, &store, &everything, &mut findings).await?;
    let ledger_balanced = is_balanced(&store).await;
    findings.examples.iter().for_each(|example| note(example));
    Ok(Report {
        traces: findings.traces,
        complete: findings.complete,
        spans: findings.spans,
        logs: findings.logs,
        missing: findings.missing,
        extra: findings.extra + findings.duplicated,
        closed_twice: findings.closed_twice,
        delivered_at_least_once: is_all_out && findings.missing == 0,
        linked: findings.linked,
        ledger_balanced,
        killed,
        cut_trace_linked,
        late_span_alone,
        second_generation: findings.second_generation,
        redelivered: findings.redelivered,
        endpoint_failures: sink.failed(),
        keys,
        keys_together,
        read_back: read_back.len(),
        requests,
        sent_again: sent - requests,
        seed,
        seconds: began.elapsed().as_secs(),
    })
}

/// Leaves a request out, if that is to be found.
fn spoil(mut plan: Vec<Planned>, mutation: Option<Mutation>) -> Vec<Planned> {
    if mutation == Some(Mutation::LoseRequest)
        && let Some(lost) = plan.first().copied()
    {
        plan.retain(|other| (other.copy, other.sending.request) != (lost.copy, lost.sending.request));
    }
    plan
}

/// Whether the cluster's own account of everything agrees with itself.
async fn is_balanced(store: &Store) -> bool {
    match store.ledger().await {
        Ok(ledger) => {
            note(&format!("ledger: {ledger}"));
            ledger["balanced"].as_bool().unwrap_or_default()
        }
        Err(error) => {
            note(&format!("the ledger cannot be read: {error:#}"));
            false
        }
    }
}
