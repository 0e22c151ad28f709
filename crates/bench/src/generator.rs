//! The load: `loadgen load` as a process of its own, so that its CPU is told apart.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use testbed::{Process, find_binary};
use tokio::{process::Command, time::timeout};

/// Beyond the time that it sends: start, answers to what was sent, report.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections that requests take turns on, as several clients would have.
const CONNECTIONS: usize = 4;

/// What is sent where, and how fast.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// URLs that take turns.
    pub(crate) targets: Vec<String>,
    pub(crate) protocol: Protocol,
    pub(crate) shape: Shape,
    pub(crate) pace: Pace,
    pub(crate) warmup: Duration,
    /// Measured, after that.
    pub(crate) time: Duration,
    /// Makes all ids: another one makes other traces.
    pub(crate) seed: u64,
    /// Whose CPU and memory are told, by name.
    pub(crate) processes: Vec<(String, u32)>,
}

/// Requests of whole traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) request_spans: usize,
    pub(crate) trace_spans: usize,
}

/// In which way requests come: OpenTelemetry's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    HttpProtobuf,
    HttpJson,
}

/// How fast.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// So many requests are on their way all the time.
    Max { in_flight: usize },
    /// Spans in a second, sent when they are due.
    Rate(f64),
}

/// What `loadgen load --json` tells.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) spans: u64,
    pub(crate) seconds: f64,
    pub(crate) spans_per_second: f64,
    pub(crate) traces_per_second: f64,
    pub(crate) refused_requests: u64,
    pub(crate) retried_requests: u64,
    pub(crate) failed_requests: u64,
    pub(crate) latency_ms: Latency,
    pub(crate) generator_cpu_us_per_span: f64,
    pub(crate) processes: BTreeMap<String, Usage>,
}

/// Percentiles of accepted requests.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
    pub(crate) max: f64,
}

/// What a process used while the load was measured.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Usage {
    pub(crate) cpu_us_per_span: f64,
    pub(crate) cpu_cores: f64,
    pub(crate) rss_bytes_max: f64,
}

impl Load {
    /// Sends, and tells what came of it; refusals are told, not errors.
    ///
    /// # Errors
    /// When the program is missing, does not end in time or tells nothing.
    pub(crate) async fn send(&self) -> anyhow::Result<Report> {
        let mut command = Command::new(find_binary("loadgen")?);
        command.args(self.arguments()).kill_on_drop(true);
        let limit = self.warmup + self.time + PATIENCE;
        let output = timeout(limit, command.output()).await;
        let output = output.with_context(|| format!("loadgen did not end within {limit:?}"))?;
        let output = output.context("failed to start loadgen")?;
        let told = String::from_utf8_lossy(&output.stdout);
        let line = told.lines().last().unwrap_or_default();
        let report = serde_json::from_str(line).with_context(|| {
            let errors = String::from_utf8_lossy(&output.stderr);
            let end: Vec<&str> = errors.lines().rev().take(5).collect();
            format!("loadgen ended with {} and told {line:?}: {end:?}", output.status)
        });
        let report: Report = report?;
        ensure!(report.requests > 0, "loadgen sent nothing");
        Ok(report)
    }

    fn arguments(&self) -> Vec<String> {
        let mut words: Vec<String> = vec!["load".into(), "--json".into()];
        let mut add = |name: &str, value: String| words.extend([format!("--{name}"), value]);
        for target in &self.targets {
            add("target", target.clone());
        }
        add("protocol", self.protocol.name().to_owned());
        add("spans-per-request", self.shape.request_spans.to_string());
        add("spans-per-trace", self.shape.trace_spans.to_string());
        match self.pace {
            Pace::Max { in_flight } => {
                add("rate", "max".to_owned());
                add("in-flight", in_flight.to_string());
            }
            Pace::Rate(spans) => add("rate", format!("{spans:.0}")),
        }
        add("connections", CONNECTIONS.to_string());
        add("warmup-seconds", self.warmup.as_secs_f64().to_string());
        add("seconds", self.time.as_secs_f64().to_string());
        add("seed", self.seed.to_string());
        for (name, pid) in &self.processes {
            add("process", format!("{name}={pid}"));
        }
        words
    }
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http/protobuf",
            Self::HttpJson => "http/json",
        }
    }
}

impl Report {
    /// CPU for each span of all processes whose name begins like that.
    pub(crate) fn cpu_us(&self, kind: &str) -> f64 {
        // Nothing is summed up to −0.
        self.of(kind).map(|usage| usage.cpu_us_per_span).sum::<f64>() + 0.0
    }

    /// Cores that these processes kept busy.
    pub(crate) fn cores(&self, kind: &str) -> f64 {
        self.of(kind).map(|usage| usage.cpu_cores).sum()
    }

    /// The most memory of each of them, summed.
    pub(crate) fn rss_bytes(&self, kind: &str) -> f64 {
        self.of(kind).map(|usage| usage.rss_bytes_max).sum()
    }

    pub(crate) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Requests to which anything but a plain yes was answered at first.
    pub(crate) fn disturbed(&self) -> u64 {
        self.refused_requests + self.retried_requests + self.failed_requests
    }

    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = Usage> + 'a {
        self.processes.iter().filter(move |(name, _)| name.starts_with(kind)).map(|(_, usage)| *usage)
    }
}

/// Processes by their names.
pub(crate) fn named<'a>(processes: impl IntoIterator<Item = &'a Process>) -> Vec<(String, u32)> {
    processes.into_iter().map(|process| (process.name().to_owned(), process.pid())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_a_kind_are_added_up() {
        let line = r#"{"requests":10,"spans":2,"seconds":2.0,"spans_per_second":1.0,"traces_per_second":1.0,
            "refused_requests":1,"retried_requests":0,"failed_requests":2,"generator_cpu_us_per_span":0.5,
            "latency_ms":{"p50":1.0,"p90":1.5,"p99":2.0,"p99_9":3.0,"max":4.0},"codes":{"OK":10},
            "processes":{"redis-1":{"cpu_us_per_span":1.0,"cpu_cores":0.1,"rss_bytes_max":5},
            "redis-2":{"cpu_us_per_span":2.0,"cpu_cores":0.2,"rss_bytes_max":6},
            "engine-1":{"cpu_us_per_span":4.0,"cpu_cores":0.4,"rss_bytes_max":7}}}"#;
        let report: Report = serde_json::from_str(line).unwrap();
        assert_eq!(
            [report.cpu_us("redis"), report.cpu_us("engine"), report.cpu_us("gateway")],
            [3.0, 4.0, 0.0]
        );
        assert_eq!(report.rss_bytes("redis"), 11.0);
        assert_eq!((report.requests_per_second(), report.disturbed()), (5.0, 3));
    }

    #[test]
    fn a_rate_and_a_number_of_requests_are_told_apart() {
        let load = Load {
            targets: vec!["http://127.0.0.1:1".into(), "http://127.0.0.1:2".into()],
            protocol: Protocol::HttpJson,
            shape: Shape { request_spans: 100, trace_spans: 10 },
            pace: Pace::Max { in_flight: 64 },
            warmup: Duration::ZERO,
            time: Duration::from_millis(2_500),
            seed: 7,
            processes: vec![("engine-1".into(), 42)],
        };
        let line = load.arguments().join(" ");
        assert!(line.contains("--target http://127.0.0.1:1 --target http://127.0.0.1:2 "), "{line}");
        assert!(line.contains("--rate max --in-flight 64 ") && line.contains("--seconds 2.5 "), "{line}");
        let line = Load { pace: Pace::Rate(5e4), ..load }.arguments().join(" ");
        assert!(line.contains("--rate 50000 ") && !line.contains("--in-flight"), "{line}");
        assert!(line.ends_with("--process engine-1=42"), "{line}");
    }
}
