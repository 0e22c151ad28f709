//! Whether what was delivered is what was sent, and every generation is there once.
//!
//! Closed twice and delivered twice look alike from outside, and only one of them is allowed: an event is
//! delivered at least once. Every generation comes in a request of its own, so one that is delivered again is
//! the same items in one request. So:
//!
//! * The same items of a trace in one request once more are a redelivery. They are counted and are no fault.
//! * An item that comes together with others than before was told in two generations: closed twice.
//! * The store counts the generations that a trace was closed with. Fewer than the sets of spans, or of log
//!   records, that were delivered cannot be: something was told that is no generation. More than all sets
//!   together cannot be either, nor can spans and log records be two generations that arrived within the
//!   grace (`arrival`): then a generation was closed once more with what it held already.

use std::collections::{BTreeSet, HashMap, HashSet};

use loadgen::{content::hex, request::Signal};

use crate::{
    arrival::Arrivals,
    book::{Book, Owed, Sent},
    delivered::{Page, Pages, Parcel},
    disguise::TraceId,
};

/// Differences that are told in words.
const EXAMPLES_MAX: usize = 20;

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Traces of which something was delivered.
    pub traces: usize,
    /// Of these, those with a root and every parent.
    pub complete: usize,
    /// By the measure of `expected.json`.
    pub spans: usize,
    /// Likewise.
    pub logs: usize,
    pub missing: u64,
    pub extra: u64,
    /// Items that are stored twice.
    pub duplicated: u64,
    pub closed_twice: usize,
    /// Traces that were closed more than once, with something new each time.
    pub second_generation: usize,
    /// Generations of traces, by signal, that were delivered more than once.
    pub redelivered: usize,
    /// Links to other traces.
    pub linked: usize,
    /// The trace with the first difference.
    pub first: Option<TraceId>,
    /// The first differences in words.
    pub examples: Vec<String>,
}

impl Findings {
    /// Compares what was delivered with what was sent, and must be there as far as it is `owed`: `generations`
    /// are those that the store counts. Every trace is compared, and those that are not `is_counted` are no
    /// part of the counts.
    pub fn of_delivery(
        book: &Book,
        pages: &Pages,
        generations: &HashMap<TraceId, u32>,
        arrivals: &Arrivals,
        owed: &Owed<'_>,
        is_counted: impl Fn(&TraceId) -> bool,
    ) -> Self {
        let mut findings =
            Self { extra: pages.strangers, examples: pages.examples.clone(), ..Self::default() };
        let nothing = Page::default();
        for (id, sent) in book.traces() {
            let page = pages.traces.get(id).unwrap_or(&nothing);
            let closed = generations.get(id).copied().unwrap_or_default() as usize;
            findings.compare(id, sent, page, owed);
            findings.count_closes(id, sent, page, closed, arrivals);
            if is_counted(id) {
                findings.count(sent, page, closed);
            }
        }
        findings.links(pages);
        findings
    }

    fn compare(&mut self, id: &TraceId, sent: Sent<'_>, page: &Page, owed: &Owed<'_>) {
        let items: BTreeSet<_> = page.parcels.iter().flat_map(Parcel::sent).collect();
        for item in sent.owed(owed).filter(|item| !items.contains(item)) {
            self.missing(id, || format!("{} was not delivered", describe(sent, item)));
        }
    }

    fn count_closes(
        &mut self,
        id: &TraceId,
        sent: Sent<'_>,
        page: &Page,
        closed: usize,
        arrivals: &Arrivals,
    ) {
        let (mut items, mut is_twice) = (BTreeSet::new(), false);
        for item in page.parcels.iter().flat_map(Parcel::sent) {
            if !items.insert(item) {
                is_twice = true;
                self.tell(id, || format!("{} came in two generations", describe(sent, item)));
            }
        }
        let sets = |signal| page.parcels.iter().filter(move |parcel| parcel.signal == signal);
        let (spans, logs) = (sets(Signal::Traces).count(), sets(Signal::Logs).count());
        let is_with_logs = |spans: &&Parcel| {
            let spans: Vec<_> = spans.sent().collect();
            sets(Signal::Logs)
                .any(|logs| !arrivals.may_be_apart(sent, &spans, &logs.sent().collect::<Vec<_>>()))
        };
        let together = sets(Signal::Traces).filter(is_with_logs).count();
        if closed < spans.max(logs) || closed > spans + logs - together.min(logs) {
            is_twice = true;
            self.tell(id, || {
                format!(
                    "closed {closed} times, delivered as {spans} sets of spans and {logs} of logs, \
                     {together} of them together"
                )
            });
        }
        self.closed_twice += usize::from(is_twice);
    }

    fn count(&mut self, sent: Sent<'_>, page: &Page, closed: usize) {
        let items: BTreeSet<_> = page.parcels.iter().flat_map(Parcel::sent).collect();
        self.traces += usize::from(!items.is_empty());
        self.complete += usize::from(sent.trace.is_whole(&items));
        self.spans += sent.trace.distinct(Signal::Traces, items.iter().copied());
        self.logs += sent.trace.distinct(Signal::Logs, items.iter().copied());
        self.second_generation += usize::from(closed > 1);
        self.redelivered += page.parcels.iter().filter(|parcel| parcel.times > 1).count();
    }

    fn links(&mut self, pages: &Pages) {
        let links: HashSet<_> = pages
            .traces
            .iter()
            .flat_map(|(id, page)| page.synthetic.iter().map(move |span| (id, span)))
            .filter(|(_, span)| span.linked.is_some())
            .map(|(id, span)| (id, &span.span_id))
            .collect();
        self.linked = links.len();
    }

    pub fn missing(&mut self, id: &TraceId, words: impl FnOnce() -> String) {
        self.missing += 1;
        self.tell(id, words);
    }

    pub fn extra(&mut self, id: &TraceId, words: impl FnOnce() -> String) {
        self.extra += 1;
        self.tell(id, words);
    }

    pub fn duplicated(&mut self, id: &TraceId, words: impl FnOnce() -> String) {
        self.duplicated += 1;
        self.tell(id, words);
    }

    pub fn tell(&mut self, id: &TraceId, words: impl FnOnce() -> String) {
        self.first.get_or_insert(*id);
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(format!("trace {}: {}", hex(id), words()));
        }
    }
}

pub fn describe(sent: Sent<'_>, item: u32) -> String {
    let item = &sent.trace.items[item as usize];
    // Nobody finds the recorded id in a copy, but in the recording.
    let of = match sent.disguise.trace_id(sent.trace.id) == sent.trace.id {
        true => String::new(),
        false => format!(" (recorded in {})", hex(&sent.trace.id)),
    };
    let span = hex(&item.span_id);
    match item.signal {
        Signal::Traces => format!("span {span}{of}"),
        Signal::Logs => format!("a log of span {span}{of}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::{
        apart::Synthetic,
        disguise::Disguise,
        recording::{Recording, Telemetry},
        sample,
    };

    /// One trace with items 0 and 1 (spans) and 2 (log).
    fn book() -> (Book, TraceId) {
        let requests = vec![
            Telemetry::Traces(sample::traces([sample::span(1, 1, 0), sample::span(1, 2, 1)])),
            Telemetry::Logs(sample::logs([sample::log(1, 2, "a", "x")])),
        ];
        let mut book = Book::default();
        book.add(&Arc::new(Recording::new(requests).unwrap()), Disguise::of_copy(1, 0));
        (book, Disguise::of_copy(1, 0).trace_id([1; 16]))
    }

    fn spans(items: &[u32]) -> Parcel {
        Parcel { signal: Signal::Traces, items: items.to_vec(), times: 1 }
    }

    fn logs(items: &[u32]) -> Parcel {
        Parcel { signal: Signal::Logs, items: items.to_vec(), times: 1 }
    }

    fn find(parcels: Vec<Parcel>, generations: u32) -> Findings {
        find_in(parcels, generations, &Arrivals::default())
    }

    fn find_in(parcels: Vec<Parcel>, generations: u32, arrivals: &Arrivals) -> Findings {
        let (_, id) = book();
        let page = Page { parcels, synthetic: Vec::new() };
        let pages = Pages { traces: HashMap::from([(id, page)]), ..Pages::default() };
        find_all(&pages, &HashMap::from([(id, generations)]), arrivals)
    }

    fn find_all(pages: &Pages, generations: &HashMap<TraceId, u32>, arrivals: &Arrivals) -> Findings {
        Findings::of_delivery(&book().0, pages, generations, arrivals, &|_, _| true, |_| true)
    }

    fn faults(findings: &Findings) -> (u64, u64, usize) {
        assert_eq!(findings.examples.is_empty(), faults_are_none(findings));
        (findings.missing, findings.extra, findings.closed_twice)
    }

    fn faults_are_none(findings: &Findings) -> bool {
        findings.missing == 0 && findings.extra == 0 && findings.closed_twice == 0
    }

    #[test]
    fn everything_once_is_well_however_it_was_closed() {
        for (parcels, generations) in [
            (vec![spans(&[0, 1]), logs(&[2])], 1),
            (vec![spans(&[0, 1]), logs(&[2])], 2),
            (vec![spans(&[0]), logs(&[2]), spans(&[1])], 2),
        ] {
            let findings = find(parcels, generations);
            assert_eq!(faults(&findings), (0, 0, 0));
            assert_eq!((findings.traces, findings.complete, findings.spans, findings.logs), (1, 1, 2, 1));
            assert_eq!(findings.second_generation, usize::from(generations > 1));
        }
    }

    #[test]
    fn a_redelivery_is_no_fault() {
        let findings = find(vec![Parcel { times: 3, ..spans(&[0, 1]) }, logs(&[2])], 1);
        assert_eq!(faults(&findings), (0, 0, 0));
        assert_eq!(findings.redelivered, 1);
    }

    #[test]
    fn what_was_not_delivered_is_missing() {
        let findings = find(vec![spans(&[1]), logs(&[2])], 1);
        assert_eq!(faults(&findings), (1, 0, 0));
        assert_eq!((findings.complete, findings.spans), (0, 1));
        let nothing = find_all(&Pages::default(), &HashMap::new(), &Arrivals::default());
        assert_eq!((faults(&nothing), nothing.traces), ((3, 0, 0), 0));
    }

    #[test]
    fn what_is_not_owed_may_be_there_or_not() {
        let find = |parcels| {
            let (book, id) = book();
            let pages = Pages {
                traces: HashMap::from([(id, Page { parcels, synthetic: Vec::new() })]),
                ..Pages::default()
            };
            // The second request, with the log, was never acknowledged.
            let owed = |_, request| request == 0;
            let generations = HashMap::from([(id, 1)]);
            Findings::of_delivery(&book, &pages, &generations, &Arrivals::default(), &owed, |_| true)
        };
        assert_eq!(faults(&find(vec![spans(&[0, 1])])), (0, 0, 0));
        assert_eq!(faults(&find(vec![spans(&[0, 1]), logs(&[2])])), (0, 0, 0));
        assert_eq!(faults(&find(vec![logs(&[2])])), (2, 0, 0));
    }

    #[test]
    fn an_item_in_two_generations_was_closed_twice() {
        assert_eq!(faults(&find(vec![spans(&[0, 1]), spans(&[1]), logs(&[2])], 2)), (0, 0, 1));
    }

    #[test]
    fn generations_that_nothing_explains_were_closed_twice() {
        assert_eq!(faults(&find(vec![spans(&[0, 1]), logs(&[2])], 3)), (0, 0, 1));
        assert_eq!(faults(&find(vec![spans(&[0]), spans(&[1]), logs(&[2])], 1)), (0, 0, 1));
    }

    #[test]
    fn spans_and_logs_that_arrived_together_are_one_generation() {
        let now = Instant::now();
        let arrivals = Arrivals::default();
        (0..2).for_each(|request| arrivals.note(0, request, now, now));
        let delivered = || vec![spans(&[0, 1]), logs(&[2])];
        assert_eq!(faults(&find_in(delivered(), 1, &arrivals)), (0, 0, 0));
        assert_eq!(faults(&find_in(delivered(), 2, &arrivals)), (0, 0, 1));
    }

    #[test]
    fn what_was_never_sent_is_extra() {
        let pages = Pages { strangers: 2, examples: vec!["a".to_owned()], ..Pages::default() };
        assert_eq!(find_all(&pages, &HashMap::new(), &Arrivals::default()).extra, 2);
    }

    #[test]
    fn links_are_counted_and_no_part_of_the_trace() {
        let (_, id) = book();
        let synthetic = vec![
            Synthetic { span_id: vec![1; 8], linked: Some(vec![2; 16]) },
            Synthetic { span_id: vec![3; 8], linked: None },
        ];
        let parcels = vec![spans(&[0, 1, 1 << 31, (1 << 31) + 1]), logs(&[2])];
        let pages = Pages { traces: HashMap::from([(id, Page { parcels, synthetic })]), ..Pages::default() };
        let findings = find_all(&pages, &HashMap::from([(id, 1)]), &Arrivals::default());
        assert_eq!((faults(&findings), findings.linked, findings.spans), ((0, 0, 0), 1, 2));
    }
}
