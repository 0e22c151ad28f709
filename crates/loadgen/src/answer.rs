//! What an answer to an export request says, in either encoding.

use anyhow::{Context as _, anyhow};
use otlp_proto::opentelemetry::proto::collector::{
    logs::v1::ExportLogsServiceResponse, trace::v1::ExportTraceServiceResponse,
};
use prost::Message as _;
use reqwest::StatusCode;

use crate::request::Signal;

/// What a receiver said to a request it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Spans or records it refused for good.
    pub rejected: i64,
    /// Why, or a warning.
    pub message: String,
}

/// Reads an answer in protobuf.
pub(crate) fn decode(signal: Signal, answer: &[u8]) -> anyhow::Result<Answer> {
    let decode = || match signal {
        Signal::Traces => {
            let partial = ExportTraceServiceResponse::decode(answer)?.partial_success;
            Ok(partial.map(|partial| (partial.rejected_spans, partial.error_message)))
        }
        Signal::Logs => {
            let partial = ExportLogsServiceResponse::decode(answer)?.partial_success;
            Ok(partial.map(|partial| (partial.rejected_log_records, partial.error_message)))
        }
    };
    let partial = decode()
        .map_err(|error: prost::DecodeError| anyhow!(error))
        .with_context(|| format!("failed to read the answer to {signal}"))?;
    let (rejected, message) = partial.unwrap_or_default();
    Ok(Answer { rejected, message })
}

/// Reads an answer in JSON.
pub(crate) fn read_json(signal: Signal, answer: &[u8]) -> anyhow::Result<Answer> {
    let json: serde_json::Value = serde_json::from_slice(answer)
        .with_context(|| format!("failed to read the answer to {signal} as JSON"))?;
    let partial = &json["partialSuccess"];
    let rejected = match signal {
        Signal::Traces => &partial["rejectedSpans"],
        Signal::Logs => &partial["rejectedLogRecords"],
    };
    // A 64-bit number is text in OTLP/JSON.
    let rejected = rejected.as_str().and_then(|digits| digits.parse().ok()).or(rejected.as_i64());
    Ok(Answer {
        rejected: rejected.unwrap_or_default(),
        message: partial["errorMessage"].as_str().unwrap_or_default().to_owned(),
    })
}

/// OTLP specification 1.11, "Retryable Response Codes".
pub(crate) fn is_retryable_http(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests {
    use otlp_proto::opentelemetry::proto::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    #[test]
    fn a_refusal_is_read_from_both_encodings() {
        let partial_success =
            Some(ExportTracePartialSuccess { rejected_spans: 2, error_message: "invalid".to_owned() });
        let protobuf = ExportTraceServiceResponse { partial_success }.encode_to_vec();
        let expected = Answer { rejected: 2, message: "invalid".to_owned() };
        assert_eq!(decode(Signal::Traces, &protobuf).unwrap(), expected);
        let json = br#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"invalid"}}"#;
        assert_eq!(read_json(Signal::Traces, json).unwrap(), expected);
    }

    #[test]
    fn an_empty_answer_refuses_nothing() {
        assert_eq!(decode(Signal::Logs, b"").unwrap(), Answer::default());
        assert_eq!(read_json(Signal::Logs, b"{}").unwrap(), Answer::default());
        assert!(read_json(Signal::Logs, b"").is_err(), "nothing is not JSON");
    }

    #[test]
    fn only_passing_faults_are_retried() {
        assert!(is_retryable_http(StatusCode::SERVICE_UNAVAILABLE));
        assert!(!is_retryable_http(StatusCode::INTERNAL_SERVER_ERROR));
    }
}
