//! Closes as they happen, as Server-Sent Events: what all engines tell of, for whoever listens.

use std::sync::Arc;

use access::Caller;
use axum::{
    Extension,
    extract::State,
    http::Uri,
    response::{
        Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{StreamExt as _, stream};
use otlp_proto::correlation::v1::{CloseCause, ClosedEvent};
use serde::Serialize;
use service_lifecycle::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::{
    answer,
    parameters::Parameters,
    view::{Summary, rfc_3339},
};
use crate::{
    engines::{Closes, Told},
    metrics,
    server::Gateway,
    status,
};

/// nginx would hold events back until its buffer is full.
const UNBUFFERED: [(&str, &str); 1] = [("x-accel-buffering", "no")];

/// How many streams there may be at once, and what ends them.
pub(crate) struct Streams {
    streams_max: usize,
    places: Arc<Semaphore>,
    shutdown: Shutdown,
}

/// A stream, until it is dropped.
struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Streams {
    /// All of them end when the process drains.
    pub(crate) fn new(streams_max: usize, shutdown: Shutdown) -> Self {
        Self { streams_max, places: Arc::new(Semaphore::new(streams_max)), shutdown }
    }

    /// Lets a stream begin.
    ///
    /// # Errors
    /// `UNAVAILABLE`: there are too many already.
    fn enter(&self) -> Result<Place, Status> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_none| {
            metrics::event_stream_refused();
            let max = self.streams_max;
            status::unavailable(format!("events.streams_max = {max} streams are open already"))
        })?;
        metrics::event_streams(1.0);
        Ok(Place { _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::event_streams(-1.0);
    }
}

/// `GET /api/v1/events`
pub(crate) async fn events(
    State(gateway): State<Arc<Gateway>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let opened = async {
        let request = Parameters::parse(&uri)?.into_watch()?;
        let place = gateway.streams.enter()?;
        let engines = Arc::clone(&gateway.engines);
        let closes = Closes::open(engines, caller, request, gateway.deadline()).await?;
        let told = stream::unfold((closes, place), async |(mut closes, place)| {
            let told = closes.next().await;
            Some((frame(told), (closes, place)))
        });
        let told = told.take_until(gateway.streams.shutdown.draining());
        // Every 15 s something, so that both ends notice when the other one is gone.
        Ok((UNBUFFERED, Sse::new(told).keep_alive(KeepAlive::default())))
    };
    answer("events", opened).await
}

/// A close, as JSON.
#[derive(Debug, Serialize)]
struct Closed {
    event_id: String,
    generation: u64,
    /// `complete`, `idle`, `max_age` or `full`; empty when the engine knows more causes than this gateway.
    cause: &'static str,
    closed: Option<String>,
    has_root: bool,
    missing: u64,
    missing_parents: Vec<String>,
    correlation: Summary,
}

impl From<ClosedEvent> for Closed {
    fn from(event: ClosedEvent) -> Self {
        let cause = match event.cause() {
            CloseCause::Unspecified => "",
            CloseCause::Complete => "complete",
            CloseCause::Idle => "idle",
            CloseCause::MaxAge => "max_age",
            CloseCause::Full => "full",
            CloseCause::Shutdown => "shutdown",
        };
        Self {
            cause,
            event_id: event.event_id,
            generation: event.generation,
            closed: event.closed.and_then(rfc_3339),
            has_root: event.has_root,
            missing: event.missing,
            missing_parents: event.missing_parents,
            correlation: event.correlation.unwrap_or_default().into(),
        }
    }
}

/// Closes that are not in the stream, as JSON.
#[derive(Debug, Serialize)]
struct Missed {
    /// `null` when nobody knows.
    count: Option<u64>,
    reason: String,
}

fn frame(told: Told) -> Result<Event, axum::Error> {
    match told {
        Told::Closed(event) => {
            let id = one_line(&event.event_id);
            Event::default().event("closed").id(id).json_data(Closed::from(*event))
        }
        Told::Missed { count, reason } => {
            Event::default().event("missed").json_data(Missed { count, reason })
        }
    }
}

/// Keys of correlations may hold anything, and the id of an event no end of a line.
fn one_line(id: &str) -> String {
    id.replace(char::is_control, "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_with_ends_of_lines_is_one_line() {
        assert_eq!(one_line("/order.id=a\r\nb\0/1/1"), "/order.id=a%%b%/1/1");
        let event = ClosedEvent { event_id: "/a=\n/1/1".to_owned(), ..ClosedEvent::default() };
        assert!(frame(Told::Closed(Box::new(event))).is_ok());
    }

    #[test]
    fn streams_beyond_the_limit_are_refused_until_one_ends() {
        let streams = Streams::new(1, Shutdown::default());
        let first = streams.enter().unwrap_or_else(|_| panic!("there is room"));
        let refused = streams.enter().err().unwrap();
        assert!(refused.message().contains("events.streams_max = 1"), "{refused}");
        drop(first);
        assert!(streams.enter().is_ok());
    }
}
