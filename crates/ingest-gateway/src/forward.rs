//! Sends an export request to the engines that its traces belong to, and makes one answer of theirs.

use std::{borrow::Cow, sync::Arc};

use access::Caller;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, join_all};
use otlp_codec::{DecodeError, Share, Subject, partition_logs, partition_traces};
use otlp_proto::{
    opentelemetry::proto::collector::{
        logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse},
        trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse},
    },
    raw::{logs::logs_service_client::LogsServiceClient, trace::trace_service_client::TraceServiceClient},
};
use prost::Message as _;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    blocking,
    engines::{Among, Engines, Failure, Method, Route},
    metrics,
    receive::Signal,
    status,
};

/// A request on its way, or a share of one.
#[derive(Clone, Copy)]
pub(crate) struct Forward<'a> {
    pub(crate) engines: &'a Engines,
    pub(crate) signal: Signal,
    pub(crate) caller: &'a Caller,
    pub(crate) deadline: Instant,
}

/// What of a request goes to one place.
struct Part {
    place: usize,
    request: Bytes,
    items: u64,
}

impl Forward<'_> {
    /// Sends a request; answers an encoded `Export{Trace,Logs}ServiceResponse`.
    ///
    /// # Errors
    /// What an engine said, or that none could be asked. When it may be sent again, all of it may:
    /// what was taken already is known then.
    pub(crate) async fn send(self, request: Bytes) -> Result<Bytes, Status> {
        self.send_beside(request, Vec::new()).await
    }

    /// Sends it to others than those that are gone.
    fn send_beside<'f>(self, request: Bytes, gone: Vec<Among>) -> BoxFuture<'f, Result<Bytes, Status>>
    where
        Self: 'f,
    {
        async move {
            let route = Arc::new(self.engines.route(&gone));
            let only_place = route.only_place().map_err(|_none| self.engines.none_ready())?;
            let parts = match only_place {
                Some(place) => vec![Part { place, request, items: 0 }],
                None => self.partition(request, Arc::clone(&route)).await?,
            };
            let answers = parts.into_iter().map(|part| self.send_part(&route, part, &gone));
            combine(self.signal, join_all(answers).await)
        }
        .boxed()
    }

    async fn send_part(&self, route: &Route, part: Part, gone: &[Among]) -> (u64, Result<Bytes, Status>) {
        let Part { place, request, items } = part;
        let among = route.among(place);
        let failure = match self.export(&among, request.clone()).await {
            Ok(answer) => return (items, Ok(answer)),
            Err(failure) => failure,
        };
        if !failure.is_gone {
            return (items, Err(failure.status));
        }
        // The traces of an engine or a pool that is gone belong to others now, each to its own.
        let gone: Vec<Among> = gone.iter().cloned().chain([among]).collect();
        let has_others = self.engines.route(&gone).only_place().is_ok();
        if !has_others || !self.engines.may_try_again(gone.len()) {
            return (items, Err(failure.status));
        }
        (items, self.send_beside(request, gone).await)
    }

    async fn export(&self, among: &Among, message: Bytes) -> Result<Bytes, Failure> {
        let Self { engines, signal, caller, deadline } = *self;
        metrics::sent_to_pool(among.pool.as_deref());
        match signal {
            Signal::Traces => {
                let export =
                    |channel, request| async move { TraceServiceClient::new(channel).export(request).await };
                engines.call(caller, among, deadline, Method::EXPORT_TRACES, message, export).await
            }
            Signal::Logs => {
                let export =
                    |channel, request| async move { LogsServiceClient::new(channel).export(request).await };
                engines.call(caller, among, deadline, Method::EXPORT_LOGS, message, export).await
            }
        }
    }

    /// Cuts a request by the places of its traces.
    async fn partition(&self, request: Bytes, route: Arc<Route>) -> Result<Vec<Part>, Status> {
        let (signal, bytes) = (self.signal, request.len());
        let tenant = xxh3_64_with_seed(self.caller.tenant.as_str().as_bytes(), 0);
        let options = self.engines.split_options();
        let cut = move || {
            let place = |subject: &Subject| route.place(key(subject, tenant, &request));
            let shares = match signal {
                Signal::Traces => partition_traces(&request, place),
                Signal::Logs => partition_logs(&request, &options, place),
            };
            let part = |Share { place, request: share, items }| match share {
                Cow::Borrowed(_whole) => Part { place, request: request.clone(), items },
                Cow::Owned(share) => Part { place, request: share.into(), items },
            };
            shares.map(|shares| shares.into_iter().map(part).collect())
        };
        let cut: Result<_, DecodeError> = blocking::run(bytes, cut).await;
        cut.map_err(|error| {
            let message = format!("failed to read the export request of {}: {error}", signal.name());
            let details = ErrorDetails::with_bad_request_violation("request", error.to_string());
            Status::with_error_details(Code::InvalidArgument, message, details)
        })
    }
}

/// What the place of a subject depends on. Without one it is the request as a whole, so that it
/// goes to the same place when it is sent again.
fn key(subject: &Subject, tenant: u64, request: &[u8]) -> u64 {
    match subject {
        Subject::Trace(id) => xxh3_64_with_seed(id, tenant),
        Subject::Key { name, value } => {
            xxh3_64_with_seed(value.as_bytes(), xxh3_64_with_seed(name.as_bytes(), tenant))
        }
        Subject::None => xxh3_64_with_seed(request, tenant),
    }
}

/// Makes one answer of those to the parts of a request.
fn combine(signal: Signal, mut answers: Vec<(u64, Result<Bytes, Status>)>) -> Result<Bytes, Status> {
    let is_retryable = |(_, answer): &(u64, Result<Bytes, Status>)| match answer {
        Ok(_) => false,
        Err(status) => status::is_retryable(status),
    };
    // With one retryable refusal all of it must come again. When nothing was taken, that is the answer.
    let decisive = match answers.iter().position(is_retryable) {
        None if answers.iter().all(|(_, answer)| answer.is_err()) => Some(0),
        None if answers.len() == 1 => Some(0),
        retryable => retryable,
    };
    if let Some(index) = decisive {
        return answers.swap_remove(index).1;
    }
    let mut rejected = 0;
    let mut messages = Vec::new();
    for (items, answer) in answers {
        let (count, message) = match answer {
            Ok(answer) => partial_success(signal, answer)?,
            Err(refused) => (items.cast_signed(), refused.message().to_owned()),
        };
        rejected += count;
        if !message.is_empty() && !messages.contains(&message) {
            messages.push(message);
        }
    }
    Ok(encode(signal, rejected, messages.join("; ")))
}

/// How many items an engine has rejected, and why.
fn partial_success(signal: Signal, answer: Bytes) -> Result<(i64, String), Status> {
    let invalid =
        |error: prost::DecodeError| Status::internal(format!("an engine's answer is not valid: {error}"));
    Ok(match signal {
        Signal::Traces => {
            let answer = ExportTraceServiceResponse::decode(answer).map_err(invalid)?;
            let partial = answer.partial_success.unwrap_or_default();
            (partial.rejected_spans, partial.error_message)
        }
        Signal::Logs => {
            let answer = ExportLogsServiceResponse::decode(answer).map_err(invalid)?;
            let partial = answer.partial_success.unwrap_or_default();
            (partial.rejected_log_records, partial.error_message)
        }
    })
}

/// The answer of the whole; `partial_success` is unset, and so nothing written, when all was taken.
fn encode(signal: Signal, rejected: i64, error_message: String) -> Bytes {
    if rejected == 0 && error_message.is_empty() {
        return Bytes::new();
    }
    let encoded = match signal {
        Signal::Traces => {
            let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message };
            ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        }
        Signal::Logs => {
            let partial = ExportLogsPartialSuccess { rejected_log_records: rejected, error_message };
            ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        }
    };
    encoded.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partial(rejected: i64, message: &str) -> Bytes {
        encode(Signal::Traces, rejected, message.to_owned())
    }

    fn combined(answers: Vec<(u64, Result<Bytes, Status>)>) -> Result<Bytes, Code> {
        combine(Signal::Traces, answers).map_err(|status| status.code())
    }

    #[test]
    fn full_success_needs_that_of_every_part() {
        assert_eq!(combined(vec![(1, Ok(Bytes::new())), (2, Ok(Bytes::new()))]), Ok(Bytes::new()));
        let answers = vec![(3, Ok(partial(2, "no id"))), (1, Ok(Bytes::new())), (5, Ok(partial(1, "no id")))];
        assert_eq!(combined(answers), Ok(partial(3, "no id")));
    }

    #[test]
    fn a_part_that_can_never_be_kept_does_not_take_the_others_along() {
        let answers = vec![(3, Err(Status::invalid_argument("bad"))), (1, Ok(partial(1, "no id")))];
        assert_eq!(combined(answers), Ok(partial(4, "bad; no id")));
        let all = vec![(3, Err(Status::invalid_argument("bad"))), (1, Err(Status::permission_denied("no")))];
        assert_eq!(combined(all), Err(Code::InvalidArgument));
    }

    #[test]
    fn one_part_to_be_sent_again_is_all_to_be_sent_again() {
        let answers = vec![
            (3, Ok(Bytes::new())),
            (2, Err(Status::invalid_argument("bad"))),
            (1, Err(Status::unavailable("later"))),
        ];
        assert_eq!(combined(answers), Err(Code::Unavailable));
    }
}
