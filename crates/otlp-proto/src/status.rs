//! gRPC statuses: which failures are for a time and which for good, and what they are called.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// True when a client may send the request again: the table of OTLP's "Failures".
pub fn is_retryable(status: &Status) -> bool {
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => status.get_details_retry_info().is_some(),
        _ => false,
    }
}

/// The name of a code as a metric label.
pub fn label(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn an_exhausted_resource_comes_back_only_if_it_says_so() {
        let details = ErrorDetails::with_retry_info(None);
        assert!(is_retryable(&Status::with_error_details(Code::ResourceExhausted, "quota", details)));
        assert!(!is_retryable(&Status::resource_exhausted("too large")));
    }

    #[test]
    fn what_says_that_the_request_is_wrong_is_for_good() {
        for code in [Code::InvalidArgument, Code::Unauthenticated, Code::Unimplemented, Code::Internal] {
            assert!(!is_retryable(&Status::new(code, "")), "{code:?}");
        }
    }
}
