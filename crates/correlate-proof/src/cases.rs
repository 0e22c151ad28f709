//! Two small cases beside the recording: a trace cut in two, and a span that comes after the close.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use correlate_proof::{
    book::Book,
    delivered::{Delivered, Pages},
    disguise::{Disguise, TraceId},
    plan::Planned,
    recording::{Recording, Telemetry},
    sample,
};
use loadgen::plan::{Door, Sending};

use crate::feed::Feed;

/// Traces by the numbers of `sample`.
const LATE: u8 = 1;
const CALLING: u8 = 2;
const CALLED: u8 = 3;
/// What the two parts of the cut trace have in common.
const ORDER: &str = "order-of-a-cut-trace";

/// For a delivery, with the endpoint away for a fifth of a long run.
const DEADLINE: Duration = Duration::from_secs(300);

/// The cases as they are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cases {
    copy: usize,
    /// A trace with a span that comes after the close.
    late: TraceId,
    /// A trace that calls another service without passing its context on.
    calling: TraceId,
    /// What that service does.
    called: TraceId,
}

/// Places of the requests in the recording of the cases.
const FIRST: usize = 0;
const AFTER_CLOSE: usize = 1;
const CALLING_PART: usize = 2;
const CALLING_LOG: usize = 3;
const CALLED_PART: usize = 4;

/// Items of the late trace.
const BEFORE_CLOSE: [u32; 2] = [0, 1];
const LATE_SPAN: [u32; 1] = [2];

impl Cases {
    /// Writes them into the book.
    pub(crate) fn add_to(book: &mut Book, seed: u64) -> anyhow::Result<Self> {
        let copy = book.copies.len();
        let disguise = Disguise::of_copy(seed, copy);
        let id = |number: u8| disguise.trace_id([number; 16]);
        let cases = Self { copy, late: id(LATE), calling: id(CALLING), called: id(CALLED) };
        book.add(&Arc::new(recording()?), disguise);
        Ok(cases)
    }

    pub(crate) fn contains(&self, id: &TraceId) -> bool {
        [self.late, self.calling, self.called].contains(id)
    }

    /// Sends the parts of the cut trace, and the late span once the rest of its trace was delivered.
    ///
    /// # Errors
    /// When something is not acknowledged or not delivered in time.
    pub(crate) async fn run(self, feed: &Feed, delivered: &Delivered) -> anyhow::Result<()> {
        for request in [CALLING_PART, CALLING_LOG, CALLED_PART, FIRST] {
            feed.send(self.planned(request)).await?;
        }
        let come = async |items: &'static [u32]| {
            let is_there = async || delivered.has(&self.late, items);
            testbed::eventually("the delivery of a trace with a late span", DEADLINE, is_there).await
        };
        come(&BEFORE_CLOSE).await?;
        feed.send(self.planned(AFTER_CLOSE)).await?;
        come(&LATE_SPAN).await.context("the late span has no delivery of its own")
    }

    /// Whether the late span had a generation and a delivery of its own, and what was there before another.
    pub(crate) fn is_late_span_alone(self, pages: &Pages, generations: &HashMap<TraceId, u32>) -> bool {
        let parcels = || pages.traces.get(&self.late).into_iter().flat_map(|page| &page.parcels);
        let items: Vec<Vec<u32>> = parcels().map(|parcel| parcel.sent().collect()).collect();
        let items: Vec<_> = items.iter().filter(|items| !items.is_empty()).map(|items| &items[..]).collect();
        items == [&BEFORE_CLOSE[..], &LATE_SPAN[..]]
            && generations.get(&self.late).is_some_and(|count| *count >= 2)
    }

    /// Whether the second part of the cut trace came with a link to the first.
    pub(crate) fn is_cut_trace_linked(self, pages: &Pages) -> bool {
        let synthetic = pages.traces.get(&self.called).into_iter().flat_map(|page| &page.synthetic);
        synthetic.filter_map(|span| span.linked.as_deref()).any(|linked| linked == self.calling)
    }

    fn planned(self, request: usize) -> Planned {
        let sending = Sending { request, door: Door::Engine(request), gzip: false };
        Planned { at: Duration::ZERO, copy: self.copy, sending }
    }
}

fn recording() -> anyhow::Result<Recording> {
    let first = sample::traces([sample::span(LATE, 1, 0), sample::span(LATE, 2, 1)]);
    let after_close = sample::traces([sample::span(LATE, 3, 1)]);
    let (root, call) = (sample::span(CALLING, 1, 0), sample::span(CALLING, 2, 1));
    let calling = sample::traces_of("proof-shop", [sample::with_order(root, ORDER), call]);
    let calling_log = sample::logs([sample::log(CALLING, 2, "ordered", ORDER)]);
    let called = sample::span(CALLED, 3, 0);
    let called = sample::traces_of("proof-dispatch", [sample::with_order(called, ORDER)]);
    Recording::new(vec![
        Telemetry::Traces(first),
        Telemetry::Traces(after_close),
        Telemetry::Traces(calling),
        Telemetry::Logs(calling_log),
        Telemetry::Traces(called),
    ])
}

#[cfg(test)]
mod tests {
    use correlate_proof::{
        apart::Synthetic,
        delivered::{Page, Parcel},
    };
    use loadgen::request::Signal;

    use super::*;

    fn spans(items: &[u32]) -> Parcel {
        Parcel { signal: Signal::Traces, items: items.to_vec(), times: 1 }
    }

    #[test]
    fn the_late_span_is_the_one_that_comes_after_the_close() {
        let recording = recording().unwrap();
        let late = recording.traces.iter().find(|trace| trace.id == [LATE; 16]).unwrap();
        assert_eq!(late.items.len(), BEFORE_CLOSE.len() + LATE_SPAN.len());
        assert!(late.is_whole(&BEFORE_CLOSE.into()), "it is closed as complete before");
    }

    #[test]
    fn a_late_span_comes_alone_and_a_cut_trace_linked() {
        let mut book = Book::default();
        let cases = Cases::add_to(&mut book, 1).unwrap();
        let mut pages = Pages::default();
        let mut put = |id, parcels, synthetic| pages.traces.insert(id, Page { parcels, synthetic });
        put(cases.late, vec![spans(&[0, 1]), spans(&[2])], vec![]);
        put(
            cases.called,
            vec![],
            vec![Synthetic { span_id: vec![1; 8], linked: Some(cases.calling.to_vec()) }],
        );
        let generations = |count| HashMap::from([(cases.late, count)]);
        assert!(cases.is_late_span_alone(&pages, &generations(2)));
        assert!(!cases.is_late_span_alone(&pages, &generations(1)));
        assert!(cases.is_cut_trace_linked(&pages));
        pages.traces.insert(cases.late, Page { parcels: vec![spans(&[0, 1, 2])], synthetic: vec![] });
        assert!(!cases.is_late_span_alone(&pages, &generations(2)));
        pages.traces.remove(&cases.called);
        assert!(!cases.is_cut_trace_linked(&pages));
    }
}
