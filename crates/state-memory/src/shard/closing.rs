//! Claims, closes and releases correlations, and keeps the events of closed ones.

use std::time::Duration;

use chrono::{DateTime, Utc};
use state_core::{
    Claim, Event, EventId, Finish, Finished, PutBack, Receiver, Release, Settings, Ticket, news,
};

use super::{Shard, find, pop, put};
use crate::{
    life::Look,
    stored::{Stored, after},
};

impl Shard {
    /// Claims what is due, up to a number of correlations.
    pub(crate) fn claim_due(
        &mut self,
        max: usize,
        lease: Duration,
        now: DateTime<Utc>,
        settings: &Settings,
    ) -> Vec<Claim> {
        let mut claims = Vec::new();
        while claims.len() < max
            && let Some(key) = pop(&mut self.due, now)
        {
            let Some(stored) = self.correlations.get_mut(&key) else { continue };
            if stored.expires <= now {
                stored.life.look = None;
                continue;
            }
            let look = stored.life.claim(stored.last_updated, now, lease, settings);
            put(&mut self.due, &key, None, stored.life.look);
            if matches!(look, Look::Claimed) {
                claims.push(claim(&key, stored, now));
            }
        }
        claims
    }

    /// Claims what is not closed and not claimed, up to a number of correlations.
    pub(crate) fn claim_active(
        &mut self,
        max: usize,
        lease: Duration,
        now: DateTime<Utc>,
        settings: &Settings,
    ) -> Vec<Claim> {
        // With a maximum age of nothing everything is due.
        let settings = Settings { age_max: Duration::ZERO, ..*settings };
        let active: Vec<_> = self.due.values().cloned().collect();
        let mut claims = Vec::new();
        for key in active {
            if claims.len() == max {
                break;
            }
            let Some(stored) = self.correlations.get_mut(&key).filter(|stored| stored.expires > now) else {
                continue;
            };
            let before = stored.life.look;
            let look = stored.life.claim(stored.last_updated, now, lease, &settings);
            put(&mut self.due, &key, before, stored.life.look);
            if matches!(look, Look::Claimed) {
                claims.push(claim(&key, stored, now));
            }
        }
        claims
    }

    /// Closes a correlation; answers also what its event adds to the budget.
    pub(crate) fn finish(
        &mut self,
        Finish { ticket, note, new_items, outbox }: Finish,
        now: DateTime<Utc>,
        settings: &Settings,
    ) -> (Finished, u64) {
        let found = find(&mut self.correlations, &ticket.key).filter(|(_, stored)| stored.expires > now);
        let Some((key, stored)) = found else { return (Finished::Lost, 0) };
        if stored.life.was_finished_by(&ticket) {
            return (Finished::Finished, 0);
        }
        if !stored.life.is_held_by(&ticket) {
            return (Finished::Lost, 0);
        }
        let (look, told) = (stored.life.look, stored.life.events_due);
        let finished = if stored.fragments().len() as u64 == ticket.version {
            let is_kept = note.as_ref().filter(|_| outbox.is_some());
            let bytes = is_kept.map_or(0, |note| RECORD_BYTES + note.len() as u64);
            let (items, pending) = (stored.items(), stored.pending());
            let new = new_items.min(pending);
            stored.life.finish(stored.fragments().len(), items, new, note, outbox, now);
            self.sums.closed(pending, new);
            stored.bytes += bytes;
            (Finished::Finished, bytes)
        } else {
            stored.life.release(after(stored.last_updated.min(now), settings.grace));
            (Finished::Changed, 0)
        };
        put(&mut self.due, &key, look, stored.life.look);
        put(&mut self.outbox, &key, told, stored.life.events_due);
        finished
    }

    /// Ends a claim, if it is still the last one.
    pub(crate) fn release(
        &mut self,
        Release { ticket, look_after }: &Release,
        now: DateTime<Utc>,
        grace: Duration,
    ) {
        let Some((key, stored)) = find(&mut self.correlations, &ticket.key) else { return };
        if !stored.life.is_held_by(ticket) {
            return;
        }
        let (before, look) = (stored.life.look, after(now, *look_after));
        let is_changed = stored.fragments().len() as u64 != ticket.version;
        let quiet = after(stored.last_updated.min(now), grace);
        stored.life.release(if is_changed { look.min(quiet) } else { look });
        put(&mut self.due, &key, before, stored.life.look);
    }

    /// Takes the events of correlations whose time has come, up to a number of correlations; answers
    /// also of how many.
    pub(crate) fn claim_events(
        &mut self,
        max: usize,
        lease: Duration,
        now: DateTime<Utc>,
    ) -> (Vec<Event>, usize) {
        let mut claimed = Vec::new();
        // Put back behind the loop: with no lease they are due at once.
        let mut leased = Vec::new();
        while leased.len() < max
            && let Some(key) = pop(&mut self.outbox, now)
        {
            let Some(stored) = self.correlations.get_mut(&key) else { continue };
            stored.life.events_due = Some(after(now, lease));
            if stored.expires > now {
                claimed.extend(events(&key, stored));
            }
            leased.push((key, stored.life.events_due));
        }
        let count = leased.len();
        for (key, due) in leased {
            put(&mut self.outbox, &key, None, due);
        }
        (claimed, count)
    }

    /// Gives an event back, and notes who has it; answers what that adds to the budget.
    pub(crate) fn put_back_event(&mut self, event: &PutBack, now: DateTime<Utc>) -> u64 {
        let PutBack { event: id, delivered, look_after } = event;
        let found = find(&mut self.correlations, &id.key)
            .filter(|(_, stored)| stored.first_seen == id.first_seen && stored.expires > now);
        let Some((key, stored)) = found else { return 0 };
        let record = stored.life.events.iter_mut().find(|record| record.generation == id.generation);
        let Some(record) = record else { return 0 };
        let mut bytes = 0;
        for receiver in delivered {
            if !record.delivered.contains(receiver) {
                record.delivered.push(*receiver);
                bytes += RECEIVER_BYTES;
            }
        }
        stored.bytes += bytes;
        let told = stored.life.events_due.replace(after(now, *look_after));
        put(&mut self.outbox, &key, told, stored.life.events_due);
        bytes
    }

    /// Removes an event; answers whether it was there, and what it gives back to the budget.
    pub(crate) fn remove_event(&mut self, id: &EventId, now: DateTime<Utc>) -> (bool, u64) {
        let found = find(&mut self.correlations, &id.key)
            .filter(|(_, stored)| stored.first_seen == id.first_seen && stored.expires > now);
        let Some((key, stored)) = found else { return (false, 0) };
        let place = stored.life.events.iter().position(|record| record.generation == id.generation);
        let Some(place) = place else { return (false, 0) };
        let removed = stored.life.events.remove(place);
        let bytes =
            RECORD_BYTES + removed.note.len() as u64 + RECEIVER_BYTES * removed.delivered.len() as u64;
        stored.bytes -= bytes;
        stored.life.stored -= removed.items;
        self.sums.delivered(removed.items);
        if stored.life.events.is_empty() {
            let told = stored.life.events_due.take();
            put(&mut self.outbox, &key, told, None);
        }
        (true, bytes)
    }
}

/// The claim that was made now.
fn claim(key: &state_core::CorrelationKey, stored: &Stored, now: DateTime<Utc>) -> Claim {
    let life = &stored.life;
    let version = stored.fragments().len() as u64;
    Claim {
        ticket: Ticket { key: key.clone(), fence: life.fence, version },
        generation: life.generation + 1,
        opened: life.opened,
        quiet: (now - stored.last_updated).to_std().unwrap_or_default(),
        is_full: life.is_full,
        entry: stored.entry(&key.id),
        news: news(stored.fragments().to_vec(), life.earlier),
    }
}

/// What an event takes besides its note, estimated.
const RECORD_BYTES: u64 = 160;
/// What it takes to know that a receiver has an event.
const RECEIVER_BYTES: u64 = size_of::<Receiver>() as u64;

fn events<'a>(
    key: &'a state_core::CorrelationKey,
    stored: &'a Stored,
) -> impl Iterator<Item = Event> + use<'a> {
    stored.life.events.iter().map(move |record| {
        let until = stored.fragments()[..record.to.min(stored.fragments().len())].to_vec();
        Event {
            id: EventId { key: key.clone(), first_seen: stored.first_seen, generation: record.generation },
            closed: record.closed,
            note: record.note.clone(),
            delivered: record.delivered.clone(),
            entry: stored.entry(&key.id),
            news: news(until, record.from),
        }
    })
}
