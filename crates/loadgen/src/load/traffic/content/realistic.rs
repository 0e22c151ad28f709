//! The realistic profile: traces of a long tail of sizes, scattered over the requests of 30 services,
//! some of which come late and some twice.
//!
//! Requests come in blocks of 64, which hold 64 traces: for each service a request of spans and one of
//! log records, in random order. Three of them are late: they are sent eight blocks later. Four
//! requests of the block before are sent again.

use super::{Content, SERVICES};
use crate::{
    load::traffic::part::{Key, Part},
    request::Signal,
};

/// Requests, and traces, of a block; a power of two, so that an odd factor permutes them.
const BLOCK: u64 = 64;
/// A request of each signal from each service.
const OWN: u64 = 2 * SERVICES.len() as u64;
/// Requests of a block that are sent late.
const LATE: u64 = 3;
/// How many blocks later.
const LATE_BLOCKS: u64 = 8;

/// Spans of a trace at quantiles of 64: those of the recorded TrainTicket traces.
const SPANS: [(u64, u32); 9] =
    [(0, 12), (6, 15), (16, 39), (32, 76), (48, 136), (57, 170), (60, 189), (62, 200), (63, 400)];
/// Services of a trace at quantiles of 64: as recorded in the middle, wider at both ends.
const SERVICES_OF_TRACE: [(u64, u32); 9] =
    [(0, 5), (6, 5), (16, 6), (32, 10), (48, 14), (57, 18), (60, 22), (62, 26), (63, SERVICES.len() as u32)];

/// Knows what every request of the profile holds.
#[derive(Debug)]
pub(in crate::load::traffic) struct Realistic {
    /// Of each size there is one trace in a block.
    sizes: [Size; BLOCK as usize],
}

#[derive(Debug, Clone, Copy)]
struct Size {
    spans: u32,
    services: u32,
}

/// A request of a block, before late ones are put off and others repeated.
struct Source {
    block: u64,
    index: u64,
    is_repeated: bool,
}

impl Default for Realistic {
    fn default() -> Self {
        let size = |class| {
            let class = class as u64;
            Size { spans: interpolate(&SPANS, class), services: interpolate(&SERVICES_OF_TRACE, class) }
        };
        Self { sizes: std::array::from_fn(size) }
    }
}

impl Realistic {
    pub(super) fn content(&self, key: Key, number: u64) -> Content {
        let Source { block, index, is_repeated } = source(key, number);
        let service = index / 2;
        let bits = key.bits(!block);
        let parts = (0..BLOCK).filter_map(|place| {
            let size = self.sizes[permute(bits, place) as usize];
            size.part(key, block * BLOCK + place, service as u32)
        });
        Content {
            signal: if index.is_multiple_of(2) { Signal::Traces } else { Signal::Logs },
            service: service as usize,
            parts: parts.collect(),
            is_repeated,
        }
    }
}

impl Size {
    /// What a service has to do with a trace of this size; the first service has to do with all.
    fn part(self, key: Key, trace: u64, service: u32) -> Option<Part> {
        let others = SERVICES.len() as u32 - 1;
        // The services of a trace are numbered from the first one on.
        let rank = match service {
            0 => 0,
            _ => 1 + (service - 1 + (key.bits(trace) % u64::from(others)) as u32) % others,
        };
        if rank >= self.services {
            return None;
        }
        let (first, spans) = self.share(rank);
        let caller = rank.checked_sub(1).map(|before| {
            let (first, spans) = self.share(before / 2);
            first + rank % spans
        });
        Some(Part { trace, first, spans, logs: spans.div_ceil(2), caller })
    }

    /// First span and number of spans of one of its services; at least one.
    fn share(self, rank: u32) -> (u32, u32) {
        let first = |rank| rank * self.spans / self.services;
        (first(rank), first(rank + 1) - first(rank))
    }
}

/// Which request goes out under a number.
fn source(key: Key, number: u64) -> Source {
    let block = number / BLOCK;
    let index = permute(key.bits(!block).rotate_left(32), number % BLOCK);
    if index >= OWN {
        // Of the first block there is none before.
        let before = block.saturating_sub(1);
        return Source { block: before, index: key.bits(!number) % OWN, is_repeated: true };
    }
    match (block.checked_sub(LATE_BLOCKS), (0..LATE).find(|late| late_index(key, block, *late) == index)) {
        // The late ones of the first blocks are sent in time, and again when they are due.
        (Some(earlier), Some(late)) => Source {
            block: earlier,
            index: late_index(key, earlier, late),
            is_repeated: earlier < LATE_BLOCKS,
        },
        _ => Source { block, index, is_repeated: false },
    }
}

/// Which requests of a block are late.
fn late_index(key: Key, block: u64, late: u64) -> u64 {
    let apart = OWN / LATE;
    key.bits(!block) % apart + late * apart
}

/// Another place in a block, each for one.
fn permute(bits: u64, place: u64) -> u64 {
    place.wrapping_mul(bits | 1).wrapping_add(bits >> 32) % BLOCK
}

/// The value between the two quantiles that lie around a class.
fn interpolate(quantiles: &[(u64, u32)], class: u64) -> u32 {
    let after = quantiles.partition_point(|(place, _)| *place <= class).min(quantiles.len() - 1);
    let [(from, low), (to, high)] = [quantiles[after - 1], quantiles[after]];
    low + (u64::from(high - low) * (class - from) / (to - from)) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const BLOCKS: u64 = 24;

    fn contents() -> impl Iterator<Item = Content> {
        let realistic = Realistic::default();
        (0..BLOCKS * BLOCK).map(move |number| realistic.content(Key::new(7), number))
    }

    /// Spans and services of each trace whose requests were all sent, repeated ones left out.
    fn traces() -> Vec<(u32, usize)> {
        let mut traces: BTreeMap<u64, (u32, BTreeSet<usize>)> = BTreeMap::new();
        for content in contents().filter(|content| content.signal == Signal::Traces && !content.is_repeated) {
            for part in content.parts {
                let (spans, services) = traces.entry(part.trace).or_default();
                *spans += part.spans;
                assert!(services.insert(content.service), "trace {} twice from a service", part.trace);
            }
        }
        let complete = (BLOCKS - LATE_BLOCKS) * BLOCK;
        traces.into_iter().filter(|(trace, _)| *trace < complete).map(|(_, it)| (it.0, it.1.len())).collect()
    }

    #[test]
    fn traces_have_the_sizes_of_the_recorded_ones_and_5_to_30_services() {
        let traces = traces();
        assert_eq!(traces.len() as u64, (BLOCKS - LATE_BLOCKS) * BLOCK);
        let mut spans: Vec<u32> = traces.iter().map(|(spans, _)| *spans).collect();
        spans.sort_unstable();
        let at = |share: usize| spans[spans.len() * share / 100];
        assert_eq!((spans[0], at(50), spans[spans.len() - 1]), (12, 76, 400));
        let services: BTreeSet<usize> = traces.iter().map(|(_, services)| *services).collect();
        assert_eq!((services.first(), services.last()), (Some(&5), Some(&30)));
    }

    #[test]
    fn every_request_holds_something() {
        assert!(contents().all(|content| !content.parts.is_empty()));
    }

    #[test]
    fn one_request_in_sixteen_is_repeated() {
        let repeated = contents().skip((2 * LATE_BLOCKS * BLOCK) as usize).filter(|it| it.is_repeated);
        assert_eq!(repeated.count() as u64, (BLOCKS - 2 * LATE_BLOCKS) * (BLOCK - OWN));
    }

    #[test]
    fn some_requests_come_blocks_later_than_the_rest_of_their_traces() {
        let block_of = |content: &Content| content.parts[0].trace / BLOCK;
        let late = contents().enumerate().filter(|(number, content)| {
            !content.is_repeated && block_of(content) + LATE_BLOCKS == *number as u64 / BLOCK
        });
        assert_eq!(late.count() as u64, (BLOCKS - 2 * LATE_BLOCKS) * LATE);
    }
}
