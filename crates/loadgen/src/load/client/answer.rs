//! What an answer means to a client, over gRPC and over HTTP.

use std::{error::Error as _, fmt, time::Duration};

use bytes::Bytes;
use otlp_proto::status;
use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::{
    answer::{self, decode, is_retryable_http, read_json},
    load::traffic::Encoding,
    request::Signal,
};

/// What an attempt was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: Code,
    pub(super) verdict: Verdict,
    pub(super) message: String,
}

/// What a client makes of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted {
        rejected: u64,
    },
    /// Refused for the moment.
    Later {
        /// How long a client is asked to wait.
        wait: Option<Duration>,
    },
    /// Refused for good.
    Refused,
    /// Nobody knows whether it has arrived; it may be sent again.
    NoAnswer,
}

/// What an answer is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Accepted, over gRPC or HTTP.
    Ok,
    /// A gRPC status.
    Grpc(tonic::Code),
    /// An HTTP status.
    Http(u16),
    /// The connection failed.
    NoAnswer,
    /// No answer within the time for one.
    TimedOut,
    /// It cannot be read.
    Unreadable,
}

impl Answer {
    pub(super) fn too_late() -> Self {
        Self { code: Code::TimedOut, verdict: Verdict::NoAnswer, message: "no answer in time".to_owned() }
    }

    pub(super) fn of_grpc(signal: Signal, answer: Result<Bytes, Status>) -> Self {
        match answer {
            Ok(body) => Self::of_success(decode(signal, &body)),
            // What the server says has no source.
            Err(status) if status.source().is_some() => Self::none(status.message()),
            Err(status) => {
                let verdict = if status::is_retryable(&status) {
                    let info = status.get_details_retry_info();
                    Verdict::Later { wait: info.and_then(|info| info.retry_delay) }
                } else {
                    Verdict::Refused
                };
                let message = format!("{}: {}", Code::Grpc(status.code()), status.message());
                Self { code: Code::Grpc(status.code()), verdict, message }
            }
        }
    }

    pub(super) fn of_http(
        signal: Signal,
        encoding: Encoding,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Self {
        if status == StatusCode::OK {
            return Self::of_success(match encoding {
                Encoding::Protobuf => decode(signal, body),
                Encoding::Json => read_json(signal, body),
            });
        }
        let verdict = if is_retryable_http(status) {
            let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Verdict::Later { wait: seconds.map(Duration::from_secs) }
        } else {
            Verdict::Refused
        };
        let message = format!("{status}: {}", String::from_utf8_lossy(body));
        Self { code: Code::Http(status.as_u16()), verdict, message }
    }

    pub(super) fn none(message: impl fmt::Display) -> Self {
        Self { code: Code::NoAnswer, verdict: Verdict::NoAnswer, message: format!("no answer: {message}") }
    }

    fn of_success(answer: anyhow::Result<answer::Answer>) -> Self {
        match answer {
            Ok(answer::Answer { rejected, message }) => {
                let rejected = rejected.try_into().unwrap_or_default();
                Self { code: Code::Ok, verdict: Verdict::Accepted { rejected }, message }
            }
            Err(error) => {
                Self { code: Code::Unreadable, verdict: Verdict::NoAnswer, message: format!("{error:#}") }
            }
        }
    }
}

impl Code {
    /// Whether the receiver has said no.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::Grpc(_) | Self::Http(_))
    }
}

impl fmt::Display for Code {
    /// `OK`, `UNAVAILABLE`, `503`, `NO_ANSWER`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => formatter.write_str("OK"),
            Self::Grpc(code) => formatter.write_str(&status::label(*code).to_ascii_uppercase()),
            Self::Http(status) => status.fmt(formatter),
            Self::NoAnswer => formatter.write_str("NO_ANSWER"),
            Self::TimedOut => formatter.write_str("TIMED_OUT"),
            Self::Unreadable => formatter.write_str("UNREADABLE"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn grpc(status: Status) -> Answer {
        Answer::of_grpc(Signal::Traces, Err(status))
    }

    fn http(status: u16, headers: &HeaderMap) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer::of_http(Signal::Traces, Encoding::Json, status, headers, b"{}")
    }

    #[test]
    fn the_wait_that_an_answer_names_is_read_from_both_protocols() {
        let wait = Some(Duration::from_secs(7));
        let details = ErrorDetails::with_retry_info(wait);
        let status = Status::with_error_details(tonic::Code::Unavailable, "full", details);
        assert_eq!(grpc(status).verdict, Verdict::Later { wait });
        let headers = HeaderMap::from_iter([(RETRY_AFTER, "7".parse().unwrap())]);
        assert_eq!(http(503, &headers).verdict, Verdict::Later { wait });
    }

    #[test]
    fn a_refusal_for_good_is_not_taken_for_one_of_the_moment() {
        assert_eq!(grpc(Status::invalid_argument("")).verdict, Verdict::Refused);
        assert_eq!(http(400, &HeaderMap::new()).verdict, Verdict::Refused);
        assert_eq!(grpc(Status::unavailable("")).verdict, Verdict::Later { wait: None });
    }

    #[test]
    fn what_the_connection_says_is_no_answer() {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let answer = grpc(Status::from_error(Box::new(reset)));
        assert_eq!((answer.code, answer.verdict), (Code::NoAnswer, Verdict::NoAnswer));
    }

    #[test]
    fn codes_have_the_names_of_their_protocol() {
        let codes = [Code::Ok, Code::Grpc(tonic::Code::ResourceExhausted), Code::Http(503)];
        assert_eq!(codes.map(|code| code.to_string()), ["OK", "RESOURCE_EXHAUSTED", "503"]);
    }
}
