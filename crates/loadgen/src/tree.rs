//! One correlation as a tree for people: spans under their parents, logs under their spans.

mod forest;

use std::{collections::BTreeSet, fmt::Write as _};

use chrono::{DateTime, SecondsFormat};
use otlp_proto::{
    correlation::v1::CorrelationSummary,
    opentelemetry::proto::{
        logs::v1::LogsData,
        trace::v1::{TracesData, span::SpanKind, status::StatusCode},
    },
};

use self::forest::{Forest, Log, Node};
use crate::content::{hex, text};

/// Characters of a log's first line that are shown.
const BODY_CHARACTERS_MAX: usize = 100;

/// Levels that are indented; what is deeper stands as deep as the last of them.
const INDENTED_LEVELS_MAX: usize = 60;

/// Draws a correlation.
#[must_use]
pub fn draw(summary: &CorrelationSummary, traces: &TracesData, logs: &LogsData) -> String {
    let forest = Forest::grow(traces, logs);
    let mut out = headline(summary, &forest);
    let mut drawn = BTreeSet::new();
    for root in forest.roots() {
        out.push('\n');
        draw_tree(&forest, root, &mut drawn, &mut out);
    }
    if !forest.stray_logs.is_empty() {
        out.push_str("\nlogs of no span above\n");
        for log in &forest.stray_logs {
            let _ = writeln!(out, "  {}", log_line(&forest, log));
        }
    }
    out
}

/// Draws what hangs below a span; a list of what is to be drawn instead of recursion, because
/// nobody limits how deep a trace is.
fn draw_tree(forest: &Forest<'_>, root: usize, drawn: &mut BTreeSet<usize>, out: &mut String) {
    let mut open = vec![(root, Indent::default())];
    while let Some((index, indent)) = open.pop() {
        let is_first = drawn.insert(index);
        if !is_first {
            continue;
        }
        let node = &forest.nodes[index];
        let children: Vec<usize> =
            node.children.iter().copied().filter(|child| !drawn.contains(child)).collect();
        let _ = writeln!(out, "{}{}", indent.of_item, span_line(forest, node));
        let bar = if children.is_empty() { " " } else { "│" };
        for log in &node.logs {
            let _ = writeln!(out, "{}{bar}   {}", indent.of_rest, log_line(forest, log));
        }
        for (position, child) in children.iter().enumerate().rev() {
            let is_last = position + 1 == children.len();
            open.push((*child, indent.below(is_last)));
        }
    }
}

fn headline(summary: &CorrelationSummary, forest: &Forest<'_>) -> String {
    let duration = forest.end.saturating_sub(forest.start);
    let started = i64::try_from(forest.start)
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

fn span_line(forest: &Forest<'_>, node: &Node<'_>) -> String {
    let Node { service, span, .. } = node;
    let duration = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    let kind = match span.kind() {
        SpanKind::Unspecified | SpanKind::Internal => "",
        SpanKind::Server => " [server]",
        SpanKind::Client => " [client]",
        SpanKind::Producer => " [producer]",
        SpanKind::Consumer => " [consumer]",
    };
    let offset = offset(forest, span.start_time_unix_nano);
    let mut line = format!("{service}: {}{kind} {offset} {}", span.name, milliseconds(duration));
    if let Some(status) = &span.status
        && status.code() == StatusCode::Error
    {
        let _ = write!(line, " ERROR {}", status.message);
    }
    let is_orphan = !span.parent_span_id.is_empty() && node.parent.is_none();
    if is_orphan {
        let _ = write!(line, " (its parent {} is not here)", hex(&span.parent_span_id));
    }
    line.trim_end().to_owned()
}

fn log_line(forest: &Forest<'_>, log: &Log<'_>) -> String {
    let Log { service, record } = log;
    let body = text(record.body.as_ref());
    let first_line = body.lines().next().unwrap_or_default();
    let mut shown: String = first_line.chars().take(BODY_CHARACTERS_MAX).collect();
    if shown.len() < body.len() {
        shown.push('…');
    }
    let severity = match record.severity_text.as_str() {
        "" => "LOG",
        text => text,
    };
    format!("» {} {severity} {service}: {shown}", offset(forest, forest::time(record)))
}

/// Time since the beginning of the correlation.
fn offset(forest: &Forest<'_>, time: u64) -> String {
    format!("+{}", milliseconds(time.saturating_sub(forest.start)))
}

/// What stands before a line and before everything below it.
#[derive(Default)]
struct Indent {
    level: usize,
    of_item: String,
    of_rest: String,
}

impl Indent {
    fn below(&self, is_last: bool) -> Self {
        let level = self.level + 1;
        if level > INDENTED_LEVELS_MAX {
            return Self { level, of_item: self.of_item.clone(), of_rest: self.of_rest.clone() };
        }
        let (item, rest) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        Self { level, of_item: format!("{}{item}", self.of_rest), of_rest: format!("{}{rest}", self.of_rest) }
    }
}

fn milliseconds(nanos: u64) -> String {
    format!("{:.1} ms", nanos as f64 / 1e6)
}

#[cfg(test)]
mod tests;
