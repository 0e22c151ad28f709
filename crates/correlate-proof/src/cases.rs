//! Two small cases beside the recording: a trace cut in two, and a span that comes after the close.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use loadgen::plan::{Door, Sending};

use crate::{
    book::Book,
    delivered::Delivered,
    disguise::{Disguise, TraceId},
    feed::Feed,
    plan::Planned,
    recording::{Recording, Telemetry},
    sample,
};

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
    pub(crate) late: TraceId,
    /// A trace that calls another service without passing its context on.
    pub(crate) calling: TraceId,
    /// What that service does.
    pub(crate) called: TraceId,
}

/// Places of the requests in the recording of the cases.
const FIRST: usize = 0;
const AFTER_CLOSE: usize = 1;
const CALLING_PART: usize = 2;
const CALLING_LOG: usize = 3;
const CALLED_PART: usize = 4;

/// Items of the late trace.
pub(crate) const BEFORE_CLOSE: [u32; 2] = [0, 1];
pub(crate) const LATE_SPAN: [u32; 1] = [2];

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
    use super::*;

    #[test]
    fn the_late_span_is_the_one_that_comes_after_the_close() {
        let recording = recording().unwrap();
        let late = recording.traces.iter().find(|trace| trace.id == [LATE; 16]).unwrap();
        assert_eq!(late.items.len(), BEFORE_CLOSE.len() + LATE_SPAN.len());
        assert!(late.is_whole(&BEFORE_CLOSE.into()), "it is closed as complete before");
    }
}
