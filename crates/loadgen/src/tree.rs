//! One correlation as a tree for people: spans under their parents, logs under their spans.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};
use otlp_codec::forest::{Forest, Log, Node, Parent, Step};
use otlp_proto::correlation::v1::CorrelationSummary;

use crate::content::hex;

/// Characters of a log's first line that are shown.
const BODY_CHARACTERS_MAX: usize = 100;

/// Levels that are indented; what is deeper stands as deep as the last of them.
const INDENTED_LEVELS_MAX: usize = 60;

/// Draws a correlation.
#[must_use]
pub fn draw(summary: &CorrelationSummary, forest: &Forest<'_>) -> String {
    let times = Times::of(forest);
    let mut out = headline(summary, times);
    // What stands before the spans above the one at hand, by level.
    let mut indents = Vec::<Indent>::new();
    for Step { index, level, is_last } in forest.walk() {
        if level == 0 {
            out.push('\n');
        }
        indents.truncate(level.min(INDENTED_LEVELS_MAX));
        let indent = indents.last().map(|above| above.below(is_last)).unwrap_or_default();
        let node = &forest.nodes[index];
        let _ = writeln!(out, "{}{}", indent.of_item, span_line(times, node));
        let bar = if node.children.is_empty() { " " } else { "│" };
        for log in &node.logs {
            let _ = writeln!(out, "{}{bar}   {}", indent.of_rest, log_line(times, &forest.logs[*log]));
        }
        indents.push(indent);
    }
    if !forest.stray_logs.is_empty() {
        out.push_str("\nlogs of no span above\n");
        for log in &forest.stray_logs {
            let _ = writeln!(out, "  {}", log_line(times, &forest.logs[*log]));
        }
    }
    out
}

/// From when to when a correlation goes, in nanoseconds since 1970.
#[derive(Clone, Copy)]
struct Times {
    start: u64,
    end: u64,
}

impl Times {
    fn of(forest: &Forest<'_>) -> Self {
        let spans = || forest.nodes.iter().map(|node| &node.span);
        let logs = || forest.logs.iter().map(|log| log.time_unix_nano);
        let starts = spans().map(|span| span.start_unix_nano).chain(logs());
        let ends = spans().map(|span| span.end_unix_nano).chain(logs());
        // In OTLP a time of 0 is unknown.
        Self { start: starts.filter(|time| *time > 0).min().unwrap_or(0), end: ends.max().unwrap_or(0) }
    }

    /// Time since the beginning.
    fn offset(self, time: u64) -> String {
        format!("+{}", milliseconds(time.saturating_sub(self.start)))
    }
}

fn headline(summary: &CorrelationSummary, Times { start, end }: Times) -> String {
    let duration = end.saturating_sub(start);
    let started = i64::try_from(start)
        .map(|nanos| DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::Millis, true))
        .unwrap_or_default();
    format!(
        "correlation {}\n{} spans, {} logs, {} errors in {} services; {} from {started}\n",
        summary.correlation_id,
        summary.spans,
        summary.logs,
        summary.errors,
        summary.services.len(),
        milliseconds(duration)
    )
}

fn span_line(times: Times, node: &Node<'_>) -> String {
    let span = &node.span;
    let duration = milliseconds(span.end_unix_nano - span.start_unix_nano);
    let kind = match span.kind_name() {
        "" | "internal" => String::new(),
        kind => format!(" [{kind}]"),
    };
    let offset = times.offset(span.start_unix_nano);
    let mut line = format!("{}: {}{kind} {offset} {duration}", span.service, span.name);
    if span.is_error() {
        let _ = write!(line, " ERROR {}", span.status_message);
    }
    if node.parent == Parent::Missing {
        let _ = write!(line, " (its parent {} is not here)", hex(span.parent_span_id));
    }
    if span.marks.synthetic {
        line.push_str(" (synthetic)");
    }
    line.trim_end().to_owned()
}

fn log_line(times: Times, log: &Log<'_>) -> String {
    let first_line = log.body.lines().next().unwrap_or_default();
    let mut shown: String = first_line.chars().take(BODY_CHARACTERS_MAX).collect();
    if shown.len() < log.body.len() {
        shown.push('…');
    }
    let severity = match log.severity.as_str() {
        "" => "LOG",
        text => text,
    };
    format!("» {} {severity} {}: {shown}", times.offset(log.time_unix_nano), log.service)
}

/// What stands before a line and before everything below it.
#[derive(Default)]
struct Indent {
    of_item: String,
    of_rest: String,
}

impl Indent {
    fn below(&self, is_last: bool) -> Self {
        let (item, rest) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        Self { of_item: format!("{}{item}", self.of_rest), of_rest: format!("{}{rest}", self.of_rest) }
    }
}

fn milliseconds(nanos: u64) -> String {
    format!("{:.1} ms", nanos as f64 / 1e6)
}

#[cfg(test)]
mod tests;
