//! The rollout guide (`docs/rollout.md`), each step under load: from one engine in memory to several on Redis,
//! onwards, and back.
//!
//! * `step` is each step as an operator does it, on a `site`;
//! * `load` sends `traffic` meanwhile, and `ledger` knows what was acknowledged and what came of it;
//! * `compare` says after each step whether anything failed or is lost.

mod compare;
mod ledger;
mod load;
mod site;
mod step;
mod traffic;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Context as _;
use correlate_proof::{sink::Sink, store::Store};
use loadgen::{output::note, sender::Sender};
use tokio::{task::JoinSet, time::Instant};

use crate::stage::Run;
use compare::Compared;
use ledger::Ledger;
use load::Load;
use site::Site;
use step::Step;
use traffic::Traffic;

/// Decides ids and with them the engines of traces.
const SEED: u64 = 7;

/// What all steps work on.
#[derive(Debug)]
struct Rollout {
    site: Site,
    load: Arc<Load>,
    ledger: Arc<Ledger>,
    /// The query API of the gateways.
    store: Store,
    /// What was begun before this pair may be in the memory of an engine that has ended: it is delivered, and
    /// cannot be read any more.
    readable_from: u64,
}

pub(crate) async fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    run.report.rollout_steps = Step::ALL.len() as u64;
    let ledger = Arc::new(Ledger::new(Traffic { seed: SEED }));
    let sink = Sink::start(Arc::clone(&ledger)).await?;
    let site = Site::start(run.home, &sink.url()).await?;
    let doors = site.doors();
    let load = Arc::new(Load::new(&ledger, Sender::new(&doors)?, doors.gateways.len()));
    let store = Store::new(doors.gateways)?;
    let mut rollout =
        Rollout { site, load: Arc::clone(&load), ledger: Arc::clone(&ledger), store, readable_from: 0 };

    let stop = Arc::new(AtomicBool::new(false));
    let mut loading = JoinSet::new();
    loading.spawn(Arc::clone(&load).run(Arc::clone(&stop)));
    let mut unread = 0;
    for (step, number) in Step::ALL.into_iter().zip(1..) {
        let (mark, began) = (rollout.mark(), Instant::now());
        // Boxed: everything that steps do is one future.
        let seen = Box::pin(step.take(&mut rollout)).await;
        let Compared { words, unread: of_step, differences } = rollout.compare(mark).await?;
        unread += of_step;
        let took = began.elapsed().as_secs();
        note(&format!("{number} of {}, {}: {words}; {took} s", Step::ALL.len(), step.name()));
        differences.iter().for_each(|difference| run.fail(step.name(), difference));
        match seen {
            Ok(seen) => note(&format!("  {seen}")),
            Err(error) => {
                // The next steps begin where this one should have ended.
                run.fail(step.name(), &format!("{error:#}"));
                break;
            }
        }
        run.report.rollout_steps_passed += u64::from(differences.is_empty());
    }
    stop.store(true, Ordering::Relaxed);
    loading.join_next().await.context("the load has ended before")???;

    let tally = load.tally();
    run.report.requests = tally.requests;
    run.report.requests_failed = tally.failed;
    load.examples().iter().for_each(|example| note(&format!("failed request: {example}")));
    run.report.acknowledged = ledger.count();
    run.report.acknowledged_lost = rollout.wait_delivered(0..ledger.next()).await.0 + unread;
    if run.report.acknowledged_lost > 0 {
        run.fail("end", "something that was acknowledged is lost");
    }
    Ok(())
}
