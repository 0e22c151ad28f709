//! Spans that can never be kept, counted by reason and told to the client.

use std::fmt::{self, Write};

use crate::{span::Span, text::hex};

/// Examples kept for the message to the client, which has to stay short.
const EXAMPLES_MAX: usize = 3;
/// Bytes shown of an id in an example; an invalid one can be of any length.
const ID_BYTES_MAX: usize = 16;

/// Why a span can never be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    /// The trace id is not 16 bytes, or all zero.
    InvalidTraceId,
    /// The span id is not 8 bytes, or all zero.
    InvalidSpanId,
    /// The parent span id is neither empty nor 8 bytes.
    InvalidParentSpanId,
}

impl RejectReason {
    /// Every reason, in the order in which messages name them.
    pub const ALL: [Self; 3] = [Self::InvalidTraceId, Self::InvalidSpanId, Self::InvalidParentSpanId];

    /// Returns the name for a metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidTraceId => "invalid_trace_id",
            Self::InvalidSpanId => "invalid_span_id",
            Self::InvalidParentSpanId => "invalid_parent_span_id",
        }
    }

    /// The broken rule of `trace.proto`.
    fn rule(self) -> &'static str {
        match self {
            Self::InvalidTraceId => "trace_id must be 16 bytes and not all zero",
            Self::InvalidSpanId => "span_id must be 8 bytes and not all zero",
            Self::InvalidParentSpanId => "parent_span_id must be empty or 8 bytes",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The rejected spans of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejected {
    counts: [u64; RejectReason::ALL.len()],
    /// The ids of the first few, as text.
    examples: Vec<String>,
}

impl Rejected {
    pub(super) fn add(&mut self, reason: RejectReason, span: &Span<'_>) {
        self.counts[reason as usize] += 1;
        if self.examples.len() < EXAMPLES_MAX {
            let shown = |id: &[u8]| match id {
                [] => "(empty)".to_owned(),
                _ if id.len() <= ID_BYTES_MAX => hex(id),
                _ => format!("{}… ({} bytes)", hex(&id[..ID_BYTES_MAX]), id.len()),
            };
            let mut example = format!("trace_id {}, span_id {}", shown(span.trace_id), shown(span.span_id));
            if reason == RejectReason::InvalidParentSpanId {
                example = format!("{example}, parent_span_id {}", shown(span.parent_span_id));
            }
            self.examples.push(example);
        }
    }

    /// Returns the number of rejected spans.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns how many were rejected for `reason`.
    #[must_use]
    pub fn count(&self, reason: RejectReason) -> u64 {
        self.counts[reason as usize]
    }

    /// Returns what is wrong, for the client: under 1 KiB, with the ids of a few spans.
    ///
    /// Empty when nothing was rejected.
    #[must_use]
    pub fn error_message(&self) -> String {
        let mut message = String::new();
        let reasons = RejectReason::ALL.into_iter().filter(|&reason| self.count(reason) > 0);
        for (index, reason) in reasons.enumerate() {
            let separator = if index == 0 { "rejected spans: " } else { "; " };
            // Writing to a string cannot fail.
            let _ = write!(message, "{separator}{} because {}", self.count(reason), reason.rule());
        }
        for (index, example) in self.examples.iter().enumerate() {
            let separator = if index == 0 { "; for example " } else { " and " };
            message.push_str(separator);
            message.push_str(example);
        }
        message
    }
}
