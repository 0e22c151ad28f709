//! What was delivered, by trace and generation, without its payload.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use loadgen::{content::hex, request::Signal};
use otlp_proto::opentelemetry::proto::{logs::v1::LogsData, trace::v1::TracesData};
use parking_lot::{Mutex, MutexGuard};
use prost::{DecodeError, Message as _};

use crate::{
    apart::{self, Found, Synthetic, What},
    book::Book,
    disguise::TraceId,
    mutation::{Mutation, Once},
    sink::Notes,
};

/// Numbers from here on are of synthetic spans; a trace has fewer items.
const SYNTHETIC_FROM: u32 = 1 << 31;
/// Strangers that are told in words.
const EXAMPLES_MAX: usize = 10;

/// Everything that the endpoint has taken so far.
#[derive(Debug)]
pub struct Delivered {
    book: Arc<Book>,
    pages: Mutex<Pages>,
    lose: Once,
    double: Once,
}

#[derive(Debug, Default)]
pub struct Pages {
    pub traces: HashMap<TraceId, Page>,
    /// Items that were never sent.
    pub strangers: u64,
    /// Some of them in words.
    pub examples: Vec<String>,
}

/// What there is of one trace.
#[derive(Debug, Default)]
pub struct Page {
    /// In the order in which they were first delivered.
    pub parcels: Vec<Parcel>,
    pub synthetic: Vec<Synthetic>,
}

/// Items of one trace and signal that came in one request: a generation, or its spans or its log records.
#[derive(Debug, PartialEq, Eq)]
pub struct Parcel {
    pub signal: Signal,
    /// In ascending order.
    pub items: Vec<u32>,
    /// How often exactly these came together.
    pub times: u32,
}

impl Delivered {
    pub fn new(book: &Arc<Book>, mutation: Option<Mutation>) -> Self {
        Self {
            book: Arc::clone(book),
            pages: Mutex::default(),
            lose: Once::of(mutation, Mutation::LoseDelivery),
            double: Once::of(mutation, Mutation::DoubleSpan),
        }
    }

    pub fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock()
    }

    /// Whether these items of a trace have come.
    pub fn has(&self, trace_id: &TraceId, items: &[u32]) -> bool {
        let pages = self.pages.lock();
        let parcels = || pages.traces.get(trace_id).into_iter().flat_map(|page| &page.parcels);
        items.iter().all(|item| parcels().any(|parcel| parcel.items.contains(item)))
    }

    /// Items that have come so far, each as often as in different parcels.
    pub fn count(&self) -> usize {
        let pages = self.pages.lock();
        pages.traces.values().flat_map(|page| &page.parcels).map(|parcel| parcel.items.len()).sum()
    }
}

impl Notes for Delivered {
    fn note(&self, signal: Signal, payload: Bytes) -> Result<(), DecodeError> {
        let found = match signal {
            Signal::Traces => apart::traces(&self.book, TracesData::decode(payload)?),
            Signal::Logs => apart::logs(&self.book, LogsData::decode(payload)?),
        };
        let mut by_trace = BTreeMap::<_, Vec<_>>::new();
        for Found { trace_id, what } in found {
            by_trace.entry(trace_id).or_default().push(what);
        }
        let mut pages = self.pages.lock();
        for (trace_id, found) in by_trace {
            // The special cases wait for their deliveries; what is spoilt is the recording.
            let is_recorded = self.book.get(&trace_id).is_some_and(|sent| sent.copy == 0);
            if is_recorded && self.lose.is_now() {
                continue;
            }
            pages.note(trace_id, signal, found);
            if is_recorded && self.double.is_now() {
                pages.note(trace_id, signal, vec![What::Item(0)]);
            }
        }
        Ok(())
    }
}

impl Pages {
    fn note(&mut self, trace_id: TraceId, signal: Signal, found: Vec<What>) {
        let (mut items, mut synthetic) = (Vec::new(), Vec::new());
        for what in found {
            match what {
                What::Item(number) => items.push(number),
                What::Synthetic(span) => synthetic.push(span),
                What::Stranger(words) => {
                    self.strangers += 1;
                    if self.examples.len() < EXAMPLES_MAX {
                        let trace_id = hex(&trace_id);
                        self.examples.push(format!("trace {trace_id}: {words} was never sent like that"));
                    }
                }
            }
        }
        if items.is_empty() && synthetic.is_empty() {
            return;
        }
        let page = self.traces.entry(trace_id).or_default();
        items.extend(synthetic.into_iter().map(|span| page.number(span)));
        items.sort_unstable();
        let same = |parcel: &&mut Parcel| parcel.signal == signal && parcel.items == items;
        match page.parcels.iter_mut().find(same) {
            Some(parcel) => parcel.times += 1,
            None => page.parcels.push(Parcel { signal, items, times: 1 }),
        }
    }
}

impl Page {
    fn number(&mut self, span: Synthetic) -> u32 {
        let known = self.synthetic.iter().position(|known| known.span_id == span.span_id);
        let place = known.unwrap_or_else(|| {
            self.synthetic.push(span);
            self.synthetic.len() - 1
        });
        SYNTHETIC_FROM + place as u32
    }
}

impl Parcel {
    /// Items that were sent, without what an engine has made.
    pub fn sent(&self) -> impl Iterator<Item = u32> {
        self.items.iter().copied().filter(|number| *number < SYNTHETIC_FROM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: TraceId = [1; 16];

    fn items(numbers: &[u32]) -> Vec<What> {
        numbers.iter().copied().map(What::Item).collect()
    }

    fn bridge(id: u8) -> What {
        What::Synthetic(Synthetic { span_id: vec![id; 8], linked: Some(vec![2; 16]) })
    }

    #[test]
    fn the_same_items_once_more_are_the_same_parcel() {
        let mut pages = Pages::default();
        pages.note(TRACE, Signal::Traces, items(&[1, 0]));
        pages.note(TRACE, Signal::Traces, items(&[0, 1]));
        pages.note(TRACE, Signal::Logs, items(&[2]));
        pages.note(TRACE, Signal::Traces, items(&[3]));
        let parcel = |signal, items: &[u32], times| Parcel { signal, items: items.to_vec(), times };
        let expected = [
            parcel(Signal::Traces, &[0, 1], 2),
            parcel(Signal::Logs, &[2], 1),
            parcel(Signal::Traces, &[3], 1),
        ];
        assert_eq!(pages.traces[&TRACE].parcels, expected);
    }

    #[test]
    fn a_bridge_that_comes_again_is_the_same_one() {
        let mut pages = Pages::default();
        pages.note(TRACE, Signal::Traces, vec![What::Item(0), bridge(1)]);
        pages.note(TRACE, Signal::Traces, vec![What::Item(0), bridge(1)]);
        pages.note(TRACE, Signal::Traces, vec![bridge(2)]);
        let page = &pages.traces[&TRACE];
        assert_eq!(page.synthetic.len(), 2);
        assert_eq!(page.parcels.iter().map(|parcel| parcel.times).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(page.parcels[0].sent().collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn strangers_are_counted_and_told() {
        let mut pages = Pages::default();
        pages.note(TRACE, Signal::Logs, vec![What::Stranger("log \"a\"".to_owned())]);
        assert_eq!((pages.strangers, pages.traces.len()), (1, 0));
        assert!(pages.examples[0].contains("log \"a\""));
    }
}
