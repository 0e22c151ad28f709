//! `loadgen load` as a user runs it, against a real engine and gateway in memory: what it reports is what
//! the engine has counted.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Output, Stdio},
    time::Duration,
};

use loadgen::load::report::Report;
use testbed::{EngineOptions, EngineProcess, GatewayOptions, GatewayProcess, Process, Signal, eventually};

async fn engine(settings: &[(&str, &str)]) -> EngineProcess {
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    EngineProcess::start(EngineOptions { settings, ..EngineOptions::default() }).await.unwrap()
}

fn command(target: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(["load", "--json", "--target", target]).args(arguments);
    command
}

/// The report, and whether the command says that everything was accepted.
fn load(target: &str, arguments: &[&str]) -> (Report, bool) {
    read(&command(target, arguments).output().unwrap())
}

fn read(output: &Output) -> (Report, bool) {
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (report, output.status.success())
}

/// Spans and log records that an engine has accepted.
async fn accepted(engine: &EngineProcess) -> [u64; 2] {
    let (_, metrics) = engine.admin_get("/metrics").await.unwrap();
    ["traces", "logs"].map(|signal| {
        let name = format!("engine_accepted_items_total{{signal=\"{signal}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
    })
}

#[tokio::test]
async fn the_engine_has_accepted_what_is_reported_whatever_the_protocol_and_profile() {
    let engine = engine(&[]).await;
    let options = GatewayOptions { engines: vec![engine.url()], ..GatewayOptions::default() };
    let gateway = GatewayProcess::start(options).await.unwrap();
    let pid = format!("engine={}", engine.process().pid());
    let fixed =
        ["--spans-per-request", "40", "--spans-per-trace", "10", "--logs-per-trace", "3", "--process", &pid];
    let realistic = ["--profile", "realistic", "--compression", "gzip", "--process", &pid];
    let cases = [("grpc", engine.url()), ("http/protobuf", gateway.url()), ("http/json", gateway.url())];
    let mut before = [0, 0];
    for (protocol, target) in cases {
        for profile in [fixed.as_slice(), &realistic] {
            let bounds = ["--protocol", protocol, "--spans", "800", "--rate", "4000"];
            let (report, is_success) = load(&target, &[&bounds, profile].concat());
            assert!(is_success, "{report}");
            let now = accepted(&engine).await;
            let reported = report.outcomes.accepted;
            assert_eq!([reported.spans, reported.logs], [now[0] - before[0], now[1] - before[1]], "{report}");
            assert_eq!((report.spans, report.logs), (reported.spans, reported.logs));
            assert!(report.spans >= 800 && report.logs > 0, "{report}");
            assert!(report.processes["engine"].cpu_us_per_span > 0.0, "{report}");
            assert_eq!(report.codes["OK"], report.requests);
            before = now;
        }
    }
}

#[tokio::test]
async fn requests_that_were_due_while_the_target_stalled_were_slow() {
    let engine = engine(&[]).await;
    engine.process().pause().unwrap();
    // A request every 10 ms for 2 s, of which one at a time is on its way.
    let arguments =
        ["--spans-per-request", "10", "--spans-per-trace", "10", "--rate", "1000", "--seconds", "2"];
    let mut command = command(&engine.url(), &arguments);
    let mut child =
        command.args(["--in-flight", "1"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = progress.next().unwrap().unwrap();
    assert!(first.contains(" s: 0 spans/s, 1 in flight"), "{first}");
    engine.process().resume().unwrap();
    assert!(progress.count() > 0, "it goes on");
    let (report, is_success) = read(&child.wait_with_output().unwrap());
    assert!(is_success, "{report}");
    // Half of the requests were due in the first second. Only one was sent in it.
    assert!(report.latency_ms.p90 > 500.0, "{report}");
    assert!(report.latency_ms.max > 1_000.0, "{report}");
}

#[tokio::test]
async fn an_interrupted_load_reports_what_it_has_sent() {
    const PATIENCE: Duration = Duration::from_secs(30);
    let engine = engine(&[]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json");
    let mut command = command(&engine.url(), &["--rate", "2000", "--seconds", "600"]);
    command.arg("--report").arg(&file);
    let load = Process::start("loadgen", command, &directory.path().join("loadgen.log")).unwrap();
    let is_sending = async || load.log_lines(" spans/s, ").is_ok_and(|lines| !lines.is_empty());
    eventually("a line of progress", PATIENCE, is_sending).await.unwrap();
    load.signal(Signal::SIGINT).unwrap();
    assert!(load.wait(PATIENCE).await.unwrap().success());
    let report: Report = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!([report.accepted_spans, report.outcomes.accepted.logs], accepted(&engine).await);
    assert!(report.requests > 0 && report.seconds < 60.0, "{report}");
}

#[tokio::test]
async fn what_is_rejected_of_a_request_is_told_and_fails() {
    let engine = engine(&[("correlation.spans_max", "6")]).await;
    let arguments = ["--spans-per-request", "20", "--spans-per-trace", "10", "--spans", "200"];
    let (report, is_success) = load(&engine.url(), &arguments);
    assert!(!is_success);
    assert!(report.rejected_items > 0, "{report}");
    assert_eq!(report.accepted_spans + report.rejected_items, report.spans);
    assert_eq!([report.accepted_spans, 0], accepted(&engine).await);
}

#[tokio::test]
async fn what_is_refused_for_the_moment_is_sent_again_until_it_is_given_up() {
    let engine = engine(&[("memory.bytes_max", "1000000")]).await;
    let arguments = ["--spans-per-request", "1000", "--spans-per-trace", "10", "--spans", "6000"];
    let (report, is_success) = load(&engine.url(), &[&arguments[..], &["--retry-seconds", "2"]].concat());
    assert!(!is_success);
    assert!(report.outcomes.given_up.spans > 0 && report.retried_requests > 0, "{report}");
    assert!(report.codes["UNAVAILABLE"] >= report.retried_requests, "{report}");
    assert_eq!(report.accepted_spans + report.outcomes.given_up.spans, report.spans);
}

#[tokio::test]
async fn a_request_that_nobody_answers_has_an_unknown_outcome() {
    let engine = engine(&[]).await;
    let url = engine.url();
    drop(engine);
    let arguments = ["--spans-per-request", "20", "--spans-per-trace", "20", "--spans", "40"];
    let (report, is_success) = load(&url, &[&arguments[..], &["--retry-seconds", "0"]].concat());
    assert!(!is_success);
    assert_eq!((report.failed_requests, report.outcomes.unknown.spans), (2, 40));
    assert_eq!(report.codes["NO_ANSWER"], 2);
}
