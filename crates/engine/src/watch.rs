//! Tells whoever wants to know of closes as they happen: the gRPC call `Watch`.
//!
//! Nothing here may hold up closing: an event is put into the queue of each watcher that wants it, and one that
//! does not read its queue is told later how many it has missed.

mod config;
mod queue;
mod wanted;
mod watchers;

use futures::{
    StreamExt as _,
    future::ready,
    stream::{self, BoxStream},
};
use otlp_proto::correlation::v1::{WatchRequest, WatchResponse, watch_service_server::WatchService};
use service_lifecycle::Shutdown;
use tonic::{Request, Response, Status};

use crate::{door, status};
pub use config::WatchConfig;
use wanted::Wanted;
pub(crate) use watchers::Watchers;

/// Answers `Watch`.
#[derive(Debug)]
pub(crate) struct Watch {
    watchers: Watchers,
    shutdown: Shutdown,
}

impl Watch {
    /// Streams end when the process drains.
    pub(crate) fn new(watchers: Watchers, shutdown: Shutdown) -> Self {
        Self { watchers, shutdown }
    }
}

#[tonic::async_trait]
impl WatchService for Watch {
    type WatchStream = BoxStream<'static, Result<WatchResponse, Status>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let tenant = door::tenant(&request);
        let wanted = Wanted::new(tenant, request.into_inner())?;
        let watcher = self.watchers.enter(wanted)?;
        let told = stream::unfold(watcher, async |watcher| Some((Ok(watcher.next().await), watcher)));
        let told = told.take_until(self.shutdown.draining());
        Ok(Response::new(told.chain(stream::once(ready(Err(status::draining())))).boxed()))
    }
}
