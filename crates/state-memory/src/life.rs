//! Where one correlation stands between its creation and its close.

use std::time::Duration;

use chrono::{DateTime, Utc};
use state_core::{Items, Receiver, Settings, Ticket};

use crate::stored::after;

pub(crate) struct Life {
    pub(crate) is_closed: bool,
    /// Generations closed with an event.
    pub(crate) generation: u64,
    /// Arrival of the first fragment of the generation that is open.
    pub(crate) opened: DateTime<Utc>,
    /// Of the claim that holds it, or held it last.
    pub(crate) fence: i64,
    /// Of the claim that closed it last.
    finished: i64,
    lease: Option<DateTime<Utc>>,
    /// Fragments that earlier generations held.
    pub(crate) earlier: usize,
    /// What they held, copies within other batches included.
    pub(crate) settled: Items,
    /// What was new in them and is not delivered.
    pub(crate) stored: Items,
    /// A fragment was refused because of a limit.
    pub(crate) is_full: bool,
    /// When to look at it next; `None` while it is closed.
    pub(crate) look: Option<DateTime<Utc>>,
    /// Closed generations whose event has not been removed, oldest first.
    pub(crate) events: Vec<Record>,
    /// When somebody may take them; `None` while there are none.
    pub(crate) events_due: Option<DateTime<Utc>>,
}

/// A generation that was closed.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) generation: u64,
    /// Fragments of earlier generations, and of this one with them.
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// What is new in it.
    pub(crate) items: Items,
    pub(crate) closed: DateTime<Utc>,
    pub(crate) note: String,
    /// Who has it.
    pub(crate) delivered: Vec<Receiver>,
}

/// What a look at a due correlation has come to.
pub(crate) enum Look {
    /// It is claimed.
    Claimed,
    /// It has a time to look at it again, or none.
    NotYet,
}

impl Life {
    /// Begins with the first fragment.
    pub(crate) fn new(now: DateTime<Utc>, grace: Duration) -> Self {
        Self {
            is_closed: false,
            generation: 0,
            opened: now,
            fence: 0,
            finished: 0,
            lease: None,
            earlier: 0,
            settled: Items::default(),
            stored: Items::default(),
            is_full: false,
            look: Some(after(now, grace)),
            events: Vec::new(),
            events_due: None,
        }
    }

    /// A new fragment has arrived: opens the next generation, or sees that it is not looked at too late.
    pub(crate) fn arrived(&mut self, now: DateTime<Utc>, grace: Duration) {
        let quiet = after(now, grace);
        if self.is_closed {
            self.is_closed = false;
            self.opened = now;
            self.lease = None;
            self.look = Some(quiet);
        } else if self.lease.is_none() {
            self.look = self.look.map(|look| look.min(quiet));
        }
    }

    /// A new fragment was refused because of a limit: there is nothing to wait for any more.
    pub(crate) fn filled(&mut self, now: DateTime<Utc>) {
        if !self.is_closed && !self.is_full {
            self.is_full = true;
            if self.lease.is_none() {
                self.look = Some(now);
            }
        }
    }

    /// Claims it if it is due.
    pub(crate) fn claim(
        &mut self,
        last_updated: DateTime<Utc>,
        now: DateTime<Utc>,
        lease: Duration,
        settings: &Settings,
    ) -> Look {
        let leased = after(now, lease);
        if self.is_closed {
            self.look = None;
            return Look::NotYet;
        }
        if let Some(held) = self.lease
            && held > now
        {
            // One that ends later was given by a clock that has gone back.
            self.lease = Some(held.min(leased));
            self.look = self.lease;
            return Look::NotYet;
        }
        let due = after(last_updated, settings.grace).min(after(self.opened, settings.age_max));
        if due > now && !self.is_full {
            self.look = Some(due);
            return Look::NotYet;
        }
        self.fence = (self.fence + 1).max(now.timestamp_micros());
        self.lease = Some(leased);
        self.look = self.lease;
        Look::Claimed
    }

    /// Whether this claim has closed it.
    pub(crate) fn was_finished_by(&self, ticket: &Ticket) -> bool {
        ticket.fence == self.finished
    }

    /// Whether this claim is the last one, and still has something to close.
    pub(crate) fn is_held_by(&self, ticket: &Ticket) -> bool {
        ticket.fence == self.fence && !self.was_finished_by(ticket) && !self.is_closed
    }

    /// Closes it with all the fragments and items that it holds; with a note there is an event to tell of
    /// the new ones, which is kept if it has a time in the outbox.
    pub(crate) fn finish(
        &mut self,
        fragments: usize,
        items: Items,
        new: Items,
        note: Option<String>,
        outbox: Option<Duration>,
        now: DateTime<Utc>,
    ) {
        self.generation += u64::from(note.is_some());
        if let (Some(note), Some(hold)) = (note, outbox) {
            let (generation, from, delivered) = (self.generation, self.earlier, Vec::new());
            let record = Record { generation, from, to: fragments, items: new, closed: now, note, delivered };
            self.events.push(record);
            let due = after(now, hold);
            self.events_due = Some(self.events_due.map_or(due, |before| before.min(due)));
        }
        self.is_closed = true;
        self.is_full = false;
        self.finished = self.fence;
        self.earlier = fragments;
        self.settled = items;
        self.stored += new;
        self.lease = None;
        self.look = None;
    }

    /// Ends the claim.
    pub(crate) fn release(&mut self, look: DateTime<Utc>) {
        // Whoever held it must not finish it any more.
        self.fence += 1;
        self.lease = None;
        self.look = Some(look);
    }
}
