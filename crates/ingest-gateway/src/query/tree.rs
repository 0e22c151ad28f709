//! The default answer about one correlation: its spans as a tree, its log records in the order of time.

mod budget;
mod counts;
mod entry;
mod logs;
mod spans;

use otlp_codec::forest::Forest;
use otlp_proto::correlation::v1::GetCorrelationResponse;
use serde::Serialize;

use super::{problem::Problem, view::Summary};
use budget::Budget;
use counts::{MissingParent, ServiceCount};
use logs::LogView;
use spans::{SpanTree, SpanView};

/// Most spans in an answer: as many as a correlation has by default.
const SPANS_MAX: usize = 10_000;
/// Most log records, likewise.
const LOGS_MAX: usize = 10_000;
/// Most missing parents, and likewise services.
const NAMES_MAX: usize = 1_000;
/// About how many bytes the spans may take, and likewise the log records.
const BYTES_MAX: usize = 8 << 20;

/// The summary, and for people what the telemetry says.
#[derive(Debug, Serialize)]
pub(super) struct Tree {
    #[serde(flatten)]
    summary: Summary,
    /// Spans that stand under no other, in the order of their starts.
    tree: Vec<SpanView>,
    /// Spans that others name as their parent and that are not there.
    missing_parents: Vec<MissingParent>,
    /// How much each service has sent.
    service_counts: Vec<ServiceCount>,
    /// In the order of time.
    log_records: Vec<LogView>,
    truncated: Truncated,
}

/// How many of each are left out because the answer would be too large.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Truncated {
    spans: usize,
    logs: usize,
    /// Spans that do not stand under their parent but beside it, because the tree would be too deep.
    levels: usize,
    missing_parents: usize,
    services: usize,
}

impl Tree {
    /// Reads a correlation with its telemetry.
    ///
    /// # Errors
    /// 500 when the telemetry cannot be read.
    pub(super) fn read(found: GetCorrelationResponse) -> Result<Self, Problem> {
        let forest = Forest::read(&found.traces_data, &found.logs_data).map_err(super::invalid)?;
        let SpanTree { roots, spans, raised } = SpanTree::of(&forest, &mut Budget::new(SPANS_MAX, BYTES_MAX));
        let log_records = logs::in_time(&forest, &mut Budget::new(LOGS_MAX, BYTES_MAX));
        let mut missing_parents = counts::missing_parents(&forest);
        let mut service_counts = counts::by_service(&forest);
        let truncated = Truncated {
            spans: forest.nodes.len() - spans,
            logs: forest.logs.len() - log_records.len(),
            levels: raised,
            missing_parents: cut(&mut missing_parents),
            services: cut(&mut service_counts),
        };
        let summary = Summary::from(found.summary.unwrap_or_default());
        Ok(Self { summary, tree: roots, missing_parents, service_counts, log_records, truncated })
    }

    /// Whether the answer is less than the correlation.
    pub(super) fn is_truncated(&self) -> bool {
        self.truncated != Truncated::default()
    }
}

/// Cuts a list of names, and says how many it has lost.
fn cut<T>(names: &mut Vec<T>) -> usize {
    let lost = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    lost
}

#[cfg(test)]
mod tests;
