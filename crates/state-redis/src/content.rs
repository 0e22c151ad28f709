//! Everything that is stored of one correlation, read at once, and what is folded from it.

use std::collections::HashMap;

use fred::prelude::Value;
use state_core::{
    Claim, CorrelationEntry, CorrelationId, CorrelationKey, Event, EventId, Fragment, Overrides, Ticket, news,
};

use crate::{
    field::{self, Meta, Record, State, Unreadable},
    packed,
};

/// All fields of a correlation.
#[derive(Debug)]
pub(crate) struct Content {
    meta: Meta,
    state: Option<State>,
    records: Vec<Record>,
    overrides: Overrides,
    /// In order of arrival.
    fragments: Vec<Fragment>,
}

impl Content {
    /// Reads it from names and values in turn; `None` if it is not there or has expired.
    pub(crate) fn read(fields: Vec<Value>, now: i64) -> Result<Option<Self>, Unreadable> {
        let (mut meta, mut state, mut records, mut overrides) = (None, None, Vec::new(), None);
        let (mut packed, mut order) = (HashMap::with_capacity(fields.len() / 2), Vec::new());
        let mut fields = fields.into_iter().filter_map(Value::into_bytes);
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            if let Ok(name) = <[u8; 16]>::try_from(&name[..]) {
                packed.insert(name, value);
            } else if name == field::META {
                meta = Some(Meta::read(&value)?);
            } else if name == field::STATE {
                state = Some(State::read(&value)?);
            } else if name == field::EVENTS {
                records = field::read_records(&value)?;
            } else if name == field::OVERRIDES {
                overrides = Some(value);
            } else if let Some(number) = field::chunk_number(&name) {
                order.push((number, value));
            }
        }
        let Some(meta) = meta.filter(|meta| meta.expires > now) else { return Ok(None) };
        order.sort_unstable_by_key(|(number, _)| *number);
        let names = order.iter().flat_map(|(_, names)| names.as_chunks().0);
        let unpack = |name: &[u8; 16]| {
            let packed = packed.get(name).ok_or(Unreadable("a fragment is not there"))?;
            packed::unpack(*name, packed)
        };
        let fragments = names.map(unpack).collect::<Result<_, _>>()?;
        let overrides = field::read_overrides(overrides.as_deref())?;
        Ok(Some(Self { meta, state, records, overrides, fragments }))
    }

    pub(crate) fn entry(self, id: &CorrelationId) -> Result<CorrelationEntry, Unreadable> {
        let (first_seen, last_updated) = (self.meta.first_seen()?, self.meta.last_updated()?);
        Ok(CorrelationEntry::fold(id.clone(), first_seen, last_updated, self.fragments, self.overrides))
    }

    /// The claim that was made at this time with this fence; `None` if it has ended since.
    pub(crate) fn claim(
        self,
        key: CorrelationKey,
        now: i64,
        fence: i64,
    ) -> Result<Option<Claim>, Unreadable> {
        let Some(state) = self.state.as_ref().filter(|state| state.fence == fence) else { return Ok(None) };
        let quiet = (now - self.meta.last_updated).max(0) as u64;
        Ok(Some(Claim {
            ticket: Ticket { key: key.clone(), fence, version: self.fragments.len() as u64 },
            generation: u64::from(state.generation) + 1,
            opened: field::time(state.opened)?,
            quiet: std::time::Duration::from_micros(quiet),
            is_full: state.is_full,
            news: news(self.fragments.clone(), state.earlier as usize),
            entry: self.entry(&key.id)?,
        }))
    }

    /// The events that nobody has removed, oldest first.
    pub(crate) fn events(self, key: &CorrelationKey) -> Result<Vec<Event>, Unreadable> {
        let (records, fragments) = (self.records.clone(), self.fragments.clone());
        let first_seen = self.meta.first_seen()?;
        let entry = self.entry(&key.id)?;
        let event = |record: Record| {
            let until = fragments[..fragments.len().min(record.to as usize)].to_vec();
            let generation = u64::from(record.generation);
            Ok(Event {
                id: EventId { key: key.clone(), first_seen, generation },
                closed: field::time(record.closed)?,
                note: record.note,
                delivered: record.delivered,
                entry: entry.clone(),
                news: news(until, record.from as usize),
            })
        };
        records.into_iter().map(event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields of a correlation without fragments that a claim holds.
    fn claimed(fence: i64) -> Content {
        let meta = Meta { first_seen: 1, last_updated: 2, expires: 9, counts: state_core::Counts::default() };
        let mut state = [0; 66];
        state[24..32].copy_from_slice(&fence.to_le_bytes());
        let (records, overrides, fragments) = (Vec::new(), Overrides::default(), Vec::new());
        Content { meta, state: Some(State::read(&state).unwrap()), records, overrides, fragments }
    }

    #[test]
    fn what_was_claimed_anew_since_is_no_claim_any_more() {
        let key = CorrelationKey { tenant: "".parse().unwrap(), id: "a".parse().unwrap() };
        let claim = claimed(7).claim(key.clone(), 5, 7).unwrap().unwrap();
        assert_eq!((claim.ticket.fence, claim.generation), (7, 1));
        assert!(claimed(8).claim(key, 5, 7).unwrap().is_none());
    }
}
