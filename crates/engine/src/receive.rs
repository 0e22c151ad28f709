//! OTLP in: a request is split into fragments, and answered once the store has confirmed them.

use std::sync::Arc;

use bytes::Bytes;
use otlp_codec::{DecodeError, RejectReason, Split, SplitOptions, Subject, split_logs, split_traces};
use otlp_proto::{
    opentelemetry::proto::collector::{
        logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse},
        trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse},
    },
    raw::{logs::logs_service_server::LogsService, trace::trace_service_server::TraceService},
};
use prost::Message as _;
use state_core::{Outcome, Refusal, Signal, StateManager, Tenant};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{activity::Activity, door, metrics, refusals::Refusals, regroup, status, unkept::Unkept};

/// Requests above this size are split where they do not hold up other requests.
const INLINE_BYTES_MAX: usize = 1 << 20;

/// Receives both signals.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    store: Arc<dyn StateManager>,
    options: Arc<SplitOptions>,
    refusals: Arc<Refusals>,
    unkept: Arc<Unkept>,
    activity: Activity,
}

/// What of a request can never be kept, and why.
struct Rejected {
    items: u64,
    message: String,
}

impl Receiver {
    pub(crate) fn new(
        store: Arc<dyn StateManager>,
        options: SplitOptions,
        unkept: Arc<Unkept>,
        activity: Activity,
    ) -> Self {
        Self { store, options: Arc::new(options), refusals: Arc::default(), unkept, activity }
    }

    /// Counts items that never reached the store.
    fn refuse(&self, signal: Signal, reason: &'static str, items: u64) {
        metrics::refused(signal, reason, items);
        self.unkept.add(signal, reason, items);
    }

    async fn receive(&self, signal: Signal, request: Request<Bytes>) -> Result<Rejected, Status> {
        let start = Instant::now();
        let tenant = door::tenant(&request);
        door::count(&request)?;
        let request = request.into_inner();
        metrics::request(signal, request.len());
        let split = self.split(signal, &request).map_err(|error| {
            metrics::request_refused(signal, "undecodable");
            undecodable(signal, &error)
        })?;
        drop(request);
        metrics::received(signal, split.received);
        metrics::named_in_text(split.named_in_text);
        let result = self.keep(signal, split, &tenant).await;
        metrics::request_took(signal, start.elapsed().as_secs_f64());
        result
    }

    fn split(&self, signal: Signal, request: &Bytes) -> Result<Split, DecodeError> {
        let split = || match signal {
            Signal::Traces => split_traces(request, &self.options),
            Signal::Logs => split_logs(request, &self.options),
        };
        if request.len() > INLINE_BYTES_MAX { tokio::task::block_in_place(split) } else { split() }
    }

    async fn keep(&self, signal: Signal, split: Split, tenant: &Tenant) -> Result<Rejected, Status> {
        let Split { parts, rejected, .. } = split;
        for reason in RejectReason::ALL {
            self.refuse(signal, reason.as_str(), rejected.count(reason));
        }
        let mut items = Vec::with_capacity(parts.len());
        let mut batch = Vec::with_capacity(parts.len());
        for part in parts {
            let count = part.identities.len() as u64;
            if part.subject == Subject::None {
                metrics::uncorrelated(count);
            }
            items.push(count);
            batch.push(regroup::append(signal, part, tenant));
        }
        // Also before it is known to be kept: it may be, although no answer came.
        self.activity.note();
        let outcomes = self.store.append(batch).await.map_err(|error| {
            self.refusals.tell(signal, &error);
            metrics::request_refused(signal, "unavailable");
            self.refuse(signal, "unavailable", items.iter().sum());
            status::unavailable(&error)
        })?;
        let mut over = [(Refusal::SpansMax, 0), (Refusal::BytesMax, 0)];
        for (outcome, items) in outcomes.into_iter().zip(items) {
            metrics::settled(signal, outcome, items);
            if let Outcome::Refused(refusal) = outcome {
                over.iter_mut()
                    .filter(|(reason, _)| *reason == refusal)
                    .for_each(|(_, count)| *count += items);
            }
        }
        let mut messages = Vec::new();
        if rejected.total() > 0 {
            messages.push(rejected.error_message());
        }
        for (refusal, count) in over.iter().filter(|(_, count)| *count > 0) {
            let limit = refusal.as_str();
            messages.push(format!("{count} would exceed correlation.{limit} of their correlation"));
        }
        let total = rejected.total() + over.iter().map(|(_, count)| count).sum::<u64>();
        Ok(Rejected { items: total, message: messages.join("; ") })
    }
}

fn undecodable(signal: Signal, error: &DecodeError) -> Status {
    let message = format!("failed to read the export request of {}: {error}", metrics::label(signal));
    let details = ErrorDetails::with_bad_request_violation("request", error.to_string());
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// The whole of an answer when nothing is rejected: `partial_success` must then be unset, and a
/// message without fields has no bytes.
const FULL_SUCCESS: Bytes = Bytes::new();

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        let Rejected { items, message } = self.receive(Signal::Traces, request).await?;
        if items == 0 {
            return Ok(Response::new(FULL_SUCCESS));
        }
        let partial = ExportTracePartialSuccess { rejected_spans: items as i64, error_message: message };
        let response = ExportTraceServiceResponse { partial_success: Some(partial) };
        Ok(Response::new(response.encode_to_vec().into()))
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        let Rejected { items, message } = self.receive(Signal::Logs, request).await?;
        if items == 0 {
            return Ok(Response::new(FULL_SUCCESS));
        }
        let partial = ExportLogsPartialSuccess { rejected_log_records: items as i64, error_message: message };
        let response = ExportLogsServiceResponse { partial_success: Some(partial) };
        Ok(Response::new(response.encode_to_vec().into()))
    }
}
