//! Measures any store: a decorator that counts and times every operation, and traces those of a request.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use metrics::{counter, histogram};
use service_lifecycle::{SpanKind, Tracer};
use state_core::{
    Append, Backend, Claim, CorrelationEntry, CorrelationKey, Event, EventId, Finish, Finished, Ledger,
    Outcome, Page, PutBack, RangeQuery, Refused, Release, Result, StateManager, Summary,
};
use tokio::time::Instant;

use crate::metrics::correlation_operations;

/// A store whose operations are measured.
#[derive(Debug)]
pub(crate) struct Measured {
    store: Arc<dyn StateManager>,
    tracer: Tracer,
}

impl Measured {
    pub(crate) fn new(store: Arc<dyn StateManager>, tracer: Tracer) -> Self {
        Self { store, tracer }
    }

    async fn measure<T>(&self, operation: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.measure_batch(operation, None, call).await
    }

    /// An operation on so many correlations, where it takes several.
    async fn measure_batch<T>(
        &self,
        operation: &'static str,
        items: Option<usize>,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let backend = self.store.backend().as_str();
        let start = Instant::now();
        let result = match self.tracer.child(SpanKind::Client) {
            None => call.await,
            Some(span) => {
                span.describe_database(system(self.store.backend()), operation, items);
                let result = span.run(call).await;
                if let Err(error) = &result {
                    span.fail(if error.is_retryable() { "retryable" } else { "refused" });
                }
                result
            }
        };
        histogram!("state_manager_duration_seconds", "type" => backend, "operation" => operation)
            .record(start.elapsed().as_secs_f64());
        counter!("state_manager_operations_total", "type" => backend, "operation" => operation).increment(1);
        if result.is_err() {
            counter!("state_manager_errors_total", "type" => backend, "operation" => operation).increment(1);
        }
        result
    }
}

/// What OpenTelemetry calls the backend as a database.
fn system(backend: Backend) -> &'static str {
    match backend {
        Backend::Memory => "memory",
        Backend::Redis | Backend::RedisCluster => "redis",
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl StateManager for Measured {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Outcome>> {
        correlation_operations(batch.len());
        self.measure_batch("append", Some(batch.len()), self.store.append(batch)).await
    }

    async fn get_correlation(&self, key: &CorrelationKey) -> Result<Option<CorrelationEntry>> {
        correlation_operations(1);
        self.measure("get_correlation", self.store.get_correlation(key)).await
    }

    async fn get_summary(&self, key: &CorrelationKey) -> Result<Option<Summary>> {
        correlation_operations(1);
        self.measure("get_summary", self.store.get_summary(key)).await
    }

    async fn set_correlation(
        &self,
        key: &CorrelationKey,
        entry: CorrelationEntry,
        ttl: Option<Duration>,
    ) -> Result<()> {
        correlation_operations(1);
        self.measure("set_correlation", self.store.set_correlation(key, entry, ttl)).await
    }

    async fn delete_correlation(&self, key: &CorrelationKey) -> Result<bool> {
        correlation_operations(1);
        self.measure("delete_correlation", self.store.delete_correlation(key)).await
    }

    async fn claim_due(&self, max: usize, lease: Duration) -> Result<Vec<Claim>> {
        self.measure("claim_due", self.store.claim_due(max, lease)).await
    }

    async fn claim_active(&self, max: usize, lease: Duration) -> Result<Vec<Claim>> {
        self.measure("claim_active", self.store.claim_active(max, lease)).await
    }

    async fn finish(&self, finishes: Vec<Finish>) -> Result<Vec<Finished>> {
        correlation_operations(finishes.len());
        self.measure("finish", self.store.finish(finishes)).await
    }

    async fn release(&self, releases: Vec<Release>) -> Result<()> {
        self.measure("release", self.store.release(releases)).await
    }

    async fn claim_events(&self, max: usize, lease: Duration) -> Result<Vec<Event>> {
        self.measure("claim_events", self.store.claim_events(max, lease)).await
    }

    async fn put_back_events(&self, events: Vec<PutBack>) -> Result<()> {
        self.measure("put_back_events", self.store.put_back_events(events)).await
    }

    async fn remove_events(&self, events: &[EventId]) -> Result<u64> {
        self.measure("remove_events", self.store.remove_events(events)).await
    }

    async fn get_correlations_by_time_range(&self, query: &RangeQuery) -> Result<Page> {
        let call = self.store.get_correlations_by_time_range(query);
        self.measure("get_correlations_by_time_range", call).await
    }

    async fn cleanup_old_correlations(&self, cutoff: DateTime<Utc>) -> Result<u64> {
        self.measure("cleanup_old_correlations", self.store.cleanup_old_correlations(cutoff)).await
    }

    async fn expire(&self) -> Result<u64> {
        self.measure("expire", self.store.expire()).await
    }

    async fn get_correlation_count(&self) -> Result<u64> {
        self.measure("get_correlation_count", self.store.get_correlation_count()).await
    }

    async fn get_ledger(&self) -> Result<Ledger> {
        self.measure("get_ledger", self.store.get_ledger()).await
    }

    async fn note_refused(&self, refused: Vec<Refused>) -> Result<()> {
        self.measure("note_refused", self.store.note_refused(refused)).await
    }

    async fn ready(&self) -> Result<()> {
        self.measure("ready", self.store.ready()).await
    }

    fn backend(&self) -> Backend {
        self.store.backend()
    }

    async fn state_id(&self) -> Result<String> {
        self.measure("state_id", self.store.state_id()).await
    }

    async fn close(&self) -> Result<()> {
        self.measure("close", self.store.close()).await
    }
}
