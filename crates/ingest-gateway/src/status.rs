//! What a gRPC status means: to a retry, to an HTTP client, and how long to wait.

use std::{error::Error, time::Duration};

use axum::http::StatusCode;
pub(crate) use otlp_proto::status::{is_retryable, label};
use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tonic_types::{ErrorDetails, StatusExt};

/// When nobody says how long to wait.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// An `UNAVAILABLE` that asks the client to come back in a second.
pub(crate) fn unavailable(message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER_DEFAULT));
    Status::with_error_details(Code::Unavailable, message, details)
}

/// The HTTP code for a status that an engine gave.
///
/// `RESOURCE_EXHAUSTED` without `RetryInfo` is a message that is too large: as 429 it would be
/// sent again for ever.
pub(crate) fn to_http(status: &Status) -> StatusCode {
    match status.code() {
        Code::Ok => StatusCode::OK,
        Code::ResourceExhausted if is_retryable(status) => StatusCode::TOO_MANY_REQUESTS,
        Code::ResourceExhausted => StatusCode::PAYLOAD_TOO_LARGE,
        _ if is_retryable(status) => StatusCode::SERVICE_UNAVAILABLE,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound | Code::Unimplemented => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Whole seconds for `Retry-After`, at least one; `None` when `http` is not to be retried.
pub(crate) fn retry_after_seconds(http: StatusCode, status: &Status) -> Option<u64> {
    if !matches!(http, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let delay = asked.unwrap_or(RETRY_AFTER_DEFAULT);
    let whole = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
    Some(whole.max(1))
}

/// True when the connection failed rather than the engine having answered: a status that came over
/// the wire has no source.
pub(crate) fn is_without_answer(status: &Status) -> bool {
    status.source().is_some()
}

/// True when no connection could be made.
pub(crate) fn is_unreachable(status: &Status) -> bool {
    causes(status).any(|cause| cause.is::<ConnectError>())
}

/// True when the time of the request was over, which this side has noticed.
pub(crate) fn is_timeout(status: &Status) -> bool {
    causes(status).any(|cause| cause.is::<TimeoutExpired>())
}

/// The innermost cause, which says what happened on the wire: `connection refused`.
pub(crate) fn root_cause(status: &Status) -> String {
    let innermost = causes(status).last();
    innermost.map_or_else(|| status.message().to_owned(), ToString::to_string)
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |cause| (*cause).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_http_as_the_collector_maps_them() {
        for (code, http, after) in [
            (Code::Cancelled, 503, Some(1)),
            (Code::DeadlineExceeded, 503, Some(1)),
            (Code::Aborted, 503, Some(1)),
            (Code::OutOfRange, 503, Some(1)),
            (Code::Unavailable, 503, Some(1)),
            (Code::DataLoss, 503, Some(1)),
            (Code::ResourceExhausted, 413, None),
            (Code::InvalidArgument, 400, None),
            (Code::Unauthenticated, 401, None),
            (Code::PermissionDenied, 403, None),
            (Code::Unimplemented, 404, None),
            (Code::Internal, 500, None),
            (Code::Unknown, 500, None),
        ] {
            let status = Status::new(code, "");
            assert_eq!(to_http(&status).as_u16(), http, "{code:?}");
            assert_eq!(retry_after_seconds(to_http(&status), &status), after, "{code:?}");
        }
    }

    #[test]
    fn retry_info_becomes_whole_seconds_rounded_up() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (30_000, 30)] {
            let delay = Some(Duration::from_millis(millis));
            let details = ErrorDetails::with_retry_info(delay);
            let status = Status::with_error_details(Code::ResourceExhausted, "quota", details);
            assert_eq!(to_http(&status), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(retry_after_seconds(to_http(&status), &status), Some(seconds), "{millis}");
        }
    }
}
