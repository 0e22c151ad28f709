//! Four times the load that a door can take: what still comes through, in how much memory.
//!
//! What is measured has one core and the client another: a client that shared a core with it would
//! take away with each further request what it measures.

mod client;
mod doors;
mod load;

use std::{io::Write as _, sync::Arc};

use anyhow::Context as _;
use bench_kit::{
    cores::Divided,
    cpu,
    figure::{Figure, Mark, Unit},
    memory,
    run::note,
    statistics::{median, quantile},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use tokio::time::sleep;

use crate::{
    requests::{self, Shape},
    scale::Scale,
};
use doors::Doors;
use load::{Load, Offered};

pub(crate) use doors::Way;

/// Requests on their way when the peak is looked for: three of four that are let in.
const AT_ONCE: usize = doors::REQUESTS_IN_FLIGHT_MAX * 3 / 4;
/// How much is offered, of the most that could be taken.
const OVERLOAD: f64 = 4.0;
/// For so many spans requests are made; they are sent again and again.
const SPANS: usize = 50_000;

/// What one repetition has found; rates are of requests.
struct Found {
    peak: f64,
    goodput: f64,
    sent: f64,
    /// What the process took at most, in bytes.
    memory: Memory,
    p99_us: f64,
    /// Of its core.
    client_share: f64,
    refused: usize,
    failed: usize,
}

struct Memory {
    at_peak: f64,
    first_half: f64,
    second_half: f64,
}

/// Finds the peak, offers four times as much, and looks for the peak again.
pub(crate) async fn measure(scale: &Scale, way: Way) -> anyhow::Result<Vec<Figure>> {
    let compressed = compressed()?;
    let divided = Divided::begin()?;
    let mut found = Vec::new();
    for _ in 0..scale.repetitions {
        let doors = Doors::start(&divided, way).await?;
        found.push(repetition(scale, &doors, &compressed).await?);
    }
    let of = |figure: fn(&Found) -> f64| median(found.iter().map(figure).collect());
    let all = |figure: fn(&Found) -> usize| found.iter().map(figure).sum::<usize>() as f64;
    let spans = (Shape::LARGE.traces * Shape::LARGE.spans) as f64;
    Ok(vec![
        Figure::new("goodput, of the peak", Unit::Share, of(|it| it.goodput / it.peak))
            .with_mark(Mark::AtLeast(0.8)),
        Figure::new("peak, spans per second", Unit::PerSecond, spans * of(|it| it.peak)),
        Figure::new("offered, of the peak", Unit::Times, of(|it| it.sent / it.peak))
            .with_mark(Mark::AtLeast(3.9)),
        Figure::new("most memory, of that at the peak", Unit::Share, of(|it| it.memory.over_peak()))
            .with_mark(Mark::AtMost(1.25)),
        Figure::new("in the second half, of the first", Unit::Share, of(|it| it.memory.over_first_half()))
            .with_mark(Mark::AtMost(1.05)),
        Figure::new("most memory", Unit::Bytes, of(|it| it.memory.most())),
        Figure::new("p99 of what is accepted", Unit::Microseconds, of(|it| it.p99_us)),
        Figure::new("refused and told when to come back, in all", Unit::Count, all(|it| it.refused)),
        Figure::new("answered in any other way, in all", Unit::Count, all(|it| it.failed))
            .with_mark(Mark::AtMost(0.0)),
        Figure::new("the client took, of its core", Unit::Share, of(|it| it.client_share)),
    ])
}

/// As the Collector sends them.
fn compressed() -> anyhow::Result<Vec<Bytes>> {
    let gzip = |request: Bytes| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&request)?;
        anyhow::Ok(Bytes::from(encoder.finish()?))
    };
    requests::protobuf(Shape::LARGE, SPANS).into_iter().map(gzip).collect()
}

async fn repetition(scale: &Scale, doors: &Doors, compressed: &[Bytes]) -> anyhow::Result<Found> {
    let load = Arc::new(Load::new(doors.connect().await?, compressed));
    let pid = doors.pid();
    // Connections, buffers and all spans are there when it begins.
    load.saturate(AT_ONCE, scale.peak_time / 2).await?;
    memory::forget_peak(pid)?;
    let before = load.saturate(AT_ONCE, scale.peak_time).await?;
    let at_peak = memory::peak_of(pid)?;

    memory::forget_peak(pid)?;
    let half = scale.overload_time / 2;
    let first_half = async {
        sleep(half).await;
        let peak = memory::peak_of(pid)?;
        memory::forget_peak(pid)?;
        anyhow::Ok(peak)
    };
    let client = cpu::of_this_process()?;
    let (offered, first_half) = tokio::join!(load.offer(OVERLOAD * before, scale.overload_time), first_half);
    let client = cpu::of_this_process()?.saturating_sub(client);
    let (Offered { sent, mut accepted, refused, failed, failure }, first_half) = (offered?, first_half?);
    let second_half = memory::peak_of(pid)?;
    if let Some(failure) = failure {
        note(&format!("the first of {failed} that failed: {failure:#}"));
    }

    let after = load.saturate(AT_ONCE, scale.peak_time).await.context("after the overload")?;
    let per_second = |count: usize| count as f64 / scale.overload_time.as_secs_f64();
    accepted.sort_unstable();
    let [at_peak, first_half, second_half] = [at_peak, first_half, second_half].map(|it| it as f64);
    Ok(Found {
        // Whatever else the machine does meanwhile, it does to both.
        peak: f64::midpoint(before, after),
        goodput: per_second(accepted.len()),
        sent: per_second(sent),
        memory: Memory { at_peak, first_half, second_half },
        p99_us: quantile(&accepted, 0.99),
        client_share: client.as_secs_f64() / scale.overload_time.as_secs_f64(),
        refused,
        failed,
    })
}

impl Memory {
    fn most(&self) -> f64 {
        self.first_half.max(self.second_half)
    }

    fn over_peak(&self) -> f64 {
        self.most() / self.at_peak
    }

    fn over_first_half(&self) -> f64 {
        self.second_half / self.first_half
    }
}
