//! `loadgen demo` and `loadgen show`: one correlation as a tree for people.

use anyhow::Context as _;
use clap::Args;
use otlp_codec::forest::Forest;
use prost::Message as _;

use crate::{
    output::{note, result},
    send::{Load, SourceArguments},
    store::{Correlation, Store},
    targets::TargetArguments,
    traffic::{TraceOutline, Traffic},
    tree,
};

/// Enough to see some failures: 300 traces.
const DEMO_LOAD: Load = Load { batches: 30, traces_per_second: None, concurrency: 16 };

/// Sends 300 traces of seeded traffic and shows one correlation as a tree
#[derive(Debug, Args)]
pub struct DemoArguments {
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    targets: TargetArguments,
}

/// Shows one correlation as a tree of its spans and logs
#[derive(Debug, Args)]
pub struct ShowArguments {
    /// Trace id as 32 hexadecimal digits, or key=value
    id: String,
    #[command(flatten)]
    targets: TargetArguments,
}

/// Runs `demo`.
///
/// # Errors
/// When traffic could not be sent or the correlation is not there.
pub async fn run(arguments: &DemoArguments) -> anyhow::Result<()> {
    let targets = arguments.targets.resolve()?;
    let traffic = arguments.source.traffic()?;
    let doors = targets.doors();
    note(&format!(
        "sending over gRPC (engines: {}) and over HTTP (gateways: {}), half each, as protobuf and JSON",
        doors.engines, doors.gateways
    ));
    DEMO_LOAD.send(&traffic, &targets).await?;

    let chosen = most_interesting(&traffic).context("traffic has traces")?;
    let store = Store::new(&targets)?;
    let drawing = draw(&store, &chosen.trace_id).await?;
    let (count, state) = store.count().await?;
    note(&format!("the store ({state}) holds {count} correlations; this is one of them:\n"));
    result(&drawing);
    note("More:");
    note(&format!("  just show {}", chosen.trace_id));
    if let Some(gateway) = targets.gateways.first() {
        note(&format!("  curl -s '{gateway}/api/v1/correlations?limit=5'"));
        note(&format!("  curl -s '{gateway}/api/v1/correlations/{}'", chosen.trace_id));
    }
    note("  just status");
    Ok(())
}

/// Runs `show`.
///
/// # Errors
/// When the correlation is not there.
pub async fn show(arguments: &ShowArguments) -> anyhow::Result<()> {
    let store = Store::new(&arguments.targets.resolve()?)?;
    result(&draw(&store, &arguments.id).await?);
    Ok(())
}

async fn draw(store: &Store, id: &str) -> anyhow::Result<String> {
    let Correlation { summary, traces, logs } = store
        .get(id)
        .await?
        .with_context(|| format!("the correlation {id} is not in the store; it may have expired"))?;
    let (traces, logs) = (traces.encode_to_vec(), logs.encode_to_vec());
    let forest = Forest::read(&traces, &logs).context("the correlation cannot be read")?;
    Ok(tree::draw(&summary, &forest))
}

/// The largest of the traces with an error, or of all when there is none.
fn most_interesting(traffic: &Traffic) -> Option<TraceOutline> {
    let traces = (0..DEMO_LOAD.batches).flat_map(|number| traffic.batch(number).traces);
    traces.max_by_key(|outline| (outline.has_error, outline.spans))
}
