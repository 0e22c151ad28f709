//! Every attempt to send something, and from when on a door takes requests again.

use std::sync::atomic::{AtomicU64, Ordering};

use loadgen::plan::Door;
use parking_lot::Mutex;
use tokio::time::Instant;

/// A door that has taken requests with so many traces in a row takes requests again: fewer might all belong to
/// shards that were never gone.
const TRACES_IN_A_ROW: usize = 30;
/// Wrong answers that are told in words.
const EXAMPLES_MAX: usize = 5;

/// Where a request goes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Engine(usize),
    Gateway(usize),
}

impl From<Door> for Entry {
    fn from(door: Door) -> Self {
        match door {
            Door::Engine(index) => Self::Engine(index),
            Door::Protobuf(index) | Door::Json(index) => Self::Gateway(index),
        }
    }
}

/// What came of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    /// Answered that it is not kept.
    Refused,
    /// Not answered: it may be kept or not.
    Unanswered,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    entry: Entry,
    begun: Instant,
    ended: Instant,
    /// That the request holds something of.
    traces: usize,
    is_accepted: bool,
}

/// All attempts so far, in the order of their ends.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    all: Mutex<Vec<Attempt>>,
    refused: AtomicU64,
    unanswered: AtomicU64,
    wrong: AtomicU64,
    examples: Mutex<Vec<String>>,
}

impl Attempts {
    pub(crate) fn note(&self, entry: Entry, traces: usize, begun: Instant, outcome: Outcome) {
        match outcome {
            Outcome::Accepted => {}
            Outcome::Refused => _ = self.refused.fetch_add(1, Ordering::Relaxed),
            Outcome::Unanswered => _ = self.unanswered.fetch_add(1, Ordering::Relaxed),
        }
        let is_accepted = outcome == Outcome::Accepted;
        let mut all = self.all.lock();
        all.push(Attempt { entry, begun, ended: Instant::now(), traces, is_accepted });
    }

    /// Takes note of an answer that a valid request or query must not get.
    pub(crate) fn note_wrong(&self, words: String) {
        self.wrong.fetch_add(1, Ordering::Relaxed);
        let mut examples = self.examples.lock();
        if examples.len() < EXAMPLES_MAX {
            examples.push(words);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.all.lock().len() as u64
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::Relaxed)
    }

    pub(crate) fn wrong(&self) -> u64 {
        self.wrong.load(Ordering::Relaxed)
    }

    pub(crate) fn examples(&self) -> Vec<String> {
        self.examples.lock().clone()
    }

    /// When the first of the entries had taken enough in a row that was begun after a time; `None` while none
    /// has.
    pub(crate) fn accepted_again(&self, entries: &[Entry], after: Instant) -> Option<Instant> {
        let all = self.all.lock();
        let first = all.partition_point(|attempt| attempt.ended <= after);
        let since = &all[first..];
        entries.iter().filter_map(|entry| of_entry(since, *entry, after)).min()
    }
}

fn of_entry(attempts: &[Attempt], entry: Entry, after: Instant) -> Option<Instant> {
    let mut in_a_row = 0;
    for attempt in attempts.iter().filter(|attempt| attempt.entry == entry && attempt.begun > after) {
        in_a_row = if attempt.is_accepted { in_a_row + attempt.traces } else { 0 };
        if in_a_row >= TRACES_IN_A_ROW {
            return Some(attempt.ended);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HERE: Entry = Entry::Engine(0);

    fn attempts(entry: Entry, accepted: &[bool], from: Instant) -> Attempts {
        let attempts = Attempts::default();
        let all = accepted.iter().zip(0..).map(|(is_accepted, number)| Attempt {
            entry,
            begun: from + Duration::from_secs(number),
            ended: from + Duration::from_secs(number + 1),
            traces: TRACES_IN_A_ROW / 3,
            is_accepted: *is_accepted,
        });
        *attempts.all.lock() = all.collect();
        attempts
    }

    #[test]
    fn a_door_takes_requests_again_when_it_has_taken_some_in_a_row() {
        let healed = Instant::now();
        let from = healed + Duration::from_secs(1);
        let again = |accepted: &[bool]| {
            let again = attempts(HERE, accepted, from).accepted_again(&[HERE], healed);
            again.map(|again| (again - healed).as_secs())
        };
        assert_eq!(again(&[true, true, false, true, true, true, true]), Some(7));
        assert_eq!(again(&[true, true, false, true, true]), None);
    }

    #[test]
    fn what_was_begun_before_says_nothing() {
        let from = Instant::now();
        let attempts = attempts(HERE, &[true; 5], from);
        let again = attempts.accepted_again(&[HERE], from + Duration::from_millis(500));
        assert_eq!(again, Some(from + Duration::from_secs(4)));
    }

    #[test]
    fn one_of_the_doors_is_enough_and_others_say_nothing() {
        let from = Instant::now();
        let attempts = attempts(Entry::Gateway(1), &[true; 5], from + Duration::from_secs(1));
        assert!(attempts.accepted_again(&[HERE], from).is_none());
        assert!(attempts.accepted_again(&[HERE, Entry::Gateway(1)], from).is_some());
    }

    #[test]
    fn every_outcome_is_counted() {
        let attempts = Attempts::default();
        for outcome in [Outcome::Accepted, Outcome::Refused, Outcome::Refused, Outcome::Unanswered] {
            attempts.note(HERE, 1, Instant::now(), outcome);
        }
        assert_eq!((attempts.count(), attempts.refused(), attempts.unanswered()), (4, 2, 1));
    }
}
