//! What a load has found: as JSON for programs, as text for people.

use std::{collections::BTreeMap, fmt, time::Duration};

use bench_kit::text::thousands;
use serde::{Deserialize, Serialize};

use super::{
    client::Protocol,
    histogram::Histogram,
    processes::Used,
    profile::Profile,
    schedule::Rate,
    tally::{Items, Outcomes, Tally},
    traffic::Size,
};

/// The figures of a load.
///
/// Rates and CPU are of the time that counts: what was accepted in it, whenever it was sent. Everything
/// else is of the requests that were due in it, however long they took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// `grpc`, `http/protobuf` or `http/json`.
    pub protocol: String,
    /// `realistic`, or `fixed-…` with spans of a request, spans and log records of a trace.
    pub profile: String,
    /// The same makes the same traffic.
    pub seed: u64,
    /// The time that counts.
    pub seconds: f64,
    /// The rate that was asked for; `None` is the maximum.
    pub offered_spans_per_second: Option<f64>,
    /// Spans that were sent, each time once.
    pub spans: u64,
    /// Log records likewise.
    pub logs: u64,
    /// Traces whose root was sent.
    pub traces: u64,
    /// Requests, however often they were sent.
    pub requests: u64,
    /// Accepted.
    pub spans_per_second: f64,
    /// Accepted.
    pub traces_per_second: f64,
    /// Spans for which the target is answerable.
    pub accepted_spans: u64,
    /// Requests that were refused at least once.
    pub refused_requests: u64,
    /// Requests that were sent more than once.
    pub retried_requests: u64,
    /// Requests that were not accepted in the end.
    pub failed_requests: u64,
    /// Spans and log records that were refused for good in a partial success.
    pub rejected_items: u64,
    /// Of accepted requests, from when they were due, or at the maximum from when they were first sent.
    pub latency_ms: Latency,
    /// CPU of the generator for each accepted span; 0 when there is none.
    pub generator_cpu_us_per_span: f64,
    /// What the named processes used.
    pub processes: BTreeMap<String, Process>,
    /// How often each answer was given.
    pub codes: BTreeMap<String, u64>,
    /// Where everything that was sent is now.
    pub outcomes: Outcomes,
}

/// Milliseconds that shares of requests did not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of them.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p99_9: f64,
    /// All.
    pub max: f64,
}

/// What a process used, or all of one name.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// For each accepted span; 0 when there is none.
    pub cpu_us_per_span: f64,
    /// Cores on average.
    pub cpu_cores: f64,
    /// The resident memory when the load began to count.
    #[serde(default)]
    pub rss_bytes_before: u64,
    /// The most resident memory.
    pub rss_bytes_max: u64,
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) protocol: Protocol,
    pub(super) profile: Profile,
    pub(super) seed: u64,
    pub(super) rate: Rate,
}

/// What was found in the time that counts.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) time: Duration,
    pub(super) accepted: Size,
    pub(super) used: Used,
}

impl Report {
    pub(super) fn new(asked: Asked, window: &Window, tally: &Tally) -> Self {
        let Outcomes { accepted, rejected, .. } = tally.outcomes;
        let seconds = window.time.as_secs_f64();
        let per_span = |cpu: Duration| match window.accepted.spans {
            0 => 0.0,
            spans => cpu.as_secs_f64() * 1e6 / spans as f64,
        };
        let processes = window.used.processes.iter().map(|(name, used)| {
            let process = Process {
                cpu_us_per_span: per_span(used.cpu),
                cpu_cores: used.cpu.as_secs_f64() / seconds,
                rss_bytes_before: used.rss_bytes_before,
                rss_bytes_max: used.rss_bytes_max,
            };
            (name.clone(), process)
        });
        Self {
            protocol: asked.protocol.name().to_owned(),
            profile: asked.profile.to_string(),
            seed: asked.seed,
            seconds,
            offered_spans_per_second: asked.rate.offered(),
            spans: tally.sent.spans,
            logs: tally.sent.logs,
            traces: tally.sent.traces,
            requests: tally.requests,
            spans_per_second: window.accepted.spans as f64 / seconds,
            traces_per_second: window.accepted.traces as f64 / seconds,
            accepted_spans: accepted.spans,
            refused_requests: tally.refused_requests,
            retried_requests: tally.retried_requests,
            failed_requests: tally.failed_requests,
            rejected_items: rejected.spans + rejected.logs,
            latency_ms: Latency::new(&tally.latency),
            generator_cpu_us_per_span: per_span(window.used.own_cpu),
            processes: processes.collect(),
            codes: tally.codes.clone(),
            outcomes: tally.outcomes,
        }
    }

    /// Whether everything was accepted.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.failed_requests == 0 && self.rejected_items == 0
    }
}

impl Latency {
    fn new(histogram: &Histogram) -> Self {
        let quantile = |share| milliseconds(histogram.quantile(share));
        Self {
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p99_9: quantile(0.999),
            max: milliseconds(histogram.max()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |number: u64| thousands(number as usize);
        let rate = |number: f64| thousands(number.round() as usize);
        let offered = self.offered_spans_per_second.map_or_else(|| "as many as go".to_owned(), rate);
        writeln!(formatter, "{} over {}, seed {}", self.profile, self.protocol, self.seed)?;
        writeln!(
            formatter,
            "rate       {} spans/s, {} traces/s accepted in {:.1} s; offered: {offered}",
            rate(self.spans_per_second),
            rate(self.traces_per_second),
            self.seconds,
        )?;
        if self.offered_spans_per_second.is_some_and(|offered| self.spans_per_second < 0.98 * offered) {
            writeln!(formatter, "           the target did not keep up with what was offered")?;
        }
        writeln!(
            formatter,
            "sent       {} requests: {} spans, {} logs, {} traces",
            count(self.requests),
            count(self.spans),
            count(self.logs),
            count(self.traces),
        )?;
        let Outcomes { accepted, rejected, refused, given_up, unknown } = self.outcomes;
        let outcomes = [
            ("accepted", accepted),
            ("rejected", rejected),
            ("refused", refused),
            ("given up", given_up),
            ("unknown", unknown),
        ];
        for (name, Items { spans, logs }) in outcomes {
            if name == "accepted" || spans + logs > 0 {
                writeln!(formatter, "{name:<10} {} spans, {} logs", count(spans), count(logs))?;
            }
        }
        if self.refused_requests + self.retried_requests + self.failed_requests > 0 {
            let [refused, retried, failed] =
                [self.refused_requests, self.retried_requests, self.failed_requests].map(count);
            writeln!(
                formatter,
                "requests   {refused} refused at least once, {retried} sent again, {failed} not accepted"
            )?;
        }
        let codes: Vec<String> =
            self.codes.iter().map(|(code, number)| format!("{} {code}", count(*number))).collect();
        writeln!(formatter, "answers    {}", codes.join(", "))?;
        let Latency { p50, p90, p99, p99_9, max } = self.latency_ms;
        let from = if self.offered_spans_per_second.is_some() { "was due" } else { "was sent" };
        writeln!(
            formatter,
            "latency    p50 {p50:.1} ms, p90 {p90:.1}, p99 {p99:.1}, p99.9 {p99_9:.1}, longest {max:.1}; \
             from when a request {from}"
        )?;
        for (name, Process { cpu_us_per_span, cpu_cores, rss_bytes_before, rss_bytes_max }) in &self.processes
        {
            let [before, most] =
                [rss_bytes_before, rss_bytes_max].map(|bytes| *bytes as f64 / f64::from(1 << 20));
            writeln!(
                formatter,
                "{name:<10} {cpu_us_per_span:.2} µs CPU per span, {cpu_cores:.2} cores, at most {most:.0} MiB, \
                 {before:.0} MiB before"
            )?;
        }
        write!(formatter, "generator  {:.2} µs CPU per span", self.generator_cpu_us_per_span)
    }
}

fn milliseconds(time: Duration) -> f64 {
    // Whole microseconds: the buckets are no finer.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests;
