//! The life of a correlation: taken when it is due, closed once per generation.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};

use crate::{CorrelationEntry, CorrelationKey, Fragment, Identity, Items, Signal};

/// A claim on a correlation, as the store knows it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The correlation.
    pub key: CorrelationKey,
    /// Which claim it is: larger than that of every claim before, also after a failover of the store.
    pub fence: i64,
    /// Number of fragments that were there. One more makes finishing answer
    /// [`Changed`](Finished::Changed).
    pub version: u64,
}

/// A correlation that its holder alone may finish, until the lease ends or another one claims it
/// after that.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What to finish or release it with.
    pub ticket: Ticket,
    /// Number of the generation that finishing it ends, from 1.
    pub generation: u64,
    /// When this generation began: arrival of its first fragment, by the store's clock.
    pub opened: DateTime<Utc>,
    /// How long nothing had arrived when it was claimed, by the store's clock.
    pub quiet: Duration,
    /// A fragment of it was refused because of a limit, so waiting for more is of no use.
    pub is_full: bool,
    /// The correlation as a whole, all generations together.
    pub entry: CorrelationEntry,
    /// The fragments of this generation that hold something no earlier generation held, in order of
    /// arrival. Empty when everything was only resent within other batches.
    pub news: Vec<Fragment>,
}

impl Claim {
    /// Whether finishing it has to be told: a first generation always, a later one if it brought
    /// anything new.
    pub fn has_news(&self) -> bool {
        self.generation == 1 || !self.news.is_empty()
    }

    /// Closes it. An event follows if there is something to tell; it carries `note`, opaque to the
    /// store.
    pub fn finish(&self, note: impl Into<String>) -> Finish {
        let note = self.has_news().then(|| note.into());
        Finish {
            ticket: self.ticket.clone(),
            note,
            new_items: self.new_items(),
            outbox: Some(Duration::ZERO),
        }
    }

    /// How many items of this generation no earlier one held, each counted once.
    fn new_items(&self) -> Items {
        let count = |signal, all| distinct_news(signal, all, &self.news);
        Items { spans: count(Signal::Traces, &self.entry.spans), logs: count(Signal::Logs, &self.entry.logs) }
    }
}

/// Closes a claimed correlation.
#[derive(Debug, Clone)]
pub struct Finish {
    /// The claim.
    pub ticket: Ticket,
    /// What the event says; without it there is none, and the generation goes on counting from where
    /// it was.
    pub note: Option<String>,
    /// How many items it is about, each counted once. The rest of what arrived since the generation
    /// before had been sent already, within other batches.
    pub new_items: Items,
    /// Whether the event goes into the outbox, and how long it is left to whoever closes the
    /// correlation: [`claim_events`] does not give it away before. `None` where nobody is to get it.
    ///
    /// [`claim_events`]: crate::StateManager::claim_events
    pub outbox: Option<Duration>,
}

/// What became of an attempt to close a correlation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// It is closed, by this claim; its event, if any, is in the outbox. Answered again when the
    /// same is repeated, without a second event.
    Finished,
    /// Something new has arrived since it was claimed. The claim has ended; the correlation is due
    /// again when it is quiet.
    Changed,
    /// It is somebody else's now, or gone.
    Lost,
}

/// Gives a claim back.
#[derive(Debug, Clone)]
pub struct Release {
    /// The claim.
    pub ticket: Ticket,
    /// How long to leave it alone. An arrival makes it due earlier, as soon as it is quiet.
    pub look_after: Duration,
}

/// How many items of one signal the news hold that are in no fragment before them. `all` are the
/// fragments of this signal, in order of arrival.
fn distinct_news(signal: Signal, all: &[Fragment], news: &[Fragment]) -> u64 {
    fn sorted<'a>(fragments: impl Iterator<Item = &'a Fragment>) -> Vec<&'a Identity> {
        let mut identities: Vec<_> = fragments.flat_map(Fragment::identities).collect();
        identities.sort_unstable();
        identities.dedup();
        identities
    }
    let mut news = news.iter().filter(|fragment| fragment.signal() == signal).peekable();
    let Some(first) = news.peek().map(|first| first.id()) else { return 0 };
    let new = sorted(news);
    let earlier = all.iter().position(|fragment| fragment.id() == first).unwrap_or_default();
    let earlier = sorted(all[..earlier].iter());
    new.iter().filter(|identity| earlier.binary_search(identity).is_err()).count() as u64
}

/// The fragments from a place on, in order of arrival, that hold something those before do not.
///
/// A fragment resent within another batch has another name and is kept, but brings no news.
pub fn news(mut fragments: Vec<Fragment>, from: usize) -> Vec<Fragment> {
    let from = from.min(fragments.len());
    if from == 0 {
        return fragments;
    }
    let named = |fragment: &Fragment| {
        let signal = fragment.signal();
        fragment.identities().iter().map(move |identity| (signal, *identity)).collect::<Vec<_>>()
    };
    let mut later = fragments.split_off(from);
    let known: HashSet<(Signal, Identity)> = fragments.iter().flat_map(named).collect();
    later.retain(|fragment| named(fragment).iter().any(|identity| !known.contains(identity)));
    later
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Facts;

    fn fragment(payload: &'static str, identities: &[u8]) -> Fragment {
        let identities = identities.iter().map(|number| [*number; 16]).collect();
        Fragment::new(Signal::Traces, Bytes::from_static(payload.as_bytes()), identities, Facts::default())
    }

    #[test]
    fn what_came_again_in_other_batches_is_no_news() {
        let fragments = vec![fragment("a", &[1, 2]), fragment("b", &[3]), fragment("c", &[2, 3])];
        assert_eq!(news(fragments.clone(), 2), []);
        assert_eq!(news(fragments.clone(), 1), fragments[1..]);
        assert_eq!(news(fragments.clone(), 0), fragments);
    }

    #[test]
    fn an_item_is_news_once() {
        let all = [fragment("a", &[1, 2]), fragment("b", &[2, 3, 3]), fragment("c", &[3, 4])];
        assert_eq!(distinct_news(Signal::Traces, &all, &all), 4);
        assert_eq!(distinct_news(Signal::Traces, &all, &all[1..]), 2);
        assert_eq!(distinct_news(Signal::Traces, &all, &[]), 0);
        assert_eq!(distinct_news(Signal::Logs, &all, &all), 0);
    }

    #[test]
    fn spans_and_logs_are_known_apart() {
        let logs = Fragment::new(Signal::Logs, Bytes::from_static(b"l"), vec![[1; 16]], Facts::default());
        assert_eq!(news(vec![fragment("a", &[1]), logs.clone()], 1), [logs]);
    }
}
