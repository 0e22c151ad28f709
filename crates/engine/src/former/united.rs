//! A state and the former one as one to whoever reads: what is written goes to the state alone, what is read comes from
//! both.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use state_core::{
    Append, Backend, Claim, CorrelationEntry, CorrelationKey, Cursor, Event, EventId, Finish, Finished,
    Ledger, Outcome, Page, PutBack, RangeQuery, Refused, Release, Result, StateManager, Summary, unite_pages,
};

use super::Former;

/// A state with the former one.
#[derive(Debug)]
pub(crate) struct United {
    own: Arc<dyn StateManager>,
    former: Former,
}

impl United {
    pub(crate) fn new(own: Arc<dyn StateManager>, former: Former) -> Self {
        Self { own, former }
    }

    /// The states that hold anything.
    ///
    /// # Errors
    /// One of them does not answer, so nobody knows the whole.
    fn all(&self, attempted: &str) -> Result<Vec<&dyn StateManager>> {
        let former = self.former.asked(attempted)?;
        Ok([Some(&*self.own), former].into_iter().flatten().collect())
    }

    /// What is known of one correlation. While the former state does not answer, what the other one has.
    async fn known<'a, T, Asked: Future<Output = Result<Option<T>>>>(
        &'a self,
        key: &CorrelationKey,
        ask: impl Fn(&'a dyn StateManager) -> Asked,
        unite: impl Fn(T, T) -> T,
    ) -> Result<Option<T>> {
        let former = async {
            match self.former.asked(&format!("get correlation {key}"))? {
                Some(former) => ask(former).await,
                None => Ok(None),
            }
        };
        let (own, former) = tokio::join!(ask(&*self.own), former);
        match (own?, former) {
            (Some(own), Ok(Some(former))) => Ok(Some(unite(own, former))),
            (Some(own), _) => Ok(Some(own)),
            (None, former) => former,
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl StateManager for United {
    async fn get_correlation(&self, key: &CorrelationKey) -> Result<Option<CorrelationEntry>> {
        // What is in the former state came first.
        let unite = |own: CorrelationEntry, former: CorrelationEntry| former.unite(own);
        self.known(key, |store| store.get_correlation(key), unite).await
    }

    async fn get_summary(&self, key: &CorrelationKey) -> Result<Option<Summary>> {
        self.known(key, |store| store.get_summary(key), Summary::unite).await
    }

    async fn delete_correlation(&self, key: &CorrelationKey) -> Result<bool> {
        let stores = self.all(&format!("delete correlation {key}"))?;
        let deleted = try_join_all(stores.iter().map(|store| store.delete_correlation(key))).await?;
        Ok(deleted.contains(&true))
    }

    /// A correlation of both is listed twice, each time as one of them knows it.
    async fn get_correlations_by_time_range(&self, query: &RangeQuery) -> Result<Page> {
        let stores = self.all("list correlations")?;
        let pages = try_join_all(stores.iter().map(|store| store.get_correlations_by_time_range(query)));
        let pages = pages.await?.into_iter().map(|Page { correlations, next }| (correlations, next));
        let (correlations, next) = unite_pages(pages, query.limit, Cursor::of);
        Ok(Page { correlations, next })
    }

    async fn cleanup_old_correlations(&self, cutoff: DateTime<Utc>) -> Result<u64> {
        let stores = self.all(&format!("clean up before {cutoff}"))?;
        let removed = try_join_all(stores.iter().map(|store| store.cleanup_old_correlations(cutoff))).await?;
        Ok(removed.into_iter().sum())
    }

    async fn get_correlation_count(&self) -> Result<u64> {
        let stores = self.all("count correlations")?;
        let counts = try_join_all(stores.iter().map(|store| store.get_correlation_count())).await?;
        Ok(counts.into_iter().sum())
    }

    async fn get_ledger(&self) -> Result<Ledger> {
        let stores = self.all("read the ledger")?;
        let mut sum = Ledger::default();
        for ledger in try_join_all(stores.iter().map(|store| store.get_ledger())).await? {
            sum.spans += &ledger.spans;
            sum.logs += &ledger.logs;
        }
        Ok(sum)
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Outcome>> {
        self.own.append(batch).await
    }

    async fn set_correlation(
        &self,
        key: &CorrelationKey,
        entry: CorrelationEntry,
        ttl: Option<Duration>,
    ) -> Result<()> {
        self.own.set_correlation(key, entry, ttl).await
    }

    async fn claim_due(&self, max: usize, lease: Duration) -> Result<Vec<Claim>> {
        self.own.claim_due(max, lease).await
    }

    async fn claim_active(&self, max: usize, lease: Duration) -> Result<Vec<Claim>> {
        self.own.claim_active(max, lease).await
    }

    async fn finish(&self, finishes: Vec<Finish>) -> Result<Vec<Finished>> {
        self.own.finish(finishes).await
    }

    async fn release(&self, releases: Vec<Release>) -> Result<()> {
        self.own.release(releases).await
    }

    async fn claim_events(&self, max: usize, lease: Duration) -> Result<Vec<Event>> {
        self.own.claim_events(max, lease).await
    }

    async fn put_back_events(&self, events: Vec<PutBack>) -> Result<()> {
        self.own.put_back_events(events).await
    }

    async fn remove_events(&self, events: &[EventId]) -> Result<u64> {
        self.own.remove_events(events).await
    }

    async fn expire(&self) -> Result<u64> {
        self.own.expire().await
    }

    async fn note_refused(&self, refused: Vec<Refused>) -> Result<()> {
        self.own.note_refused(refused).await
    }

    async fn ready(&self) -> Result<()> {
        self.own.ready().await
    }

    fn backend(&self) -> Backend {
        self.own.backend()
    }

    async fn state_id(&self) -> Result<String> {
        self.own.state_id().await
    }

    async fn close(&self) -> Result<()> {
        self.own.close().await
    }
}
