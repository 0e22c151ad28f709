//! A report of `loadgen load`: what the user's own machines and traffic take.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Demand;

/// How far traces and requests of a report may be from those of the demand.
const LIKENESS: f64 = 1.25;

/// What of a report counts here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Measured {
    spans: u64,
    traces: u64,
    requests: u64,
    accepted_spans: u64,
    processes: BTreeMap<String, Process>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct Process {
    cpu_us_per_span: f64,
    rss_bytes_max: u64,
    /// When the load began to count; older reports do not tell.
    rss_bytes_before: Option<u64>,
}

/// Why a report is of no use.
#[derive(Debug, thiserror::Error)]
pub enum InvalidReport {
    /// It is no report.
    #[error("this is no report of loadgen load")]
    Unreadable(#[source] serde_json::Error),
    /// It does not tell of any engine.
    #[error("it tells of no process engine: send the load with --process engine=PID --process redis=PID")]
    NoEngine,
    /// Nothing came in.
    #[error("no spans were accepted in it")]
    Empty,
}

impl Measured {
    /// Reads what `loadgen load --report FILE` has written.
    ///
    /// # Errors
    /// When it is another file, or tells of no engine or of no spans.
    pub fn read(text: &str) -> Result<Self, InvalidReport> {
        let measured: Self = serde_json::from_str(text).map_err(InvalidReport::Unreadable)?;
        if measured.accepted_spans == 0 || measured.traces == 0 || measured.requests == 0 {
            return Err(InvalidReport::Empty);
        }
        match measured.cpu_us("engine") {
            Some(us) if us > 0.0 => Ok(measured),
            _ => Err(InvalidReport::NoEngine),
        }
    }

    /// What is different in the demand, so that the figures may not hold.
    pub fn differences(&self, demand: &Demand) -> Vec<String> {
        let sizes = [
            ("trace", self.spans as f64 / self.traces as f64, demand.spans_per_trace),
            ("request", self.spans as f64 / self.requests as f64, demand.spans_per_request),
        ];
        let differ = |measured: f64, asked: f64| (measured / asked).max(asked / measured) > LIKENESS;
        let differing = sizes.into_iter().filter(|(_, measured, asked)| differ(*measured, *asked));
        differing
            .map(|(what, measured, asked)| {
                format!(
                    "the report has {measured:.1} spans in a {what}, not {asked:.1}: its figures may not hold"
                )
            })
            .collect()
    }

    pub(crate) fn engine_cpu_us(&self) -> f64 {
        self.cpu_us("engine").unwrap_or_default()
    }

    /// CPU for a span of all processes of a kind: `engine`, or `engine-1` and so on.
    pub(crate) fn cpu_us(&self, kind: &str) -> Option<f64> {
        let used: Vec<_> = self.of(kind).map(|process| process.cpu_us_per_span).collect();
        (!used.is_empty()).then(|| used.iter().sum())
    }

    /// Most memory of a process of a kind.
    pub(crate) fn peak(&self, kind: &str) -> Option<f64> {
        self.of(kind).map(|process| process.rss_bytes_max as f64).reduce(f64::max)
    }

    /// By how much Redis grew for a span, all servers together. As long as nothing has expired that is what it
    /// takes.
    pub(crate) fn redis_bytes_per_span(&self) -> Option<f64> {
        let grown = self.of("redis").map(|process| {
            let before = process.rss_bytes_before?;
            Some(process.rss_bytes_max.saturating_sub(before) as f64)
        });
        let grown = grown.collect::<Option<Vec<_>>>()?.iter().sum::<f64>();
        (grown > 0.0).then(|| grown / self.accepted_spans as f64)
    }

    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Process> {
        let is_of = move |name: &str| {
            name.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        self.processes.iter().filter(move |(name, _)| is_of(name)).map(|(_, process)| process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"spans":100000,"traces":10000,"requests":1000,"accepted_spans":100000,"seconds":10.0,
        "processes":{"engine-1":{"cpu_us_per_span":2.0,"cpu_cores":0.1,"rss_bytes_max":50,"rss_bytes_before":40},
                     "engine-2":{"cpu_us_per_span":3.0,"cpu_cores":0.1,"rss_bytes_max":70,"rss_bytes_before":40},
                     "redis":{"cpu_us_per_span":6.0,"cpu_cores":0.1,"rss_bytes_max":40000000,"rss_bytes_before":10000000}}}"#;

    #[test]
    fn processes_of_a_kind_are_added_up() {
        let measured = Measured::read(REPORT).unwrap();
        assert_eq!(measured.engine_cpu_us(), 5.0);
        assert_eq!(measured.cpu_us("redis"), Some(6.0));
        assert_eq!(measured.cpu_us("gateway"), None);
        assert_eq!(measured.peak("engine"), Some(70.0));
        assert_eq!(measured.redis_bytes_per_span(), Some(300.0));
    }

    #[test]
    fn a_report_without_an_engine_or_without_spans_is_refused() {
        let refusal =
            |from: &str, to: &str| Measured::read(&REPORT.replace(from, to)).unwrap_err().to_string();
        assert!(refusal("engine-", "motor-").contains("--process engine=PID"));
        assert!(refusal(r#""accepted_spans":100000"#, r#""accepted_spans":0"#).contains("no spans"));
        assert!(Measured::read("{}").unwrap_err().to_string().contains("no report"));
    }

    #[test]
    fn an_older_report_tells_nothing_of_the_memory_of_redis() {
        let older = REPORT.replace(r#","rss_bytes_before":10000000"#, "");
        assert_eq!(Measured::read(&older).unwrap().redis_bytes_per_span(), None);
    }
}
