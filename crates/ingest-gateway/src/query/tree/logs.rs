//! The log records of an answer.

use std::sync::Arc;

use otlp_codec::forest::{Forest, Log};
use serde::Serialize;

use super::{
    budget::Budget,
    entry::{ENTRY_BYTES, MarksView, hex, rfc_3339},
};

/// A log record.
#[derive(Debug, Serialize)]
pub(super) struct LogView {
    /// When it was written, or else observed.
    time: Option<String>,
    severity: String,
    service: Arc<str>,
    /// Empty when it names no span.
    span_id: String,
    body: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    event_name: String,
    #[serde(flatten)]
    marks: MarksView,
}

/// The first log records in the order of time, as many as there is room for.
pub(super) fn in_time(forest: &Forest<'_>, budget: &mut Budget) -> Vec<LogView> {
    let views = forest.logs.iter().map(LogView::of);
    views.take_while(|view| budget.take(view.bytes())).collect()
}

impl LogView {
    fn of(log: &Log<'_>) -> Self {
        Self {
            time: rfc_3339(log.time_unix_nano),
            severity: log.severity.clone(),
            service: Arc::clone(&log.service),
            span_id: hex(log.span_id),
            body: log.body.clone(),
            event_name: log.event_name.clone(),
            marks: MarksView::of(&log.marks),
        }
    }

    fn bytes(&self) -> usize {
        let texts = [&*self.severity, &*self.service, &*self.body, &*self.event_name].map(str::len);
        ENTRY_BYTES + texts.iter().sum::<usize>() + self.marks.bytes()
    }
}
