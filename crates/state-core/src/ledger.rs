//! The ledger: what has become of every span and log record that a store was given.

use std::{
    collections::BTreeMap,
    fmt,
    ops::{Add, AddAssign, SubAssign},
};

use serde::Serialize;

use crate::{Fragment, Signal};

/// A number of spans and of log records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Items {
    /// Spans.
    pub spans: u64,
    /// Log records.
    pub logs: u64,
}

impl Items {
    /// So many of one signal.
    pub fn of_signal(signal: Signal, count: u64) -> Self {
        match signal {
            Signal::Traces => Self { spans: count, logs: 0 },
            Signal::Logs => Self { spans: 0, logs: count },
        }
    }

    /// Those in a fragment.
    pub fn of(fragment: &Fragment) -> Self {
        Self::of_signal(fragment.signal(), fragment.identities().len() as u64)
    }

    /// Of each the smaller number.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self { spans: self.spans.min(other.spans), logs: self.logs.min(other.logs) }
    }
}

impl Add for Items {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { spans: self.spans + other.spans, logs: self.logs + other.logs }
    }
}

impl AddAssign for Items {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Items {
    fn sub_assign(&mut self, other: Self) {
        self.spans -= other.spans;
        self.logs -= other.logs;
    }
}

/// Items that were refused before they reached the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What they are.
    pub signal: Signal,
    /// Why, as it is called in metrics.
    pub reason: String,
    /// How many.
    pub items: u64,
}

/// How items left a store that nobody had taken or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expiry {
    /// Their correlation had not been closed.
    Pending,
    /// Their event was still in the outbox.
    Undelivered,
    /// They were closed, and nobody was to get them.
    Stored,
    /// No engine was there to see which of these it was.
    Unseen,
}

impl Expiry {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Undelivered, Self::Stored, Self::Unseen];

    /// Its name in metrics and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Undelivered => "undelivered",
            Self::Stored => "stored",
            Self::Unseen => "unseen",
        }
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// What has become of the items of one signal. It [balances](Self::is_balanced) at any moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Items that arrived, each time they did.
    pub received: u64,
    /// Of those, the ones the store took in. That an item was sent before within another batch is seen
    /// when its correlation is closed; then it moves from here to `duplicate`.
    pub kept: u64,
    /// Those that had been taken in before.
    pub duplicate: u64,
    /// Those that were not taken in, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Kept ones that everybody who was to get them has answered for.
    pub delivered: u64,
    /// Kept ones that are closed, still there and not delivered.
    pub stored: u64,
    /// Kept ones whose correlation is not closed.
    pub pending: u64,
    /// Kept ones that are gone at the end of their TTL, by [how](Expiry).
    pub expired: BTreeMap<String, u64>,
    /// Kept ones that somebody deleted, cleaned up or replaced before they were delivered.
    pub deleted: u64,
}

impl Account {
    /// Whether nothing is unaccounted for: `received = kept + duplicate + refused`, and
    /// `kept = delivered + stored + pending + expired + deleted`.
    pub fn is_balanced(&self) -> bool {
        let refused: u64 = self.refused.values().sum();
        let expired: u64 = self.expired.values().sum();
        self.received == self.kept + self.duplicate + refused
            && self.kept == self.delivered + self.stored + self.pending + expired + self.deleted
    }
}

impl AddAssign<&Account> for Account {
    fn add_assign(&mut self, other: &Self) {
        let Self { received, kept, duplicate, refused, delivered, stored, pending, expired, deleted } = self;
        *received += other.received;
        *kept += other.kept;
        *duplicate += other.duplicate;
        *delivered += other.delivered;
        *stored += other.stored;
        *pending += other.pending;
        *deleted += other.deleted;
        for (sums, more) in [(refused, &other.refused), (expired, &other.expired)] {
            for (reason, count) in more {
                *sums.entry(reason.clone()).or_default() += count;
            }
        }
    }
}

/// The accounts of both signals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Spans.
    pub spans: Account,
    /// Log records.
    pub logs: Account,
}

impl Ledger {
    /// The account of a signal.
    pub fn of(&self, signal: Signal) -> &Account {
        match signal {
            Signal::Traces => &self.spans,
            Signal::Logs => &self.logs,
        }
    }

    /// The same to change.
    pub fn of_mut(&mut self, signal: Signal) -> &mut Account {
        match signal {
            Signal::Traces => &mut self.spans,
            Signal::Logs => &mut self.logs,
        }
    }

    /// Whether both accounts are.
    pub fn is_balanced(&self) -> bool {
        self.spans.is_balanced() && self.logs.is_balanced()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balanced() -> Account {
        Account {
            received: 15,
            kept: 10,
            duplicate: 3,
            refused: BTreeMap::from([("spans_max".to_owned(), 2)]),
            delivered: 4,
            stored: 2,
            pending: 1,
            expired: BTreeMap::from([("stored".to_owned(), 2)]),
            deleted: 1,
        }
    }

    #[test]
    fn an_item_too_many_or_too_few_anywhere_is_seen() {
        assert!(balanced().is_balanced());
        let more = |change: fn(&mut Account)| {
            let mut account = balanced();
            change(&mut account);
            account.is_balanced()
        };
        assert!(!more(|account| account.received += 1));
        assert!(!more(|account| account.kept -= 1));
        assert!(!more(|account| account.duplicate += 1));
        assert!(!more(|account| account.delivered += 1));
        assert!(!more(|account| account.stored -= 1));
        assert!(!more(|account| account.pending += 1));
        assert!(!more(|account| account.deleted += 1));
        assert!(!more(|account| *account.refused.entry("other".into()).or_default() += 1));
        assert!(!more(|account| *account.expired.entry("unseen".into()).or_default() += 1));
    }

    #[test]
    fn accounts_add_up_reason_by_reason() {
        let mut sum = balanced();
        sum.refused.insert("bytes_max".into(), 0);
        sum += &balanced();
        assert_eq!((sum.received, sum.refused["spans_max"], sum.refused["bytes_max"]), (30, 4, 0));
        assert!(sum.is_balanced());
    }
}
