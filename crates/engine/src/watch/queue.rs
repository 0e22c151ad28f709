//! What one watcher has still to be told: bounded in bytes, with the places where something is left out.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use otlp_proto::correlation::v1::{ClosedEvent, WatchResponse, watch_response::Told};
use prost::Message as _;
use tokio::sync::Notify;

use crate::metrics;

/// A closed correlation, as watchers are told of it.
#[derive(Debug)]
pub(super) struct Event {
    message: ClosedEvent,
    bytes: usize,
}

impl From<ClosedEvent> for Event {
    fn from(message: ClosedEvent) -> Self {
        Self { bytes: message.encoded_len(), message }
    }
}

/// Filled by the closer, emptied by the stream of one watcher.
#[derive(Debug)]
pub(super) struct Queue {
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
}

/// Of two items that follow each other at most one counts what was missed.
#[derive(Debug)]
enum Item {
    Event(Arc<Event>),
    Missed(u64),
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, waiting: Mutex::default(), arrived: Notify::new() }
    }

    /// Adds an event, or counts it as missed where there is no room. Never waits.
    pub(super) fn push(&self, event: &Arc<Event>) {
        let Waiting { items, bytes } = &mut *self.waiting();
        if *bytes < self.bytes_max {
            *bytes += event.bytes;
            items.push_back(Item::Event(Arc::clone(event)));
        } else {
            metrics::watch_missed();
            match items.back_mut() {
                Some(Item::Missed(count)) => *count += 1,
                _ => items.push_back(Item::Missed(1)),
            }
        }
        self.arrived.notify_one();
    }

    /// The next thing to tell. For one task at a time; may be cancelled.
    pub(super) async fn next(&self) -> WatchResponse {
        loop {
            if let Some(item) = self.pop() {
                let told = match item {
                    Item::Event(event) => Told::Closed(event.message.clone()),
                    Item::Missed(count) => Told::Missed(count),
                };
                return WatchResponse { told: Some(told) };
            }
            self.arrived.notified().await;
        }
    }

    fn pop(&self) -> Option<Item> {
        let Waiting { items, bytes } = &mut *self.waiting();
        let item = items.pop_front();
        if let Some(Item::Event(event)) = &item {
            *bytes -= event.bytes;
        }
        item
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic while it was locked is one of running out of memory, which ends the process.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn event(number: u64) -> Arc<Event> {
        let message = ClosedEvent { generation: number, ..ClosedEvent::default() };
        Arc::new(Event { message, bytes: 10 })
    }

    /// Numbers of events, and negative counts of missed ones.
    fn drain(queue: &Queue) -> Vec<i64> {
        let told = std::iter::from_fn(|| queue.next().now_or_never());
        let number = |response: WatchResponse| match response.told.unwrap() {
            Told::Closed(event) => event.generation.cast_signed(),
            Told::Missed(count) => -count.cast_signed(),
        };
        told.map(number).collect()
    }

    #[test]
    fn what_has_no_room_is_counted_at_its_place() {
        let queue = Queue::new(25);
        (1..=5).for_each(|number| queue.push(&event(number)));
        assert!(queue.pop().is_some());
        (6..=8).for_each(|number| queue.push(&event(number)));
        assert_eq!(drain(&queue), [2, 3, -2, 6, -2]);
        queue.push(&event(9));
        assert_eq!(drain(&queue), [9], "there is room again");
    }

    #[tokio::test]
    async fn who_waits_is_told_as_soon_as_something_comes() {
        let queue = Queue::new(1);
        let (told, ()) = tokio::join!(queue.next(), async { queue.push(&event(1)) });
        assert!(matches!(told.told, Some(Told::Closed(event)) if event.generation == 1));
    }
}
