//! The part of a trace that one request holds, and the ids and times of everything in it.
//!
//! All of it is computed from a key and numbers, so that nothing has to be remembered.

use std::iter;

/// 2026-01-01T00:00:00Z: when the first trace begins.
const START_UNIX_NANO: u64 = 1_767_225_600_000_000_000;
/// Between the beginnings of two traces.
const TRACE_INTERVAL_NANOS: u64 = 100_000;
/// Between the beginnings of two spans of a trace.
const SPAN_INTERVAL_NANOS: u64 = 50_000;
const DURATION_NANOS_MIN: u64 = 100_000;
const DURATION_NANOS_MAX: u64 = 20_000_000;

/// 2^64 divided by the golden ratio, with which SplitMix64 keeps neighbouring numbers apart.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A span, or a log record of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Of its trace.
    pub trace_id: [u8; 16],
    /// Its own, or of the span that a log record belongs to.
    pub span_id: [u8; 8],
    /// Of the span that called it; neither a root nor a log record has one.
    pub parent_span_id: Option<[u8; 8]>,
    /// When the span begins, or the time of the log record, which no other of its trace has.
    pub time_unix_nano: u64,
    /// When the span ends, or the log record was observed.
    pub end_unix_nano: u64,
    /// Chooses among templates.
    pub(super) choice: u32,
}

/// Sets the traffic of one seed apart from that of others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key(u64);

/// Neighbouring spans of one trace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Number of the trace.
    pub(super) trace: u64,
    /// Number of the first span in its trace.
    pub(super) first: u32,
    pub(super) spans: u32,
    /// Log records, in turn of each span.
    pub(super) logs: u32,
    /// The span that called the first one, which called all others; `None` where it is the root.
    pub(super) caller: Option<u32>,
}

/// The numbers that the ids of a trace are made from.
#[derive(Clone, Copy)]
struct Trace {
    high: u64,
    low: u64,
    begin_unix_nano: u64,
}

impl Key {
    pub(super) fn new(seed: u64) -> Self {
        Self(mix(seed.wrapping_add(GOLDEN)))
    }

    /// Random bits that belong to a number; different ones for each number.
    pub(super) fn bits(self, number: u64) -> u64 {
        mix(self.0.wrapping_add(number.wrapping_mul(GOLDEN)))
    }

    fn trace(self, number: u64) -> Trace {
        let high = self.bits(number);
        Trace {
            high,
            low: mix(high.rotate_left(32) ^ self.0),
            begin_unix_nano: START_UNIX_NANO + number * TRACE_INTERVAL_NANOS,
        }
    }
}

impl Part {
    /// Its spans, in the order of their numbers.
    pub(super) fn spans(self, key: Key) -> impl Iterator<Item = Item> {
        let trace = key.trace(self.trace);
        let called = move |(index, caller): (u32, Option<u32>)| trace.span(index, caller);
        let others = (self.first + 1..self.first + self.spans).map(move |index| (index, Some(self.first)));
        iter::once((self.first, self.caller)).chain(others).map(called)
    }

    /// Its log records.
    pub(super) fn logs(self, key: Key) -> impl Iterator<Item = Item> {
        let trace = key.trace(self.trace);
        (0..self.logs).map(move |number| {
            let span = trace.span(self.first + number % self.spans, None);
            // Fewer than a thousand records share a span, so that no two have the same time.
            let time_unix_nano = span.time_unix_nano + 1 + u64::from(number / self.spans);
            Item { time_unix_nano, end_unix_nano: time_unix_nano + 1_000, ..span }
        })
    }
}

impl Trace {
    fn span(self, index: u32, caller: Option<u32>) -> Item {
        let bits = self.span_bits(index);
        let time_unix_nano = self.begin_unix_nano + u64::from(index) * SPAN_INTERVAL_NANOS;
        Item {
            trace_id: (u128::from(self.high) << 64 | u128::from(self.low)).to_be_bytes(),
            span_id: bits.to_be_bytes(),
            parent_span_id: caller.map(|index| self.span_bits(index).to_be_bytes()),
            time_unix_nano,
            end_unix_nano: time_unix_nano + DURATION_NANOS_MIN + bits % DURATION_NANOS_MAX,
            choice: (bits >> 32) as u32,
        }
    }

    fn span_bits(self, index: u32) -> u64 {
        // An id of zeros means that there is none.
        mix(self.low.wrapping_add(u64::from(index).wrapping_mul(GOLDEN))).max(1)
    }
}

/// The last step of SplitMix64: scatters the bits, and gives two numbers two results.
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_spans_of_a_trace_and_no_two_traces_share_an_id() {
        let part = |trace| Part { trace, first: 0, spans: 500, logs: 0, caller: None };
        let items: Vec<Item> = (0..100).flat_map(|trace| part(trace).spans(Key::new(1))).collect();
        let traces: HashSet<[u8; 16]> = items.iter().map(|item| item.trace_id).collect();
        let spans: HashSet<[u8; 8]> = items.iter().map(|item| item.span_id).collect();
        assert_eq!((traces.len(), spans.len()), (100, 50_000));
    }

    #[test]
    fn no_two_log_records_of_a_trace_share_a_time() {
        let part = Part { trace: 3, first: 5, spans: 4, logs: 100, caller: None };
        let times: HashSet<u64> = part.logs(Key::new(1)).map(|item| item.time_unix_nano).collect();
        assert_eq!(times.len(), 100);
    }

    #[test]
    fn the_first_span_of_a_part_has_the_caller_as_parent_and_is_the_parent_of_the_others() {
        let key = Key::new(1);
        let whole: Vec<Item> =
            Part { trace: 3, first: 0, spans: 6, logs: 0, caller: None }.spans(key).collect();
        let part: Vec<Item> =
            Part { trace: 3, first: 2, spans: 4, logs: 0, caller: Some(1) }.spans(key).collect();
        assert_eq!(whole[0].parent_span_id, None);
        assert_eq!(part[0].parent_span_id, Some(whole[1].span_id));
        assert!(part[1..].iter().all(|item| item.parent_span_id == Some(whole[2].span_id)));
        assert_eq!(part[3].span_id, whole[5].span_id);
    }
}
