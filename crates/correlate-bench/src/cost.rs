//! What a whole trace costs, from its first byte in to its last one out.

use std::time::Duration;

use bench_kit::{
    deployment::{Compression, Deployment, Endpoint, Plan, State},
    figure::{Figure, Mark, Unit},
    load::{self, Pace, Request},
    rotel::Rotel,
    run::note,
    sink::Sink,
    statistics::{median, micros},
    traffic::Shape,
};

use crate::scale::Scale;

/// Decides all ids and names.
const SEED: u64 = 452;
/// One of so many spans is sent before the meter runs: connections, threads and buffers are there when
/// it does.
const WARMING_SHARE: usize = 10;
/// Requests on their way at once, as in the other benchmarks.
const AT_ONCE: usize = 16;

/// What traces pass through.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject {
    Engine { state: State, compression: Compression },
    Rotel(Compression),
}

/// One that runs.
enum Running {
    Engine(Box<Deployment>),
    Rotel(Box<Rotel>),
}

/// CPU until now.
#[derive(Debug, Clone, Copy)]
struct Used {
    program: Duration,
    redis: Duration,
}

/// CPU for each span, of everything that takes part but client and endpoint; every repetition has
/// processes of its own.
pub(crate) async fn measure(
    scale: &Scale,
    subject: &Subject,
    mark_us: Option<f64>,
) -> anyhow::Result<Vec<Figure>> {
    let mut warming = load::whole(SEED, Shape::TOGETHER, scale.spans + scale.spans / WARMING_SHARE);
    let requests = warming.split_off(warming.len() / (WARMING_SHARE + 1));
    let (mut program, mut redis, mut repeated) = (Vec::new(), Vec::new(), 0);
    for _ in 0..scale.repetitions {
        let sink = Sink::start()?;
        let running = Running::start(subject, sink.url()).await?;
        running.pass(&sink, &warming).await?;
        let before = running.used()?;
        running.pass(&sink, &requests).await?;
        let after = running.used()?;
        repeated += sink.repeated(&requests)?;
        let spans: usize = requests.iter().map(|request| request.spans).sum();
        let per_span = |used: Duration| micros(used) / spans as f64;
        program.push(per_span(after.program - before.program));
        redis.push(per_span(after.redis - before.redis));
        note(&format!(
            "{subject:?}: {:.2} µs per span, and {:.2} in Redis",
            per_span(after.program - before.program),
            per_span(after.redis - before.redis)
        ));
    }
    let all = program.iter().zip(&redis).map(|(program, redis)| program + redis).collect();
    let figure = |name, values| Figure::new(name, Unit::Microseconds, median(values));
    let mut figures = vec![figure("CPU per span", all)];
    if let Some(mark_us) = mark_us {
        figures[0].mark = Some(Mark::AtMost(mark_us));
    }
    if redis.iter().any(|us| *us > 0.0) {
        figures.extend([figure("of it in the engine", program), figure("of it in Redis", redis)]);
    }
    figures.push(Figure::new("spans that came twice, in all", Unit::Count, repeated as f64));
    Ok(figures)
}

impl Running {
    async fn start(subject: &Subject, url: String) -> anyhow::Result<Self> {
        Ok(match *subject {
            Subject::Engine { state, compression } => {
                let plan = Plan { endpoint: Some(Endpoint { url, compression }), ..Plan::new(state) };
                Self::Engine(Box::new(Deployment::start(&plan).await?))
            }
            Subject::Rotel(compression) => {
                Self::Rotel(Box::new(Rotel::start(Some(&Endpoint { url, compression })).await?))
            }
        })
    }

    /// Sends requests, and waits until they have come out and nothing is left to be done for them.
    async fn pass(&self, sink: &Sink, requests: &[Request]) -> anyhow::Result<()> {
        let url = match self {
            Self::Engine(deployment) => deployment.engine().url(),
            Self::Rotel(rotel) => rotel.url(),
        };
        load::send(&url, requests, Pace::AtOnce(AT_ONCE)).await?;
        sink.wait_for(requests).await?;
        match self {
            // Noted in the store, too.
            Self::Engine(deployment) => deployment.engine().wait_metric("delivery_in_flight_events 0").await,
            Self::Rotel(_) => Ok(()),
        }
    }

    fn used(&self) -> anyhow::Result<Used> {
        Ok(match self {
            Self::Engine(deployment) => {
                Used { program: deployment.engines_cpu()?, redis: deployment.redis_cpu()? }
            }
            Self::Rotel(rotel) => Used { program: rotel.cpu()?, redis: Duration::ZERO },
        })
    }
}
