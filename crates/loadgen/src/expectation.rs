//! What must come out of a store after requests went in, and how far what came out is from it.

use std::collections::{BTreeMap, BTreeSet};

use otlp_proto::opentelemetry::proto::{logs::v1::LogsData, trace::v1::TracesData};

use crate::content::{self, SpanIdentity, hex};

/// Differences that are told in words; the others are only counted.
const EXAMPLES_MAX: usize = 10;

/// What must come out, by trace id.
#[derive(Debug, Clone, Default)]
pub struct Expectation {
    traces: BTreeMap<String, ExpectedTrace>,
    without_trace: u64,
}

/// What one trace must consist of.
#[derive(Debug, Clone, Default)]
pub struct ExpectedTrace {
    /// More than one content when senders contradict each other: any of them may have been first.
    spans: BTreeMap<SpanIdentity, BTreeSet<Vec<u8>>>,
    /// How often each record must come out: as often as the request with most of it holds it.
    logs: BTreeMap<Vec<u8>, u64>,
}

/// How far something is from what was expected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Expected and not there.
    pub missing: u64,
    /// There and never sent; an altered item counts here and as missing.
    pub extra: u64,
    /// There more often than expected.
    pub duplicated: u64,
    /// The first of them in words.
    pub examples: Vec<String>,
}

impl Expectation {
    /// Adds what one request of spans contributes.
    pub fn add_traces(&mut self, request: &TracesData) {
        for span in content::spans(request) {
            if span.trace_id.is_empty() {
                self.without_trace += 1;
                continue;
            }
            let trace = self.traces.entry(span.trace_id).or_default();
            trace.spans.entry(span.identity).or_default().insert(span.content);
        }
    }

    /// Adds what one request of logs contributes.
    ///
    /// Records have no id: equal ones count as often as one request holds them, and a request that
    /// repeats them adds nothing.
    pub fn add_logs(&mut self, request: &LogsData) {
        let mut here: BTreeMap<(String, Vec<u8>), u64> = BTreeMap::new();
        for log in content::logs(request) {
            if log.trace_id.is_empty() {
                self.without_trace += 1;
                continue;
            }
            *here.entry((log.trace_id, log.content)).or_default() += 1;
        }
        for ((trace_id, content), count) in here {
            let expected = self.traces.entry(trace_id).or_default().logs.entry(content).or_default();
            *expected = count.max(*expected);
        }
    }

    /// Adds everything another one expects.
    pub fn merge(&mut self, other: Self) {
        self.without_trace += other.without_trace;
        for (trace_id, trace) in other.traces {
            let mine = self.traces.entry(trace_id).or_default();
            for (identity, contents) in trace.spans {
                mine.spans.entry(identity).or_default().extend(contents);
            }
            for (content, count) in trace.logs {
                let expected = mine.logs.entry(content).or_default();
                *expected = count.max(*expected);
            }
        }
    }

    /// All traces by id.
    #[must_use]
    pub fn traces(&self) -> &BTreeMap<String, ExpectedTrace> {
        &self.traces
    }

    /// Spans and records that belong to no trace; nothing is expected of them.
    #[must_use]
    pub fn without_trace(&self) -> u64 {
        self.without_trace
    }
}

impl ExpectedTrace {
    /// Distinct spans.
    #[must_use]
    pub fn span_count(&self) -> usize {
        self.spans.len()
    }

    /// Log records.
    #[must_use]
    pub fn log_count(&self) -> u64 {
        self.logs.values().sum()
    }

    /// Compares everything the trace was found to consist of.
    #[must_use]
    pub fn compare(&self, trace_id: &str, traces: &TracesData, logs: &LogsData) -> Differences {
        let mut differences = self.compare_spans(trace_id, traces);
        differences.merge(self.compare_logs(trace_id, logs));
        differences
    }

    fn compare_spans(&self, trace_id: &str, traces: &TracesData) -> Differences {
        let mut differences = Differences::default();
        let mut seen = BTreeSet::new();
        for span in content::spans(traces) {
            let span_id = hex(&span.identity.span_id);
            match self.spans.get(&span.identity) {
                None => differences.extra(1, || format!("trace {trace_id}: span {span_id} was never sent")),
                Some(contents) if !contents.contains(&span.content) => {
                    differences.extra(1, || format!("trace {trace_id}: span {span_id} is altered"));
                }
                Some(_) => {
                    let is_first = seen.insert(span.identity);
                    if !is_first {
                        differences
                            .duplicated(1, || format!("trace {trace_id}: span {span_id} is there twice"));
                    }
                }
            }
        }
        for identity in self.spans.keys().filter(|identity| !seen.contains(identity)) {
            let span_id = hex(&identity.span_id);
            differences.missing(1, || format!("trace {trace_id}: span {span_id} is missing"));
        }
        differences
    }

    fn compare_logs(&self, trace_id: &str, logs: &LogsData) -> Differences {
        let mut differences = Differences::default();
        let mut found: BTreeMap<Vec<u8>, (u64, String)> = BTreeMap::new();
        for log in content::logs(logs) {
            let (_, _, body) = log.mark;
            found.entry(log.content).or_insert((0, body)).0 += 1;
        }
        for (content, (count, body)) in &found {
            match self.logs.get(content) {
                None => {
                    differences.extra(*count, || format!("trace {trace_id}: log {body:?} was never sent"))
                }
                Some(expected) if count > expected => {
                    differences.duplicated(count - expected, || {
                        format!("trace {trace_id}: log {body:?} is there {count} times instead of {expected}")
                    });
                }
                Some(_) => {}
            }
        }
        for (content, expected) in &self.logs {
            let count = found.get(content).map_or(0, |(count, _)| *count);
            if count < *expected {
                differences.missing(expected - count, || {
                    format!("trace {trace_id}: a log is there {count} times instead of {expected}")
                });
            }
        }
        differences
    }
}

impl Differences {
    /// Whether all is as expected.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.missing == 0 && self.extra == 0 && self.duplicated == 0
    }

    /// Adds those of another comparison.
    pub fn merge(&mut self, other: Self) {
        self.missing += other.missing;
        self.extra += other.extra;
        self.duplicated += other.duplicated;
        let room = EXAMPLES_MAX.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.into_iter().take(room));
    }

    /// Counts what is expected and not there.
    pub fn missing(&mut self, count: u64, example: impl FnOnce() -> String) {
        self.missing += count;
        self.example(example);
    }

    /// Counts what is there and was never sent.
    pub fn extra(&mut self, count: u64, example: impl FnOnce() -> String) {
        self.extra += count;
        self.example(example);
    }

    /// Counts what is there too often.
    pub fn duplicated(&mut self, count: u64, example: impl FnOnce() -> String) {
        self.duplicated += count;
        self.example(example);
    }

    fn example(&mut self, example: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example());
        }
    }
}

#[cfg(test)]
mod tests;
