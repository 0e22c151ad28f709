//! The outbox: events of closed generations, until everybody who is to have them has them.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use xxhash_rust::xxh3::xxh3_64;

use crate::{CorrelationEntry, CorrelationKey, Fragment};

/// Name of an event: the same for every delivery of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The correlation.
    pub key: CorrelationKey,
    /// Arrival of the first fragment of its first generation: tells a correlation from one of the
    /// same name that began anew.
    pub first_seen: DateTime<Utc>,
    /// Which generation was closed, from 1.
    pub generation: u64,
}

impl fmt::Display for EventId {
    /// Tenant, id, microseconds since 1970 and generation with slashes between: only an id may hold a slash.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, first_seen, generation } = self;
        write!(formatter, "{}/{}/{}/{generation}", key.tenant, key.id, first_seen.timestamp_micros())
    }
}

/// A generation that was closed, kept until it is removed or the correlation is gone.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its name.
    pub id: EventId,
    /// When it was closed, by the store's clock.
    pub closed: DateTime<Utc>,
    /// What it was finished with.
    pub note: String,
    /// Who has it already.
    pub delivered: Vec<Receiver>,
    /// The correlation as a whole, later generations included.
    pub entry: CorrelationEntry,
    /// The fragments of this generation that hold something no earlier generation held.
    pub news: Vec<Fragment>,
}

/// Who is to have events, as a store knows it: a hash of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receiver([u8; 8]);

impl Receiver {
    /// The receiver of this name.
    pub fn named(name: &str) -> Self {
        Self(xxh3_64(name.as_bytes()).to_be_bytes())
    }

    /// Takes a receiver as a store kept it.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The 8 bytes of the hash.
    pub fn bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

/// Gives an event back that not everybody has.
#[derive(Debug, Clone)]
pub struct PutBack {
    /// The event.
    pub event: EventId,
    /// Who has it now, beside those who had it before.
    pub delivered: Vec<Receiver>,
    /// How long to leave it alone. Of several events of one correlation the last one's counts.
    pub look_after: Duration,
}
