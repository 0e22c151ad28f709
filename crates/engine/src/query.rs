//! The query API: reads and removes correlations.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Datelike as _, Utc};
use otlp_codec::{DecodeError, Merged, merge_logs, merge_traces};
use otlp_proto::{
    STATE_ID,
    correlation::v1::{
        CleanUpCorrelationsRequest, CleanUpCorrelationsResponse, CorrelationStatus, CorrelationSummary,
        CountCorrelationsRequest, CountCorrelationsResponse, DeleteCorrelationRequest,
        DeleteCorrelationResponse, DescribeStateRequest, DescribeStateResponse, FormerState,
        GetCorrelationRequest, GetCorrelationResponse, GetLedgerRequest, GetLedgerResponse, LedgerAccount,
        ListCorrelationsRequest, ListCorrelationsResponse, ListRelatedRequest, ListRelatedResponse,
        StateBackend, View, correlation_service_server::CorrelationService,
    },
};
use prost_types::Timestamp;
use state_core::{
    Account, Backend, CorrelationEntry, CorrelationKey, Cursor, Error, Filter, Fragment, Page, RangeQuery,
    StateManager, Summary, Tenant,
};
use tonic::{Request, Response, Status};
use tracing::warn;

use crate::{
    door,
    former::{self, Former, United},
    related, status,
};

/// Page size when none is asked for.
const PAGE_SIZE_DEFAULT: u32 = 100;
/// Largest page size.
const PAGE_SIZE_MAX: u32 = 1_000;

/// Answers queries from the state, and from the former one if there is one.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    own: Arc<dyn StateManager>,
    former: Option<Former>,
    /// All of them as one.
    all: Arc<dyn StateManager>,
    /// By which log records without a trace id are correlated.
    correlation_keys: Vec<String>,
}

impl Query {
    pub(crate) fn new(
        own: Arc<dyn StateManager>,
        former: Option<Former>,
        correlation_keys: Vec<String>,
    ) -> Self {
        let all: Arc<dyn StateManager> = match former.clone() {
            Some(former) => Arc::new(United::new(Arc::clone(&own), former)),
            None => Arc::clone(&own),
        };
        Self { own, former, all, correlation_keys }
    }

    /// The state that a request is about: the one it names, or all. A gateway names it, since others may know
    /// the same.
    ///
    /// # Errors
    /// It names one that this engine may know once it has reached its former state.
    async fn store<T>(&self, request: &Request<T>) -> Result<&dyn StateManager, Status> {
        let Some(named) = request.metadata().get(STATE_ID) else { return Ok(&*self.all) };
        let Some(former) = &self.former else { return Ok(&*self.own) };
        match former.id() {
            Some(id) if named == id => Ok(&**former.store()),
            None if *named != self.own.state_id().await.map_err(failed)? => {
                Err(failed(former::not_reached("find the state that is asked for")))
            }
            Some(_) | None => Ok(&*self.own),
        }
    }
}

#[tonic::async_trait]
impl CorrelationService for Query {
    async fn get_correlation(
        &self,
        request: Request<GetCorrelationRequest>,
    ) -> Result<Response<GetCorrelationResponse>, Status> {
        let (tenant, store) = (door::tenant(&request), self.store(&request).await?);
        let request = request.into_inner();
        let key = key(tenant, &request.correlation_id)?;
        // The entry does not say where the correlation stands.
        let (entry, known) = tokio::join!(store.get_correlation(&key), store.get_summary(&key));
        let entry = entry.map_err(failed)?.ok_or_else(|| not_found(&key))?;
        let mut summary = convert(entry.summary());
        summary.status = convert_status(known.map_err(failed)?.and_then(|known| known.status)).into();
        if request.view() != View::Full {
            return Ok(Response::new(GetCorrelationResponse {
                summary: Some(summary),
                ..Default::default()
            }));
        }
        let (traces, logs) = tokio::task::block_in_place(|| merge(&entry)).map_err(|error| {
            let attempted = format!("merge the fragments of correlation {key}");
            failed(Error::Corrupt { attempted, source: error.into() })
        })?;
        (summary.spans, summary.logs) = (traces.items, logs.items);
        summary.conflicts = traces.conflicts;
        Ok(Response::new(GetCorrelationResponse {
            summary: Some(summary),
            traces_data: traces.payload.into(),
            logs_data: logs.payload.into(),
        }))
    }

    async fn list_correlations(
        &self,
        request: Request<ListCorrelationsRequest>,
    ) -> Result<Response<ListCorrelationsResponse>, Status> {
        let (tenant, store) = (door::tenant(&request), self.store(&request).await?);
        let request = request.into_inner();
        let limit = match request.page_size {
            0 => PAGE_SIZE_DEFAULT,
            size @ 1..=PAGE_SIZE_MAX => size,
            _ => return Err(status::invalid("page_size", "expected at most 1000")),
        };
        let query = RangeQuery {
            tenant,
            from: time("from", request.from)?,
            to: time("to", request.to)?,
            filter: filter(&request)?,
            limit: limit as usize,
            after: read_token(&request.page_token)?,
        };
        let page = store.get_correlations_by_time_range(&query).await.map_err(failed)?;
        Ok(Response::new(convert_page(page, query.limit)))
    }

    async fn list_related(
        &self,
        request: Request<ListRelatedRequest>,
    ) -> Result<Response<ListRelatedResponse>, Status> {
        let (tenant, store) = (door::tenant(&request), self.store(&request).await?);
        related::list(store, tenant, request.into_inner()).await.map(Response::new)
    }

    async fn delete_correlation(
        &self,
        request: Request<DeleteCorrelationRequest>,
    ) -> Result<Response<DeleteCorrelationResponse>, Status> {
        let (tenant, store) = (door::tenant(&request), self.store(&request).await?);
        let key = key(tenant, &request.into_inner().correlation_id)?;
        if !store.delete_correlation(&key).await.map_err(failed)? {
            return Err(not_found(&key));
        }
        Ok(Response::new(DeleteCorrelationResponse {}))
    }

    async fn count_correlations(
        &self,
        request: Request<CountCorrelationsRequest>,
    ) -> Result<Response<CountCorrelationsResponse>, Status> {
        door::demand_all_tenants(&request)?;
        let store = self.store(&request).await?;
        let correlations = store.get_correlation_count().await.map_err(failed)?;
        Ok(Response::new(CountCorrelationsResponse { correlations, state: backend(store).into() }))
    }

    async fn get_ledger(
        &self,
        request: Request<GetLedgerRequest>,
    ) -> Result<Response<GetLedgerResponse>, Status> {
        door::demand_all_tenants(&request)?;
        let ledger = self.store(&request).await?.get_ledger().await.map_err(failed)?;
        let (spans, logs) = (Some(convert_account(ledger.spans)), Some(convert_account(ledger.logs)));
        Ok(Response::new(GetLedgerResponse { spans, logs }))
    }

    async fn describe_state(
        &self,
        _request: Request<DescribeStateRequest>,
    ) -> Result<Response<DescribeStateResponse>, Status> {
        let state_id = self.own.state_id().await.map_err(failed)?;
        let (state, correlation_keys) = (backend(&*self.own).into(), self.correlation_keys.clone());
        // Probes do not wait long, so this must not wait for the former state.
        let former = self.former.as_ref().filter(|former| !former.is_empty());
        let former =
            former.map(|former| FormerState { state_id: former.id().unwrap_or_default().to_owned() });
        Ok(Response::new(DescribeStateResponse { state, state_id, correlation_keys, former }))
    }

    async fn clean_up_correlations(
        &self,
        request: Request<CleanUpCorrelationsRequest>,
    ) -> Result<Response<CleanUpCorrelationsResponse>, Status> {
        door::demand_all_tenants(&request)?;
        let store = self.store(&request).await?;
        let cutoff = time("cutoff", request.into_inner().cutoff)?;
        let cutoff = cutoff.ok_or_else(|| status::invalid("cutoff", "expected a time"))?;
        let removed = store.cleanup_old_correlations(cutoff).await.map_err(failed)?;
        Ok(Response::new(CleanUpCorrelationsResponse { removed }))
    }
}

fn backend(store: &dyn StateManager) -> StateBackend {
    match store.backend() {
        Backend::Memory => StateBackend::Memory,
        Backend::Redis => StateBackend::Redis,
        Backend::RedisCluster => StateBackend::RedisCluster,
    }
}

fn filter(request: &ListCorrelationsRequest) -> Result<Filter, Status> {
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let duration_min = request.duration_min.map(Duration::try_from).transpose();
    let key = request.key.clone().map(|key| (key.name, key.value));
    if key.as_ref().is_some_and(|(name, value)| name.is_empty() || value.is_empty()) {
        return Err(status::invalid("key", "expected a name and a value"));
    }
    Ok(Filter {
        key,
        service: given(&request.service),
        env: given(&request.environment),
        status: match request.status() {
            CorrelationStatus::Unspecified => None,
            CorrelationStatus::Active => Some(state_core::Status::Active),
            CorrelationStatus::Closed => Some(state_core::Status::Closed),
        },
        has_errors: request.has_errors,
        duration_min: duration_min
            .map_err(|_negative| status::invalid("duration_min", "expected a duration of at least zero"))?,
    })
}

pub(crate) fn key(tenant: Tenant, id: &str) -> Result<CorrelationKey, Status> {
    let id = id
        .parse()
        .map_err(|error: state_core::InvalidId| status::invalid("correlation_id", &error.to_string()))?;
    Ok(CorrelationKey { tenant, id })
}

pub(crate) fn failed(error: Error) -> Status {
    if !error.is_retryable() {
        warn!(error = &error as &dyn std::error::Error, "query failed");
    }
    status::query(&error)
}

pub(crate) fn not_found(key: &CorrelationKey) -> Status {
    Status::not_found(format!(
        "correlation {key} is not stored: it never arrived, has expired or was deleted"
    ))
}

fn merge(entry: &CorrelationEntry) -> Result<(Merged, Merged), DecodeError> {
    let payloads = |fragments: &'_ [Fragment]| -> Vec<bytes::Bytes> {
        fragments.iter().map(|fragment| fragment.payload().clone()).collect()
    };
    let (spans, logs) = (payloads(&entry.spans), payloads(&entry.logs));
    Ok((
        merge_traces(spans.iter().map(|bytes| &bytes[..]))?,
        merge_logs(logs.iter().map(|bytes| &bytes[..]))?,
    ))
}

fn convert_account(account: Account) -> LedgerAccount {
    let Account { received, kept, duplicate, refused, delivered, stored, pending, expired, deleted } =
        account;
    LedgerAccount {
        received,
        kept,
        duplicate,
        refused: refused.into_iter().collect(),
        delivered,
        stored,
        pending,
        expired: expired.into_iter().collect(),
        deleted,
    }
}

fn convert_page(page: Page, limit: usize) -> ListCorrelationsResponse {
    ListCorrelationsResponse {
        // A store has no other reason to go on behind a page that is not full.
        stopped_early: page.next.is_some() && page.correlations.len() < limit,
        correlations: page.correlations.into_iter().map(convert).collect(),
        next_page_token: page.next.as_ref().map(Cursor::to_token).unwrap_or_default(),
    }
}

pub(crate) fn convert(summary: Summary) -> CorrelationSummary {
    let counts = summary.counts;
    CorrelationSummary {
        correlation_id: summary.correlation_id.into(),
        trace_id: summary.trace_id.map(String::from).unwrap_or_default(),
        service: summary.service,
        environment: summary.env,
        services: summary.services.into_iter().collect(),
        root_span_name: summary.root_name,
        first_seen: Some(timestamp(summary.first_seen)),
        last_updated: Some(timestamp(summary.last_updated)),
        first_event: counts.first_event.map(timestamp),
        last_event: counts.last_event.map(timestamp),
        spans: counts.spans,
        logs: counts.logs,
        errors: counts.errors,
        bytes: counts.bytes,
        metadata: summary.metadata.into_iter().collect(),
        conflicts: 0,
        status: convert_status(summary.status).into(),
    }
}

pub(crate) fn convert_status(status: Option<state_core::Status>) -> CorrelationStatus {
    match status {
        None => CorrelationStatus::Unspecified,
        Some(state_core::Status::Active) => CorrelationStatus::Active,
        Some(state_core::Status::Closed) => CorrelationStatus::Closed,
    }
}

pub(crate) fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: time.timestamp(), nanos: time.timestamp_subsec_nanos() as i32 }
}

/// Reads a time, rounded up to the microsecond, which is what arrivals are kept to.
fn time(field: &str, timestamp: Option<Timestamp>) -> Result<Option<DateTime<Utc>>, Status> {
    let Some(Timestamp { seconds, nanos }) = timestamp else { return Ok(None) };
    let time = || {
        let micros = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?.div_ceil(1_000);
        in_calendar(DateTime::from_timestamp_micros(seconds.checked_mul(1_000_000)? + i64::from(micros))?)
    };
    time().map(Some).ok_or_else(|| status::invalid(field, "expected a time between the years 1 and 9999"))
}

/// What RFC 3339 and protobuf can write.
fn in_calendar(time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (1..=9999).contains(&time.year()).then_some(time)
}

fn read_token(token: &str) -> Result<Option<Cursor>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let invalid = || status::invalid("page_token", "expected next_page_token of an answer before");
    Cursor::from_token(token).map(Some).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use state_core::{Counts, Labels, Overrides};

    use super::*;

    #[test]
    fn a_page_that_is_neither_full_nor_the_last_was_stopped_early() {
        let summary = |number: u32| {
            let id = format!("key={number}").parse().unwrap();
            let time = DateTime::UNIX_EPOCH;
            Summary::fold(id, time, time, Counts::default(), &Labels::default(), &Overrides::default())
        };
        let border = || Some(Cursor::before(DateTime::UNIX_EPOCH));
        for (found, next, stopped_early) in [
            (0, None, false),
            (1, None, false),
            (0, border(), true),
            (1, border(), true),
            (2, border(), false),
            (2, None, false),
        ] {
            let page = convert_page(Page { correlations: (0..found).map(summary).collect(), next }, 2);
            assert_eq!(page.stopped_early, stopped_early, "{found} {}", page.next_page_token);
        }
    }

    #[test]
    fn a_made_up_page_token_is_refused() {
        for token in ["x", "AAAA", "!"] {
            assert_eq!(read_token(token).unwrap_err().code(), tonic::Code::InvalidArgument);
        }
    }

    #[test]
    fn a_time_that_is_none_is_refused() {
        for seconds in [i64::MAX, i64::MIN, -8_334_601_228_800, 253_402_300_800] {
            let timestamp = Timestamp { seconds, nanos: 0 };
            assert_eq!(time("from", Some(timestamp)).unwrap_err().code(), tonic::Code::InvalidArgument);
        }
        let timestamp = Timestamp { seconds: 0, nanos: -1 };
        assert!(time("from", Some(timestamp)).is_err());
    }
}
