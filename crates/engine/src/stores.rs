//! The states that an engine knows, and which of them a query is about.

use std::sync::Arc;

use otlp_proto::STATE_ID;
use state_core::StateManager;
use tonic::{Request, Status};

use crate::{
    former::{self, Former, United},
    query::failed,
};

/// The state of an engine, and the former one if there is one.
#[derive(Debug, Clone)]
pub(crate) struct Stores {
    pub(crate) own: Arc<dyn StateManager>,
    pub(crate) former: Option<Former>,
    /// All of them as one.
    all: Arc<dyn StateManager>,
}

impl Stores {
    pub(crate) fn new(own: Arc<dyn StateManager>, former: Option<Former>) -> Self {
        let all: Arc<dyn StateManager> = match former.clone() {
            Some(former) => Arc::new(United::new(Arc::clone(&own), former)),
            None => Arc::clone(&own),
        };
        Self { own, former, all }
    }

    /// The state that a request is about: the one it names, or all. A gateway names it, since others may know the
    /// same.
    ///
    /// # Errors
    /// It names one that this engine may know once it has reached its former state.
    pub(crate) async fn asked<T>(&self, request: &Request<T>) -> Result<&dyn StateManager, Status> {
        let Some(named) = request.metadata().get(STATE_ID) else { return Ok(&*self.all) };
        let Some(former) = &self.former else { return Ok(&*self.own) };
        match former.id() {
            Some(id) if named == id => Ok(&**former.store()),
            None if *named != self.own.state_id().await.map_err(failed)? => {
                Err(failed(former::not_reached("find the state that is asked for")))
            }
            Some(_) | None => Ok(&*self.own),
        }
    }
}
