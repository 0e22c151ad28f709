//! The contract: `StateManager`, and what goes in and comes out of it.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    Claim, CorrelationEntry, CorrelationKey, Event, EventId, Finish, Finished, Fragment, Ledger, Page,
    PutBack, RangeQuery, Refused, Release, Result, Summary,
};

/// Shared state of correlations.
///
/// Any number of replicas may use the same store at once. Setting and removing a correlation and
/// adding a fragment to it are atomic: a reader sees all of it or none. Time is the store's own: it never goes
/// backwards for a correlation and is kept to the microsecond.
///
/// A correlation whose TTL has passed since its last arrival does not exist for any operation,
/// whether or not its memory has been freed yet; what arrives for it later starts anew.
///
/// # Errors
/// Every method answers [`Error::Unavailable`](crate::Error::Unavailable) while the store cannot
/// confirm, and [`Error::Closed`](crate::Error::Closed) after [`close`](Self::close). Repeating any
/// call is safe.
#[async_trait]
pub trait StateManager: fmt::Debug + Send + Sync + 'static {
    /// Adds fragments to their correlations, creating those that are not there.
    ///
    /// Answers one [`Outcome`] for each, in their order, once the store has confirmed them: what is
    /// answered `Added` or `Duplicate` survives the death of this process. Adding a fragment again
    /// changes nothing but the time of the last arrival. A fragment is added whole or not at all;
    /// after an error any of the batch may have been added, and repeating adds the rest.
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Outcome>>;

    /// Reads a correlation with all its telemetry.
    async fn get_correlation(&self, key: &CorrelationKey) -> Result<Option<CorrelationEntry>>;

    /// Reads what is known of a correlation without its telemetry, as a list tells it.
    async fn get_summary(&self, key: &CorrelationKey) -> Result<Option<Summary>>;

    /// Replaces a correlation, or creates it. Its `first_seen` and `last_updated` are kept as given,
    /// to the microsecond.
    ///
    /// It lives for `ttl` after this call and after every later arrival; `None` means the default.
    ///
    /// # Errors
    /// `Invalid` for what [`Settings::admit`](crate::Settings::admit) refuses.
    async fn set_correlation(
        &self,
        key: &CorrelationKey,
        entry: CorrelationEntry,
        ttl: Option<Duration>,
    ) -> Result<()>;

    /// Removes a correlation; answers whether it was there. What arrives later starts anew.
    async fn delete_correlation(&self, key: &CorrelationKey) -> Result<bool>;

    /// Takes correlations that are due, at most `max`: those quiet for
    /// [`Settings::grace`](crate::Settings::grace), older than
    /// [`Settings::age_max`](crate::Settings::age_max), or full.
    ///
    /// Each is the caller's for `lease`, by the store's clock; then it is due again. Work per call is
    /// bounded: fewer than `max`, even none, may come although more are due.
    async fn claim_due(&self, max: usize, lease: Duration) -> Result<Vec<Claim>>;

    /// Takes correlations that are not closed, due or not, at most `max`: for a state that is about to end.
    ///
    /// Those that somebody has claimed are left alone. Otherwise like [`claim_due`](Self::claim_due).
    async fn claim_active(&self, max: usize, lease: Duration) -> Result<Vec<Claim>>;

    /// Closes claimed correlations; answers one [`Finished`] for each, in their order, once the store
    /// has confirmed all of them.
    ///
    /// Closing a correlation and putting its event into the outbox are one atomic step. Of all claims
    /// of a generation at most one finishes it. After an error any of them may be closed; repeating
    /// the call answers what has become of them. A later fragment with anything new opens the next
    /// generation.
    async fn finish(&self, finishes: Vec<Finish>) -> Result<Vec<Finished>>;

    /// Gives claims back. Those that are somebody else's by now are left alone.
    async fn release(&self, releases: Vec<Release>) -> Result<()>;

    /// Takes events from the outbox whose time has come, those of at most `max` correlations.
    ///
    /// Each is the caller's for `lease`, by the store's clock; then it is anybody's again, until it is
    /// removed or its correlation is gone. Work per call is bounded: fewer than `max`, even none, may
    /// come although there are more.
    async fn claim_events(&self, max: usize, lease: Duration) -> Result<Vec<Event>>;

    /// Gives events back, and notes who has them.
    async fn put_back_events(&self, events: Vec<PutBack>) -> Result<()>;

    /// Removes events from the outbox; answers how many were there.
    async fn remove_events(&self, events: &[EventId]) -> Result<u64>;

    /// Lists correlations of a tenant by the time of their last arrival, newest first.
    ///
    /// Work per call is bounded: a page may hold fewer than asked for, even none, and still have a
    /// next one. A correlation that stays as it is while the pages are read is on exactly one of
    /// them; one that is updated meanwhile moves towards the newest.
    async fn get_correlations_by_time_range(&self, query: &RangeQuery) -> Result<Page>;

    /// Removes every correlation, of all tenants, whose last arrival is before `cutoff`; answers
    /// how many.
    async fn cleanup_old_correlations(&self, cutoff: DateTime<Utc>) -> Result<u64>;

    /// Frees what has outlived its TTL; answers how many correlations.
    ///
    /// Only a matter of memory: no other method ever returns or counts them. Work per call is
    /// bounded; a call that frees nothing found nothing.
    async fn expire(&self) -> Result<u64>;

    /// Counts the correlations of all tenants, exactly.
    async fn get_correlation_count(&self) -> Result<u64>;

    /// Tells what has become of everything the store was given, by all replicas and for all tenants.
    ///
    /// It is counted in the same steps in which the state changes, and lives where the state lives: the
    /// death of a replica changes nothing. What has expired is where it was until it is freed. It begins anew with the state, and in a store that loses what
    /// nobody has touched for 30 days, after that time.
    async fn get_ledger(&self) -> Result<Ledger>;

    /// Enters into the ledger what was refused before it reached the store. Unlike everything else,
    /// this counts again when it is repeated.
    async fn note_refused(&self, refused: Vec<Refused>) -> Result<()>;

    /// Answers whether the store can serve now; the error says why not.
    async fn ready(&self) -> Result<()>;

    /// Which backend this is.
    fn backend(&self) -> Backend;

    /// Which state this is: the same text for all that share their correlations, another for all others.
    ///
    /// At most 64 printable ASCII characters; it stays as long as the state does.
    async fn state_id(&self) -> Result<String>;

    /// Finishes what is in flight and ends the store's connections. The state itself stays.
    async fn close(&self) -> Result<()>;
}

/// Where the state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// In this process.
    Memory,
    /// In one Redis server.
    Redis,
    /// In a Redis Cluster.
    RedisCluster,
}

impl Backend {
    /// Its name in metrics, logs and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::RedisCluster => "redis-cluster",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A fragment and the correlation it belongs to.
#[derive(Debug, Clone)]
pub struct Append {
    /// The correlation.
    pub key: CorrelationKey,
    /// What is added.
    pub fragment: Fragment,
}

/// What became of a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was new and is kept.
    Added,
    /// The same fragment was kept before.
    Duplicate,
    /// It would exceed a limit of its correlation; nothing was written.
    Refused(Refusal),
}

/// Why a fragment can never be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The correlation would hold more spans or log records than [`Limits::spans_max`](crate::Limits::spans_max).
    SpansMax,
    /// The correlation would hold more bytes than [`Limits::bytes_max`](crate::Limits::bytes_max).
    BytesMax,
}

impl Refusal {
    /// Its name in metrics, and the configuration key to raise.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SpansMax => "spans_max",
            Self::BytesMax => "bytes_max",
        }
    }
}
