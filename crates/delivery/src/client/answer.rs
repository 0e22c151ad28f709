//! What an endpoint says to a request.

use std::time::Duration;

use otlp_proto::opentelemetry::proto::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;

/// Longest text of an endpoint that is repeated in the log.
const MESSAGE_CHARS_MAX: usize = 256;

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The endpoint has it, but for items that it will never take.
    Taken {
        rejected: u64,
        /// Empty when it has nothing to say.
        message: String,
    },
    /// It will never take it.
    Refused {
        /// A label of metrics.
        reason: &'static str,
        message: String,
        /// Less of it may be taken.
        is_too_large: bool,
    },
    /// It may take it later.
    Failed {
        /// A label of metrics.
        reason: &'static str,
        message: String,
        /// When it asks to come back.
        retry_after: Option<Duration>,
    },
}

impl Answer {
    /// Reads the response to a request that was taken.
    pub(super) fn taken(response: &[u8]) -> Self {
        // That for logs has other names for the same fields. One that cannot be read is a success all
        // the same: sending again what was taken is the worse mistake.
        let read = ExportTraceServiceResponse::decode(response).unwrap_or_default();
        let partial = read.partial_success.unwrap_or_default();
        Self::Taken {
            rejected: u64::try_from(partial.rejected_spans).unwrap_or_default(),
            message: bounded(&partial.error_message),
        }
    }

    /// The request did not get as far as an answer.
    pub(crate) fn failed(reason: &'static str, message: impl AsRef<str>) -> Self {
        Self::Failed { reason, message: bounded(message.as_ref()), retry_after: None }
    }
}

/// A text of an endpoint, cut to what fits into a line of the log.
pub(super) fn bounded(text: &str) -> String {
    text.chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use otlp_proto::opentelemetry::proto::collector::logs::v1::{
        ExportLogsPartialSuccess, ExportLogsServiceResponse,
    };

    use super::*;

    #[test]
    fn rejected_items_of_either_signal_are_read() {
        let partial = ExportLogsPartialSuccess { rejected_log_records: 3, error_message: "é".repeat(999) };
        let response = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let message = "é".repeat(MESSAGE_CHARS_MAX);
        assert_eq!(Answer::taken(&response), Answer::Taken { rejected: 3, message });
    }

    #[test]
    fn an_answer_that_says_nothing_or_nonsense_is_a_success() {
        for response in [&b""[..], b"OK", b"\xff\xff"] {
            assert_eq!(Answer::taken(response), Answer::Taken { rejected: 0, message: String::new() });
        }
    }
}
