//! Everybody who is told of closes, and the message that they are told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use otlp_proto::correlation::v1::{CloseCause, ClosedEvent, WatchResponse};
use state_core::{Claim, EventId};
use tonic::Status;

use super::{
    config::WatchConfig,
    queue::{Event, Queue},
    wanted::Wanted,
};
use crate::{
    close::{Cause, Close},
    metrics, query, status,
};

/// All watchers of this engine. A clone has the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Watchers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: WatchConfig,
    watching: Mutex<Vec<Arc<Watching>>>,
}

#[derive(Debug)]
struct Watching {
    wanted: Wanted,
    queue: Queue,
}

/// A watcher, until it is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    watching: Arc<Watching>,
    shared: Arc<Shared>,
}

impl Watchers {
    /// Nobody watches yet.
    pub(crate) fn new(config: &WatchConfig) -> Self {
        Self { shared: Arc::new(Shared { config: config.clone(), watching: Mutex::default() }) }
    }

    /// Tells everybody who wants to know that a correlation was closed. Waits for nobody; costs next to nothing
    /// while nobody wants to know.
    pub(crate) fn tell(&self, claim: &Claim, close: &Close) {
        let mut event = None;
        for watching in self.shared.watching().iter() {
            if watching.wanted.fits(claim, close.cause) {
                let event = event.get_or_insert_with(|| Arc::new(Event::from(describe(claim, close))));
                watching.queue.push(event);
            }
        }
    }

    /// Lets a watcher in, who is told of what is closed from now on.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`: there are too many already.
    pub(super) fn enter(&self, wanted: Wanted) -> Result<Watcher, Status> {
        let Shared { config: WatchConfig { watchers_max, queue_bytes_max }, .. } = &*self.shared;
        let mut everybody = self.shared.watching();
        if everybody.len() >= *watchers_max {
            metrics::watcher_refused();
            let message = format!("watch.watchers_max = {watchers_max} watchers are there already");
            return Err(status::exhausted(message));
        }
        let watching = Arc::new(Watching { wanted, queue: Queue::new(*queue_bytes_max) });
        everybody.push(Arc::clone(&watching));
        metrics::watchers(1.0);
        Ok(Watcher { watching, shared: Arc::clone(&self.shared) })
    }
}

impl Shared {
    fn watching(&self) -> MutexGuard<'_, Vec<Arc<Watching>>> {
        // A list of whole watchers, whatever happened while it was locked.
        self.watching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// The next thing to tell it. For one task at a time; may be cancelled.
    pub(super) async fn next(&self) -> WatchResponse {
        self.watching.queue.next().await
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.watching().retain(|other| !Arc::ptr_eq(other, &self.watching));
        metrics::watchers(-1.0);
    }
}

fn describe(claim: &Claim, close: &Close) -> ClosedEvent {
    let Claim { ticket, generation, quiet, entry, .. } = claim;
    let id = EventId { key: ticket.key.clone(), first_seen: entry.first_seen, generation: *generation };
    let mut summary = entry.summary();
    summary.status = Some(state_core::Status::Closed);
    // The store's clock when it was claimed.
    let closed = entry.last_updated + TimeDelta::from_std(*quiet).unwrap_or_default();
    let cause = match close.cause {
        Cause::Complete => CloseCause::Complete,
        Cause::Idle => CloseCause::Idle,
        Cause::MaxAge => CloseCause::MaxAge,
        Cause::Full => CloseCause::Full,
        Cause::Shutdown => CloseCause::Shutdown,
    };
    ClosedEvent {
        event_id: id.to_string(),
        correlation: Some(query::convert(summary)),
        generation: *generation,
        cause: cause.into(),
        closed: Some(query::timestamp(closed)),
        has_root: close.has_root,
        missing: close.missing as u64,
        missing_parents: close.missing_parents.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use bytes::Bytes;
    use chrono::DateTime;
    use futures::FutureExt as _;
    use otlp_proto::correlation::v1::{
        CorrelationKey, CorrelationStatus, WatchRequest, watch_response::Told,
    };
    use state_core::{CorrelationEntry, Facts, Fragment, Origin, Overrides, Signal, Tenant, Ticket};
    use tonic::Code;

    use super::*;

    /// A correlation of two services with a key and an error.
    fn claim(tenant: &str) -> Claim {
        let at = |seconds: i64| DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap();
        let id: state_core::CorrelationId = "order.id=7".parse().unwrap();
        let origin = |service: &str| Origin { service: service.to_owned(), env: "test".to_owned() };
        let facts = Facts {
            errors: 1,
            origins: [origin("cart"), origin("shop")].into(),
            keys: BTreeSet::from([("order.id".to_owned(), "7".to_owned())]),
            ..Facts::default()
        };
        let fragment = Fragment::new(Signal::Logs, Bytes::from_static(b"log"), vec![[1; 16]], facts);
        let key = state_core::CorrelationKey { tenant: tenant.parse().unwrap(), id: id.clone() };
        Claim {
            ticket: Ticket { key, fence: 1, version: 1 },
            generation: 2,
            opened: at(5),
            quiet: Duration::from_secs(60),
            is_full: false,
            entry: CorrelationEntry::fold(id, at(0), at(10), vec![fragment], Overrides::default()),
            news: vec![],
        }
    }

    fn close() -> Close {
        Close { cause: Cause::Idle, has_root: false, missing: 20, missing_parents: vec!["ab".to_owned()] }
    }

    fn watchers(watchers_max: usize) -> Watchers {
        Watchers::new(&WatchConfig { watchers_max, ..WatchConfig::default() })
    }

    fn wanted(tenant: &str, request: WatchRequest) -> Result<Wanted, Status> {
        Wanted::new(tenant.parse::<Tenant>().unwrap(), request)
    }

    fn told(watcher: &Watcher) -> Option<ClosedEvent> {
        let Some(Told::Closed(event)) = watcher.next().now_or_never()?.told else {
            panic!("nothing is missed")
        };
        Some(event)
    }

    #[test]
    fn an_event_says_what_was_closed_when_and_why() {
        let watchers = watchers(1);
        let watcher = watchers.enter(wanted("shop", WatchRequest::default()).unwrap()).unwrap();
        watchers.tell(&claim("shop"), &close());
        let event = told(&watcher).unwrap();
        assert_eq!(event.event_id, "shop/order.id=7/1700000000000000/2");
        assert_eq!((event.generation, event.cause()), (2, CloseCause::Idle));
        assert_eq!(event.closed.unwrap().seconds, 1_700_000_070);
        assert_eq!((event.has_root, event.missing), (false, 20));
        assert_eq!(event.missing_parents, ["ab"]);
        let summary = event.correlation.unwrap();
        assert_eq!((summary.logs, summary.status()), (1, CorrelationStatus::Closed));
        assert_eq!(summary.metadata["order.id"], "7");
        assert_eq!(told(&watcher), None);
    }

    #[test]
    fn everybody_is_told_of_what_they_want_and_of_their_tenant_alone() {
        let key = |value: &str| Some(CorrelationKey { name: "order.id".into(), value: value.into() });
        let request = WatchRequest::default;
        for (tenant, request, fits) in [
            ("", request(), true),
            ("bank", request(), false),
            ("", WatchRequest { service: "shop".into(), ..request() }, true),
            ("", WatchRequest { service: "pay".into(), ..request() }, false),
            ("", WatchRequest { environment: "test".into(), ..request() }, true),
            ("", WatchRequest { environment: "live".into(), ..request() }, false),
            ("", WatchRequest { cause: CloseCause::Idle.into(), ..request() }, true),
            ("", WatchRequest { cause: CloseCause::Complete.into(), ..request() }, false),
            ("", WatchRequest { key: key("7"), ..request() }, true),
            ("", WatchRequest { key: key("8"), ..request() }, false),
            ("", WatchRequest { has_errors: Some(true), ..request() }, true),
            ("", WatchRequest { has_errors: Some(false), ..request() }, false),
        ] {
            let watchers = watchers(1);
            let watcher = watchers.enter(wanted(tenant, request.clone()).unwrap()).unwrap();
            watchers.tell(&claim(""), &close());
            assert_eq!(told(&watcher).is_some(), fits, "{tenant:?} {request:?}");
        }
    }

    #[test]
    fn a_filter_that_is_none_is_refused_rather_than_left_out() {
        let key = Some(CorrelationKey { name: "order.id".into(), value: String::new() });
        for request in
            [WatchRequest { cause: 9, ..Default::default() }, WatchRequest { key, ..Default::default() }]
        {
            assert_eq!(wanted("", request).unwrap_err().code(), Code::InvalidArgument);
        }
    }

    #[test]
    fn watchers_beyond_the_limit_are_refused_until_one_leaves() {
        let watchers = watchers(1);
        let enter = || watchers.enter(wanted("", WatchRequest::default()).unwrap());
        let first = enter().unwrap();
        let refused = enter().unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.message().contains("watch.watchers_max = 1"), "{refused}");
        drop(first);
        enter().unwrap();
    }
}
