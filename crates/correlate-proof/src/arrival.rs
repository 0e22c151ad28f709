//! When the items of a trace can have arrived, and so whether two sets of them can be two generations.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{book::Sent, cluster::GRACE};

/// Clocks of Redis and of this program need not be the same to the millisecond.
const TOLERANCE: Duration = Duration::from_millis(100);

/// When each request of each copy was sent for the first time, and acknowledged.
#[derive(Debug)]
pub struct Arrivals {
    sent: Mutex<HashMap<(usize, usize), Span>>,
    /// How long a close waits for more.
    grace: Duration,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self::with_grace(GRACE)
    }
}

/// Something arrived not before it was begun, and not after it was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    begun: Instant,
    acknowledged: Instant,
}

impl Arrivals {
    /// With another grace than that of the cluster, because its clocks are moved.
    #[must_use]
    pub fn with_grace(grace: Duration) -> Self {
        Self { sent: Mutex::default(), grace }
    }

    /// Notes one sending.
    pub fn note(&self, copy: usize, request: usize, begun: Instant, acknowledged: Instant) {
        let new = Span { begun, acknowledged };
        let mut all = self.sent.lock();
        let known = all.entry((copy, request)).or_insert(new);
        *known = known.or_earlier(new);
    }

    /// When something of a trace was begun to be sent first, and when the last of it was acknowledged.
    pub fn around(&self, sent: Sent<'_>) -> Option<(Instant, Instant)> {
        let all = self.sent.lock();
        let requests = sent.trace.items.iter().flat_map(|item| &item.requests);
        let spans = requests.filter_map(|request| all.get(&(sent.copy, *request)));
        spans
            .map(|span| (span.begun, span.acknowledged))
            .reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
    }

    /// Whether everything of `one` can have been closed before anything of `other` arrived, or the other
    /// way round. If not, a generation that holds one of them holds the other too.
    pub fn may_be_apart(&self, sent: Sent<'_>, one: &[u32], other: &[u32]) -> bool {
        let (Some(one), Some(other)) = (self.of(sent, one), self.of(sent, other)) else { return true };
        one.can_be_closed_before(other, self.grace) || other.can_be_closed_before(one, self.grace)
    }

    /// From when the last item of a set can have arrived, and until when the first one has.
    fn of(&self, sent: Sent<'_>, items: &[u32]) -> Option<Span> {
        let all = self.sent.lock();
        let spans = items.iter().filter_map(|number| {
            let requests = sent.trace.items[*number as usize].requests.iter();
            requests.filter_map(|request| all.get(&(sent.copy, *request)).copied()).reduce(Span::or_earlier)
        });
        spans.reduce(|one, other| Span {
            begun: one.begun.max(other.begun),
            acknowledged: one.acknowledged.min(other.acknowledged),
        })
    }
}

impl Span {
    /// What was sent twice has arrived when the first of both has.
    fn or_earlier(self, other: Self) -> Self {
        Self { begun: self.begun.min(other.begun), acknowledged: self.acknowledged.min(other.acknowledged) }
    }

    /// A close waits for the grace after the last arrival.
    fn can_be_closed_before(self, other: Self, grace: Duration) -> bool {
        self.begun + grace <= other.acknowledged + TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        book::Book,
        disguise::Disguise,
        recording::{Recording, Telemetry},
        sample,
    };

    /// One trace with a span in request 0 and a log in request 1.
    fn book() -> Book {
        let requests = vec![
            Telemetry::Traces(sample::traces([sample::span(1, 1, 0)])),
            Telemetry::Logs(sample::logs([sample::log(1, 1, "a", "x")])),
        ];
        let mut book = Book::default();
        book.add(&Arc::new(Recording::new(requests).unwrap()), Disguise::default());
        book
    }

    /// Whether they may be apart when the span is sent at 10 s and the log at these seconds.
    fn may_be_apart(log_begun: f64, log_acknowledged: f64) -> bool {
        let book = book();
        let zero = Instant::now();
        let at = |seconds| zero + Duration::from_secs_f64(seconds);
        let arrivals = Arrivals::default();
        arrivals.note(0, 0, at(10.0), at(10.1));
        arrivals.note(0, 1, at(log_begun), at(log_acknowledged));
        arrivals.may_be_apart(book.get(&[1; 16]).unwrap(), &[0], &[1])
    }

    #[test]
    fn what_comes_within_the_grace_is_one_generation() {
        assert!(!may_be_apart(10.5, 11.0));
        assert!(!may_be_apart(9.0, 9.1));
    }

    #[test]
    fn what_comes_later_may_be_another_one() {
        assert!(may_be_apart(13.0, 13.1));
        assert!(may_be_apart(10.5, 13.1), "it may have arrived at the last attempt");
        assert!(may_be_apart(7.0, 7.1), "the log may have been closed first");
    }

    #[test]
    fn of_two_sendings_the_first_one_counts() {
        let book = book();
        let arrivals = Arrivals::default();
        let zero = Instant::now();
        let at = |seconds| zero + Duration::from_secs(seconds);
        arrivals.note(0, 0, at(1), at(1));
        arrivals.note(0, 1, at(1), at(1));
        arrivals.note(0, 1, at(9), at(9));
        assert!(!arrivals.may_be_apart(book.get(&[1; 16]).unwrap(), &[0], &[1]));
    }
}
