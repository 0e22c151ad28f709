//! The same requests into Rotel, a stateless forwarder, and into an engine: rate, CPU and memory, and what is
//! gone of what was acknowledged when the process is killed.

use std::time::Duration;

use anyhow::ensure;
use bench_kit::{
    deployment::{Compression, Deployment, Endpoint, Plan, State},
    figure::{Figure, Mark, Unit},
    load::{self, Pace, Request},
    rotel::Rotel,
    run::note,
    sink::Sink,
    statistics::median,
    traffic,
};
use testbed::Process;
use tokio::time::{Instant, sleep};

use crate::{
    generator::{self, Load, Protocol, Report, Shape, named},
    readback::kept,
    scale::Scale,
};

/// Decides all ids and names; each load has the next one.
const SEED: u64 = 5_000;
const SHAPE: Shape = Shape { request_spans: 1_000, trace_spans: 10 };
const IN_FLIGHT: usize = 16;
/// Everything is kept for a minute, and more memory is allowed than comes in meanwhile.
const SETTINGS: [(&str, &str); 2] = [("correlation.ttl_seconds", "60"), ("memory.bytes_max", "17179869184")];

/// Before it is killed: 50,000 spans in a second, a part of what any of them can take.
const KILLED_SHAPE: traffic::Shape = traffic::Shape { traces: 10, spans: 10, requests: 1 };
const REQUESTS_PER_SECOND: f64 = 500.0;
/// Requests that are sent in all, and before the kill.
const REQUESTS: usize = 1_500;
const KILLED_AFTER: Duration = Duration::from_millis(1_500);
/// When an endpoint gets nothing for so long, nothing is on its way any more.
const CALM: Duration = Duration::from_secs(1);
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What is compared, as it is told.
pub(crate) const SUBJECTS: [&str; 6] = [
    "Rotel discards",
    "Rotel forwards",
    "engine in memory",
    "engine in memory, delivers",
    "engine with Redis Cluster",
    "engine with Redis Cluster, delivers",
];

/// What takes the requests.
#[derive(Debug, Clone, Copy)]
enum Subject {
    RotelDiscarding,
    RotelForwarding,
    Engine { state: State, is_delivered: bool },
}

/// One that runs.
enum Running {
    Rotel(Box<Rotel>),
    Engine(Box<Deployment>),
}

/// Rate, CPU and memory, of each.
pub(crate) async fn cost(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let engine = |state, is_delivered| Subject::Engine { state, is_delivered };
    let subjects = [
        Subject::RotelDiscarding,
        Subject::RotelForwarding,
        engine(State::Memory, false),
        engine(State::Memory, true),
        engine(State::Cluster, false),
        engine(State::Cluster, true),
    ];
    let mut figures = Vec::new();
    for (text, subject) in SUBJECTS.into_iter().zip(subjects) {
        let (mut reports, mut delivered) = (Vec::new(), Vec::new());
        for seed in 0..scale.repetitions as u64 {
            let sink = Sink::start()?;
            let running = Running::start(subject, &sink).await?;
            let report = running.send(SEED + seed, scale).await?;
            delivered.push(sink.spans() as f64 / (scale.warmup + scale.time).as_secs_f64());
            note(&format!(
                "{text}: {:.0} spans/s, {:.2} µs per span, {:.0} MiB",
                report.spans_per_second,
                report.cpu_us(""),
                report.rss_bytes("") / f64::from(1 << 20)
            ));
            reports.push(report);
        }
        let of = |figure: fn(&Report) -> f64| median(reports.iter().map(figure).collect());
        let name = |figure| format!("{text}: {figure}");
        figures.extend([
            Figure::new(name("spans per second"), Unit::PerSecond, of(|report| report.spans_per_second)),
            Figure::new(name("CPU per span"), Unit::Microseconds, of(|report| report.cpu_us(""))),
            Figure::new(name("most memory"), Unit::Bytes, of(|report| report.rss_bytes(""))),
        ]);
        if matches!(subject, Subject::RotelForwarding | Subject::Engine { is_delivered: true, .. }) {
            let name = name("spans that reached the endpoint meanwhile, per second");
            figures.push(Figure::new(name, Unit::PerSecond, median(delivered)));
        }
        let refused = reports.iter().map(Report::disturbed).sum::<u64>();
        figures.push(Figure::new(name("requests refused, in all"), Unit::Count, refused as f64));
    }
    Ok(figures)
}

/// Spans that were acknowledged and are nowhere after SIGKILL.
pub(crate) async fn kill(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let engine = |state| Subject::Engine { state, is_delivered: false };
    let subjects = [
        ("Rotel forwards", Subject::RotelForwarding, None),
        ("engine in memory", engine(State::Memory), None),
        ("engine with Redis Cluster", engine(State::Cluster), Some(Mark::AtMost(0.0))),
    ];
    let mut figures = Vec::new();
    for (text, subject, mark) in subjects {
        let (mut acknowledged, mut lost) = (Vec::new(), Vec::new());
        for seed in 0..scale.repetitions as u64 {
            let requests = load::whole(SEED + seed, KILLED_SHAPE, REQUESTS * 100);
            let sink = Sink::start()?;
            let running = Running::start(subject, &sink).await?;
            let acknowledged_requests = running.killed_under(&requests).await?;
            let spans: usize = acknowledged_requests.iter().map(|request| request.spans).sum();
            let found = running.found(&acknowledged_requests, &sink).await?;
            note(&format!("{text}: {found} of {spans} acknowledged spans are there after SIGKILL"));
            acknowledged.push(spans as f64);
            lost.push(spans.saturating_sub(found) as f64);
        }
        let name = |figure| format!("{text}: {figure}");
        figures.push(Figure::new(name("acknowledged spans"), Unit::Count, median(acknowledged)));
        // What is lost once must not vanish in a median.
        let (figure, value) = match mark {
            Some(_) => ("lost of them, in all", lost.iter().sum()),
            None => ("lost of them", median(lost)),
        };
        figures.push(Figure { mark, ..Figure::new(name(figure), Unit::Count, value) });
    }
    Ok(figures)
}

impl Running {
    async fn start(subject: Subject, sink: &Sink) -> anyhow::Result<Self> {
        let endpoint = || Endpoint { url: sink.url(), compression: Compression::None };
        Ok(match subject {
            Subject::RotelDiscarding => Self::Rotel(Box::new(Rotel::start(None).await?)),
            Subject::RotelForwarding => Self::Rotel(Box::new(Rotel::start(Some(&endpoint())).await?)),
            Subject::Engine { state, is_delivered } => {
                let endpoint = is_delivered.then(endpoint);
                let plan = Plan { endpoint, ..Plan::new(state) }.with(&SETTINGS);
                Self::Engine(Box::new(Deployment::start(&plan).await?))
            }
        })
    }

    async fn send(&self, seed: u64, scale: &Scale) -> anyhow::Result<Report> {
        let load = Load {
            targets: vec![self.url()],
            protocol: Protocol::Grpc,
            shape: SHAPE,
            pace: generator::Pace::Max { in_flight: IN_FLIGHT },
            warmup: scale.warmup,
            time: scale.time,
            seed,
            processes: match self {
                Self::Rotel(rotel) => named([rotel.process()]),
                Self::Engine(deployment) => {
                    let redis = deployment.nodes().iter().map(|node| node.process());
                    named(redis.chain([deployment.engine().process()]))
                }
            },
        };
        load.send().await
    }

    fn url(&self) -> String {
        match self {
            Self::Rotel(rotel) => rotel.url(),
            Self::Engine(deployment) => deployment.engine().url(),
        }
    }

    fn process(&self) -> &Process {
        match self {
            Self::Rotel(rotel) => rotel.process(),
            Self::Engine(deployment) => deployment.engine().process(),
        }
    }

    /// Kills it while requests come; answers those that were acknowledged.
    async fn killed_under<'a>(&self, requests: &'a [Request]) -> anyhow::Result<Vec<&'a Request>> {
        let url = self.url();
        let sending = load::offer(&url, requests, Pace::PerSecond(REQUESTS_PER_SECOND));
        let killing = async {
            sleep(KILLED_AFTER).await;
            self.process().kill()
        };
        let (sent, killed) = tokio::join!(sending, killing);
        killed?;
        let sent = sent?;
        let acknowledged = requests.iter().zip(&sent).filter(|(_, sent)| sent.answer.is_ok());
        let acknowledged: Vec<_> = acknowledged.map(|(request, _)| request).collect();
        ensure!(!acknowledged.is_empty(), "nothing was acknowledged before the kill");
        ensure!(acknowledged.len() < requests.len(), "all was acknowledged before the kill");
        Ok(acknowledged)
    }

    /// Spans of these requests that are somewhere: at the endpoint of a forwarder, or to be read once the
    /// engine is started again.
    async fn found(&self, requests: &[&Request], sink: &Sink) -> anyhow::Result<usize> {
        match self {
            Self::Rotel(_) => {
                calm(sink).await?;
                Ok(sink.come(requests.iter().copied()))
            }
            Self::Engine(deployment) => {
                deployment.engine().restart().await?;
                let gateway = deployment.gateway().await?;
                kept(&gateway.url(), requests.iter().flat_map(|request| &request.traces)).await
            }
        }
    }
}

/// Waits until the endpoint gets nothing any more.
async fn calm(sink: &Sink) -> anyhow::Result<()> {
    let (begin, mut seen, mut since) = (Instant::now(), sink.spans(), Instant::now());
    while since.elapsed() < CALM {
        ensure!(begin.elapsed() < PATIENCE, "the endpoint still gets spans after {PATIENCE:?}");
        sleep(LOOK_INTERVAL).await;
        let now = sink.spans();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
    Ok(())
}
