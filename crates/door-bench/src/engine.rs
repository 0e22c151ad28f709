//! An engine with its state in memory: what it uses for each span that comes in by gRPC.

use std::sync::Arc;

use bench_kit::{
    cpu,
    figure::{Figure, Mark, Unit},
    statistics::median,
};
use testbed::{EngineOptions, EngineProcess};

use crate::{
    client::{Door, per_span, send_all},
    requests::{self, Shape},
    scale::Scale,
};

/// One of so many requests is sent before the meter runs: connections, threads and buffers are
/// there when it does.
const WARMING_SHARE: usize = 10;

/// CPU of the engine for each span; every repetition has an engine of its own, so that all spans
/// are new to it.
pub(crate) async fn cost(
    scale: &Scale,
    shape: Shape,
    spans: usize,
    mark_us: f64,
) -> anyhow::Result<Vec<Figure>> {
    let mut warming = requests::protobuf(shape, spans + spans / WARMING_SHARE);
    let requests = Arc::new(warming.split_off(warming.len() / (WARMING_SHARE + 1)));
    let warming = Arc::new(warming);
    let spans = requests.len() * shape.traces * shape.spans;
    let (mut costs, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..scale.repetitions {
        let engine = EngineProcess::start(EngineOptions::default()).await?;
        let doors = Door::of_engine(&engine.url())?;
        send_all(&doors, &warming).await?;
        let before = cpu::of_process(engine.process().pid())?;
        let wall = send_all(&doors, &requests).await?;
        let used = cpu::of_process(engine.process().pid())?.saturating_sub(before);
        let (cost, rate) = per_span(used, wall, spans);
        costs.push(cost);
        rates.push(rate);
    }
    Ok(vec![
        Figure::new("CPU of the engine per span", Unit::Microseconds, median(costs))
            .with_mark(Mark::AtMost(mark_us)),
        Figure::new("spans per second", Unit::PerSecond, median(rates)),
        Figure::new("requests in a repetition", Unit::Count, requests.len() as f64),
    ])
}
