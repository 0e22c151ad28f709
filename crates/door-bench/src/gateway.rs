//! A gateway before one engine: what it uses for each span, and how much later answers come.

use std::{sync::Arc, time::Duration};

use bench_kit::{
    cpu,
    figure::{Figure, Mark, Unit},
    statistics::{median, quantile},
};
use bytes::Bytes;
use testbed::{EngineOptions, EngineProcess, GatewayOptions, GatewayProcess};

use crate::{
    client::{Door, per_span, send_all},
    requests::{self, Shape},
    scale::Scale,
};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// Requests of 1,000 spans that are made; they are sent again and again. To the gateway it is the
/// same whether the engine knows them.
const SPANS: usize = 50_000;
/// Single requests that are sent before latencies count.
const WARMING: usize = 100;

/// CPU of the gateway for each span, protobuf.
pub(crate) async fn protobuf(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    cost(scale, requests::protobuf(Shape::LARGE, SPANS), PROTOBUF, 0.5).await
}

/// CPU of the gateway for each span, JSON.
pub(crate) async fn json(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    cost(scale, requests::to_json(&requests::protobuf(Shape::LARGE, SPANS))?, JSON, 3.0).await
}

async fn cost(
    scale: &Scale,
    requests: Vec<Bytes>,
    content_type: &'static str,
    mark_us: f64,
) -> anyhow::Result<Vec<Figure>> {
    let requests = Arc::new(requests);
    let passes = scale.spans.div_ceil(SPANS);
    let (mut costs, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..scale.repetitions {
        let Pair { gateway, .. } = &Pair::start().await?;
        let door = [Door::of_gateway(&gateway.url(), content_type)?];
        send_all(&door, &requests).await?;
        let before = cpu::of_process(gateway.process().pid())?;
        let mut wall = Duration::ZERO;
        for _ in 0..passes {
            wall += send_all(&door, &requests).await?;
        }
        let used = cpu::of_process(gateway.process().pid())?.saturating_sub(before);
        let (cost, rate) = per_span(used, wall, passes * SPANS);
        costs.push(cost);
        rates.push(rate);
    }
    Ok(vec![
        Figure::new("CPU of the gateway per span", Unit::Microseconds, median(costs))
            .with_mark(Mark::AtMost(mark_us)),
        Figure::new("spans per second", Unit::PerSecond, median(rates)),
        Figure::new("requests in a repetition", Unit::Count, (passes * requests.len()) as f64),
    ])
}

/// How much later answers come through the gateway than straight from the engine.
///
/// The two ways take turns with requests of their own, so that all spans are new to the engine and
/// both meet the same machine.
pub(crate) async fn latency(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let spans = 2 * (WARMING + scale.single_requests) * Shape::SMALL.traces * Shape::SMALL.spans;
    let requests = requests::protobuf(Shape::SMALL, spans);
    let [mut straight_p50s, mut through_p50s, mut added_p50s, mut added_p99s] = [const { Vec::new() }; 4];
    for _ in 0..scale.repetitions {
        let Pair { engine, gateway } = &Pair::start().await?;
        let mut straight = Door::of_engine(&engine.url())?.swap_remove(0);
        let mut through = Door::of_gateway(&gateway.url(), PROTOBUF)?;
        let [mut straight_times, mut through_times] = [const { Vec::new() }; 2];
        for (index, pair) in requests.chunks_exact(2).enumerate() {
            let times =
                (straight.send_timed(pair[0].clone()).await?, through.send_timed(pair[1].clone()).await?);
            if index >= WARMING {
                straight_times.push(times.0);
                through_times.push(times.1);
            }
        }
        straight_times.sort_unstable();
        through_times.sort_unstable();
        let added = |share| quantile(&through_times, share) - quantile(&straight_times, share);
        straight_p50s.push(quantile(&straight_times, 0.5));
        through_p50s.push(quantile(&through_times, 0.5));
        added_p50s.push(added(0.5));
        added_p99s.push(added(0.99));
    }
    Ok(vec![
        Figure::new("added p50", Unit::Microseconds, median(added_p50s)).with_mark(Mark::AtMost(300.0)),
        Figure::new("added p99", Unit::Microseconds, median(added_p99s)).with_mark(Mark::AtMost(1_000.0)),
        Figure::new("straight p50", Unit::Microseconds, median(straight_p50s)),
        Figure::new("through p50", Unit::Microseconds, median(through_p50s)),
        Figure::new("requests each way in a repetition", Unit::Count, scale.single_requests as f64),
    ])
}

/// A gateway and the engine behind it.
struct Pair {
    engine: EngineProcess,
    gateway: GatewayProcess,
}

impl Pair {
    async fn start() -> anyhow::Result<Self> {
        let engine = EngineProcess::start(EngineOptions::default()).await?;
        let options = GatewayOptions { engines: vec![engine.url()], ..GatewayOptions::default() };
        Ok(Self { gateway: GatewayProcess::start(options).await?, engine })
    }
}
