//! The engine beside what it replaces: requests of one trace in a second, and what two writers to one trace
//! leave of it.

use std::time::Duration;

use anyhow::ensure;
use bench_kit::{
    deployment::{Deployment, Plan, State},
    figure::{Figure, Mark, Unit},
    run::note,
    statistics::median,
};
use futures::future::try_join_all;
use reqwest::header::CONTENT_TYPE;
use testbed::{EngineProcess, Process};

use crate::{
    case::ALONE,
    generator::{Load, Pace, Protocol, Report, named},
    readback::kept,
    scale::Scale,
    stand_in::StandIn,
};

/// Decides all ids and names; each load has the next one.
const SEED: u64 = 5_100;
/// On their way at once, over all instances.
const IN_FLIGHT: usize = 64;
/// Everything is kept for a minute, and more memory is allowed than comes in meanwhile.
const SETTINGS: [(&str, &str); 2] = [("correlation.ttl_seconds", "60"), ("memory.bytes_max", "17179869184")];
/// Writers to one trace, each at an instance of its own.
const WRITERS: usize = 2;
const TIMEOUT: Duration = Duration::from_secs(10);

/// A row of the table that came with what is replaced.
struct Given {
    text: &'static str,
    instances: usize,
    has_redis: bool,
    requests_per_second: f64,
}

const GIVEN: [Given; 4] = [
    Given { text: "1 in memory", instances: 1, has_redis: false, requests_per_second: 1_000.0 },
    Given { text: "1 with Redis", instances: 1, has_redis: true, requests_per_second: 900.0 },
    Given { text: "3 with Redis", instances: 3, has_redis: true, requests_per_second: 2_700.0 },
    Given { text: "10 with Redis", instances: 10, has_redis: true, requests_per_second: 9_000.0 },
];

pub(crate) const SETUPS: [&str; 4] = [GIVEN[0].text, GIVEN[1].text, GIVEN[2].text, GIVEN[3].text];
pub(crate) const TABLE: &str = "given table";
pub(crate) const STAND_IN: &str = "stand-in";
pub(crate) const JSON: &str = "engine, JSON through a gateway";
pub(crate) const GRPC: &str = "engine, gRPC";
pub(crate) const RATE: &str = "requests per second";

/// Requests of one trace in a second, and CPU of each: the given figure, the stand-in, the engine.
pub(crate) async fn rates(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for given in &GIVEN {
        let told = |who: &str, figure: &str| format!("{}, {who}: {figure}", given.text);
        let mut add = |who: &str, reports: &[Report]| {
            let of = |figure: fn(&Report) -> f64| median(reports.iter().map(figure).collect());
            let rate = of(Report::requests_per_second);
            figures.push(Figure::new(told(who, RATE), Unit::PerSecond, rate));
            let cpu = of(|report| report.cpu_us("")) * ALONE.request_spans as f64;
            figures.push(Figure::new(told(who, "CPU per request"), Unit::Microseconds, cpu));
            rate
        };
        let stand_in = StandIn::start(given.instances, given.has_redis).await?;
        let reports = send(stand_in.urls(), Protocol::HttpJson, stand_in.processes(), scale).await?;
        drop(stand_in);
        let replaced = add(STAND_IN, &reports);
        let state = if given.has_redis { State::Single } else { State::Memory };
        let plan = Plan { engines: given.instances, ..Plan::new(state) }.with(&SETTINGS);
        let deployment = Deployment::start(&plan).await?;
        let engines = || deployment.engines().iter().map(EngineProcess::process);
        let redis = || deployment.nodes().iter().map(|node| node.process());
        let gateway = deployment.gateway().await?;
        let processes = engines().chain(redis()).chain([gateway.process()]);
        let json = add(JSON, &send(vec![gateway.url()], Protocol::HttpJson, processes, scale).await?);
        let urls = deployment.engines().iter().map(EngineProcess::url).collect();
        add(GRPC, &send(urls, Protocol::Grpc, engines().chain(redis()), scale).await?);
        figures.push(Figure::new(told(TABLE, RATE), Unit::PerSecond, given.requests_per_second));
        figures.push(Figure::new(told(JSON, "of the stand-in"), Unit::Times, json / replaced));
    }
    Ok(figures)
}

async fn send(
    targets: Vec<String>,
    protocol: Protocol,
    processes: impl IntoIterator<Item = &Process>,
    scale: &Scale,
) -> anyhow::Result<Vec<Report>> {
    let processes = named(processes);
    let mut reports = Vec::new();
    for repetition in 0..scale.repetitions as u64 {
        let load = Load {
            targets: targets.clone(),
            protocol,
            shape: ALONE,
            pace: Pace::Max { in_flight: IN_FLIGHT },
            warmup: if repetition == 0 { scale.warmup } else { scale.rewarmup },
            time: scale.time,
            // What came over the other door must not come again.
            seed: SEED + 100 * protocol as u64 + repetition,
            processes: processes.clone(),
        };
        let report = load.send().await?;
        note(&format!(
            "{} × {protocol:?}: {:.0} requests/s, {} disturbed",
            targets.len(),
            report.requests_per_second(),
            report.disturbed()
        ));
        reports.push(report);
    }
    Ok(reports)
}

/// Spans of a trace that are kept when two writers send them one by one, each to an instance of its own.
pub(crate) async fn updates(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let (mut stand_ins, mut engines) = (Vec::new(), Vec::new());
    let all = WRITERS * scale.writes;
    for repetition in 0..scale.repetitions {
        let stand_in = StandIn::start(WRITERS, true).await?;
        stand_ins.push(write(&stand_in.urls(), scale.writes, repetition).await?);
        drop(stand_in);
        let plan = Plan { engines: WRITERS, ..Plan::new(State::Single) };
        let deployment = Deployment::start(&plan).await?;
        let gateways = try_join_all(deployment.engines().chunks(1).map(Deployment::gateway_of)).await?;
        let urls: Vec<String> = gateways.iter().map(|gateway| gateway.url()).collect();
        engines.push(write(&urls, scale.writes, repetition).await?);
        let kept = (stand_ins[repetition], engines[repetition]);
        note(&format!("of {all} spans the stand-in has kept {}, two engines {}", kept.0, kept.1));
    }
    let fewest = engines.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(vec![
        Figure::new("spans that two writers sent to a trace", Unit::Count, all as f64),
        Figure::new("kept by two instances of the stand-in", Unit::Count, median(stand_ins)),
        Figure::new("kept by two engines, at least", Unit::Count, fewest)
            .with_mark(Mark::AtLeast(all as f64)),
    ])
}

/// Each writer sends spans of one trace, one by one, to its own URL; answers how many the first one keeps.
async fn write(urls: &[String], writes: usize, repetition: usize) -> anyhow::Result<f64> {
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
    let trace = (repetition as u128 + 1).to_be_bytes();
    let writers = urls.iter().enumerate().map(async |(writer, url)| {
        for number in 0..writes {
            let body = one_span(&trace, (writer * writes + number + 1) as u64);
            let request = client.post(format!("{url}/v1/traces")).header(CONTENT_TYPE, "application/json");
            let answer = request.body(body).send().await?;
            ensure!(answer.status().is_success(), "{url} answers {}", answer.status());
        }
        Ok(())
    });
    try_join_all(writers).await?;
    Ok(kept(&urls[0], [&trace]).await? as f64)
}

/// OTLP/JSON of one span.
fn one_span(trace: &[u8; 16], span: u64) -> String {
    let trace = u128::from_be_bytes(*trace);
    serde_json::json!({ "resourceSpans": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "writer" } }] },
        "scopeSpans": [{ "spans": [{
            "traceId": format!("{trace:032x}"), "spanId": format!("{span:016x}"), "name": "write", "kind": 1,
            "startTimeUnixNano": "1767225600000000000", "endTimeUnixNano": "1767225600001000000",
        }] }],
    }] })
    .to_string()
}
