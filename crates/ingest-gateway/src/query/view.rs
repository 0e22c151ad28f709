//! The JSON of the query API.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, SecondsFormat};
use otlp_proto::correlation::v1::{
    CorrelationStatus, CorrelationSummary, CountCorrelationsResponse, ListCorrelationsResponse,
};
use prost_types::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::engines::backend_name;

/// A `CorrelationSummary`: its fields under their own names, times as RFC 3339.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    correlation_id: String,
    trace_id: String,
    /// `active` or `closed`; empty when the engine does not tell.
    status: &'static str,
    service: String,
    environment: String,
    services: Vec<String>,
    root_span_name: String,
    first_seen: Option<String>,
    last_updated: Option<String>,
    first_event: Option<String>,
    last_event: Option<String>,
    spans: u64,
    logs: u64,
    errors: u64,
    bytes: u64,
    metadata: BTreeMap<String, String>,
    conflicts: u64,
}

impl From<CorrelationSummary> for Summary {
    fn from(summary: CorrelationSummary) -> Self {
        let status = match summary.status() {
            CorrelationStatus::Unspecified => "",
            CorrelationStatus::Active => "active",
            CorrelationStatus::Closed => "closed",
        };
        Self {
            status,
            correlation_id: summary.correlation_id,
            trace_id: summary.trace_id,
            service: summary.service,
            environment: summary.environment,
            services: summary.services,
            root_span_name: summary.root_span_name,
            first_seen: summary.first_seen.and_then(rfc_3339),
            last_updated: summary.last_updated.and_then(rfc_3339),
            first_event: summary.first_event.and_then(rfc_3339),
            last_event: summary.last_event.and_then(rfc_3339),
            spans: summary.spans,
            logs: summary.logs,
            errors: summary.errors,
            bytes: summary.bytes,
            metadata: summary.metadata.into_iter().collect(),
            conflicts: summary.conflicts,
        }
    }
}

/// The summary and all telemetry as OTLP/JSON.
#[derive(Debug, Serialize)]
pub(super) struct Full {
    #[serde(flatten)]
    pub(super) summary: Summary,
    /// `TracesData`
    pub(super) traces_data: Box<RawValue>,
    /// `LogsData`
    pub(super) logs_data: Box<RawValue>,
}

/// One page of summaries.
#[derive(Debug, Serialize)]
pub(super) struct Listing {
    correlations: Vec<Summary>,
    /// Empty on the last page.
    next_page_token: String,
    /// Whether the page ends because it was enough work, before it was full.
    stopped_early: bool,
}

impl From<ListCorrelationsResponse> for Listing {
    fn from(page: ListCorrelationsResponse) -> Self {
        Self {
            correlations: page.correlations.into_iter().map(Summary::from).collect(),
            next_page_token: page.next_page_token,
            stopped_early: page.stopped_early,
        }
    }
}

/// How much is stored, where, and by whom it is served.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    correlations: u64,
    /// `memory`, `redis` or `redis-cluster`; several, joined by `+`, while engines differ.
    state: String,
    engines: Vec<Engine>,
}

/// One engine as this gateway sees it.
#[derive(Debug, Serialize)]
pub(super) struct Engine {
    pub(super) url: String,
    pub(super) pool: Arc<str>,
    pub(super) ready: bool,
    pub(super) state: &'static str,
}

impl Stats {
    /// `counts` has one for each state.
    pub(super) fn new(counts: &[CountCorrelationsResponse], engines: Vec<Engine>) -> Self {
        let states: BTreeSet<_> = counts.iter().map(|count| backend_name(count.state())).collect();
        let state = states.into_iter().collect::<Vec<_>>().join("+");
        Self { correlations: counts.iter().map(|count| count.correlations).sum(), state, engines }
    }
}

/// `None` for a time that no calendar has.
pub(super) fn rfc_3339(time: Timestamp) -> Option<String> {
    let nanos = u32::try_from(time.nanos).ok()?;
    let time = DateTime::from_timestamp(time.seconds, nanos)?;
    Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}
