//! gRPC statuses for what can go wrong.

use std::time::Duration;

use state_core::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// When a client should try again: by then a failover has often ended.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A passing fault. Clients repeat the request; anything else would make them drop the data.
pub(crate) fn unavailable(error: &Error) -> Status {
    let mut message = error.to_string();
    // The client's operator reads this; the chain says which server did not answer.
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        message.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    Status::with_error_details(Code::Unavailable, message, ErrorDetails::with_retry_info(Some(RETRY_AFTER)))
}

/// The answer to a query that failed.
pub(crate) fn query(error: &Error) -> Status {
    match error {
        Error::Invalid { .. } => Status::invalid_argument(error.to_string()),
        Error::Corrupt { .. } => Status::data_loss(error.to_string()),
        _ => unavailable(error),
    }
}

/// The end of a stream at the end of the process: to be continued at another replica.
pub(crate) fn draining() -> Status {
    let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(Code::Unavailable, "the engine is draining", details)
}

/// A limit on what lasts; there is room again when somebody leaves.
pub(crate) fn exhausted(message: String) -> Status {
    let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// A request field with a value that is not allowed.
pub(crate) fn invalid(field: &str, allowed: &str) -> Status {
    let details = ErrorDetails::with_bad_request_violation(field, allowed);
    Status::with_error_details(Code::InvalidArgument, format!("{field} is not valid: {allowed}"), details)
}
