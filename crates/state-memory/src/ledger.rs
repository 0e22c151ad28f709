//! What a part of the state counts for the ledger.

use state_core::{Account, Expiry, Items, Ledger, Outcome, Refusal, Signal};

/// Sums of one part. All are changed in the same step as the state they are of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    received: Items,
    kept: Items,
    duplicate: Items,
    spans_max: Items,
    bytes_max: Items,
    delivered: Items,
    stored: Items,
    pending: Items,
    expired_pending: Items,
    expired_undelivered: Items,
    expired_stored: Items,
    deleted: Items,
}

/// Where the items of a correlation are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whereabouts {
    pub(crate) pending: Items,
    /// In events that nobody has removed.
    pub(crate) undelivered: Items,
    /// Closed without an event that is left, and not delivered.
    pub(crate) stored: Items,
}

impl Sums {
    /// A fragment arrived.
    pub(crate) fn arrived(&mut self, outcome: Outcome, items: Items) {
        self.received += items;
        match outcome {
            Outcome::Added => {
                self.kept += items;
                self.pending += items;
            }
            Outcome::Duplicate => self.duplicate += items,
            Outcome::Refused(Refusal::SpansMax) => self.spans_max += items,
            Outcome::Refused(Refusal::BytesMax) => self.bytes_max += items,
        }
    }

    /// A generation was closed: what was pending is new, or had been sent before.
    pub(crate) fn closed(&mut self, mut pending: Items, new: Items) {
        self.pending -= pending;
        self.stored += new;
        pending -= new;
        self.kept -= pending;
        self.duplicate += pending;
    }

    /// Everybody has what an event is about.
    pub(crate) fn delivered(&mut self, items: Items) {
        self.stored -= items;
        self.delivered += items;
    }

    /// A correlation is gone.
    pub(crate) fn removed(&mut self, was_alive: bool, whereabouts: Whereabouts) {
        let Whereabouts { pending, undelivered, stored } = whereabouts;
        self.pending -= pending;
        self.stored -= undelivered + stored;
        if was_alive {
            self.deleted += pending + undelivered + stored;
        } else {
            self.expired_pending += pending;
            self.expired_undelivered += undelivered;
            self.expired_stored += stored;
        }
    }

    /// Adds these sums to a ledger.
    pub(crate) fn add_to(&self, ledger: &mut Ledger) {
        for signal in [Signal::Traces, Signal::Logs] {
            let of = |items: Items| match signal {
                Signal::Traces => items.spans,
                Signal::Logs => items.logs,
            };
            let refused = [(Refusal::SpansMax, self.spans_max), (Refusal::BytesMax, self.bytes_max)];
            let refused = refused.map(|(refusal, items)| (refusal.as_str().to_owned(), of(items)));
            let expired = [
                (Expiry::Pending, self.expired_pending),
                (Expiry::Undelivered, self.expired_undelivered),
                (Expiry::Stored, self.expired_stored),
            ];
            let expired = expired.map(|(expiry, items)| (expiry.as_str().to_owned(), of(items)));
            *ledger.of_mut(signal) += &Account {
                received: of(self.received),
                kept: of(self.kept),
                duplicate: of(self.duplicate),
                refused: refused.into_iter().filter(|(_, count)| *count > 0).collect(),
                delivered: of(self.delivered),
                stored: of(self.stored),
                pending: of(self.pending),
                expired: expired.into_iter().filter(|(_, count)| *count > 0).collect(),
                deleted: of(self.deleted),
            };
        }
    }
}
