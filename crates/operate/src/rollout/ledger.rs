//! What was acknowledged, and what of it has come out: delivered, and read back.

use std::{collections::HashMap, ops::Range};

use bytes::Bytes;
use correlate_proof::sink::Notes;
use loadgen::{content::hex, request::Signal};
use otlp_proto::opentelemetry::proto::trace::v1::TracesData;
use parking_lot::Mutex;
use prost::{DecodeError, Message as _};

use super::traffic::{Part, Place, SPANS, TRACES_PER_PAIR, Traffic, traces_of};

/// Strangers and losses that are told in words.
const EXAMPLES_MAX: usize = 5;

/// All traces so far, by their numbers.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) traffic: Traffic,
    pairs: Mutex<Vec<Pair>>,
    delivered: Mutex<Delivered>,
}

/// What is known of the requests of two traces.
#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    /// Spans of each of the traces that were acknowledged, as bits.
    acknowledged: u32,
    /// Nothing more is sent of them.
    is_settled: bool,
    /// Sent to an engine that the gateways do not know.
    is_beside: bool,
}

#[derive(Debug, Default)]
struct Delivered {
    traces: HashMap<u64, Came>,
    /// Spans that were never sent like that.
    strangers: u64,
    examples: Vec<String>,
}

/// What came of a trace.
#[derive(Debug, Clone, Copy, Default)]
struct Came {
    /// As bits.
    spans: u32,
    /// Deliveries with something new.
    generations: u32,
}

/// How traces came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Deliveries {
    /// With all that was acknowledged in one generation.
    pub(super) whole: u64,
    /// In several that share nothing.
    pub(super) split: u64,
}

impl Ledger {
    pub(super) fn new(traffic: Traffic) -> Self {
        Self { traffic, pairs: Mutex::default(), delivered: Mutex::default() }
    }

    /// The number of a pair that is sent from now on.
    pub(super) fn begin(&self, is_beside: bool) -> u64 {
        let mut pairs = self.pairs.lock();
        pairs.push(Pair { is_beside, ..Pair::default() });
        pairs.len() as u64 - 1
    }

    /// The number of the next pair.
    pub(super) fn next(&self) -> u64 {
        self.pairs.lock().len() as u64
    }

    pub(super) fn acknowledged(&self, pair: u64, part: Part) {
        self.change(pair, |pair| pair.acknowledged |= part.mask());
    }

    pub(super) fn settled(&self, pair: u64) {
        self.change(pair, |pair| pair.is_settled = true);
    }

    fn change(&self, pair: u64, change: impl FnOnce(&mut Pair)) {
        let (mut pairs, number) = (self.pairs.lock(), usize::try_from(pair));
        if let Some(pair) = number.ok().and_then(|number| pairs.get_mut(number)) {
            change(pair);
        }
    }

    /// Spans that were acknowledged so far.
    pub(super) fn count(&self) -> u64 {
        let spans = |pair: &Pair| u64::from(pair.acknowledged.count_ones()) * TRACES_PER_PAIR;
        self.pairs.lock().iter().map(spans).sum()
    }

    /// Whether nothing more is sent of these pairs.
    pub(super) fn are_settled(&self, pairs: Range<u64>) -> bool {
        self.select(pairs, |pair| !pair.is_settled).is_empty()
    }

    /// Numbers of the traces among these pairs that the gateways have to know, and what was acknowledged of
    /// each, as bits.
    pub(super) fn known_to_gateways(&self, pairs: Range<u64>) -> Vec<(u64, u32)> {
        let pairs = self.select(pairs, |pair| pair.is_settled && !pair.is_beside);
        let traces = pairs
            .into_iter()
            .flat_map(|(number, pair)| traces_of(number).map(move |trace| (trace, pair.acknowledged)));
        traces.filter(|(_, acknowledged)| *acknowledged != 0).collect()
    }

    /// Spans of these pairs that were acknowledged and have not been delivered, and some in words.
    pub(super) fn undelivered(&self, pairs: Range<u64>) -> (u64, Vec<String>) {
        let pairs = self.select(pairs, |pair| pair.acknowledged != 0);
        let delivered = self.delivered.lock();
        let (mut count, mut examples) = (0, Vec::new());
        for (number, pair) in pairs {
            for trace in traces_of(number) {
                let came = delivered.traces.get(&trace).copied().unwrap_or_default();
                let missing = pair.acknowledged & !came.spans;
                count += u64::from(missing.count_ones());
                if missing != 0 && examples.len() < EXAMPLES_MAX {
                    let id = hex(&self.traffic.trace_id(trace));
                    examples.push(format!("{} of {SPANS} spans of trace {id}", missing.count_ones()));
                }
            }
        }
        (count, examples)
    }

    /// How the traces of these pairs came.
    pub(super) fn deliveries(&self, pairs: Range<u64>) -> Deliveries {
        let delivered = self.delivered.lock();
        let came = pairs.flat_map(traces_of).filter_map(|trace| delivered.traces.get(&trace));
        came.fold(Deliveries::default(), |mut all, came| {
            match came.generations {
                1 => all.whole += 1,
                _ => all.split += 1,
            }
            all
        })
    }

    /// Spans that were delivered and never sent like that, and some in words.
    pub(super) fn strangers(&self) -> (u64, Vec<String>) {
        let delivered = self.delivered.lock();
        (delivered.strangers, delivered.examples.clone())
    }

    fn select(&self, range: Range<u64>, is_wanted: impl Fn(&Pair) -> bool) -> Vec<(u64, Pair)> {
        let pairs = self.pairs.lock();
        let place = |pair: u64| usize::try_from(pair).map_or(pairs.len(), |place| place.min(pairs.len()));
        let known = pairs[place(range.start)..place(range.end)].iter().copied();
        (range.start..).zip(known).filter(|(_, pair)| is_wanted(pair)).collect()
    }

    /// Spans by trace, as bits, and those that were never sent like that in words.
    pub(super) fn take_apart(&self, data: &TracesData) -> (HashMap<u64, u32>, Vec<String>) {
        let (mut traces, mut strangers) = (HashMap::<u64, u32>::new(), Vec::new());
        let scopes = data.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        for span in scopes.flat_map(|scope| &scope.spans) {
            match self.traffic.recognise(span) {
                Some(Place { trace, span }) => *traces.entry(trace).or_default() |= 1 << span,
                None => {
                    let (trace, id) = (hex(&span.trace_id), hex(&span.span_id));
                    strangers.push(format!("span {id} of trace {trace} was never sent like that"));
                }
            }
        }
        (traces, strangers)
    }
}

impl Notes for Ledger {
    fn note(&self, signal: Signal, payload: Bytes) -> Result<(), DecodeError> {
        let (traces, strangers) = match signal {
            Signal::Traces => self.take_apart(&TracesData::decode(payload)?),
            Signal::Logs => (HashMap::new(), vec!["log records were never sent".to_owned()]),
        };
        let mut delivered = self.delivered.lock();
        for (trace, spans) in traces {
            let came = delivered.traces.entry(trace).or_default();
            came.generations += u32::from(spans & !came.spans != 0);
            came.spans |= spans;
        }
        delivered.strangers += strangers.len() as u64;
        let room = EXAMPLES_MAX.saturating_sub(delivered.examples.len());
        delivered.examples.extend(strangers.into_iter().take(room));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(Traffic { seed: 7 })
    }

    fn deliver(ledger: &Ledger, pair: u64, part: Part) {
        ledger.note(Signal::Traces, ledger.traffic.request(pair, part).protobuf()).unwrap();
    }

    #[test]
    fn what_was_acknowledged_and_not_delivered_is_missing() {
        let ledger = ledger();
        let pair = ledger.begin(false);
        ledger.acknowledged(pair, Part::Early);
        assert_eq!((ledger.count(), ledger.undelivered(0..1).0), (20, 20));
        deliver(&ledger, pair, Part::Late);
        assert_eq!(ledger.undelivered(0..1).0, 20, "the other part does not help");
        deliver(&ledger, pair, Part::Early);
        assert_eq!(ledger.undelivered(0..1).0, 0);
    }

    #[test]
    fn a_delivery_without_anything_new_is_no_generation() {
        let ledger = ledger();
        for _ in 0..2 {
            ledger.begin(false);
        }
        deliver(&ledger, 0, Part::Early);
        deliver(&ledger, 0, Part::Early);
        deliver(&ledger, 1, Part::Early);
        deliver(&ledger, 1, Part::Late);
        assert_eq!(ledger.deliveries(0..2), Deliveries { whole: 2, split: 2 });
    }

    #[test]
    fn a_span_that_was_never_sent_is_a_stranger() {
        let (ours, others) = (ledger(), Ledger::new(Traffic { seed: 8 }));
        ours.note(Signal::Traces, others.traffic.request(0, Part::Late).protobuf()).unwrap();
        assert_eq!(ours.strangers().0, 20);
    }

    #[test]
    fn gateways_need_not_know_what_was_sent_beside_them_or_is_on_its_way() {
        let ledger = ledger();
        for is_beside in [true, false, false] {
            let pair = ledger.begin(is_beside);
            ledger.acknowledged(pair, Part::Late);
        }
        ledger.settled(0);
        ledger.settled(1);
        assert!(ledger.are_settled(0..2) && !ledger.are_settled(0..3));
        let known = ledger.known_to_gateways(0..3);
        assert_eq!(known, [(2, Part::Late.mask()), (3, Part::Late.mask())]);
    }
}
