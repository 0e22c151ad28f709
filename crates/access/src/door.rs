//! The way in: in whose name a request comes, and whether there is room for it.

use std::sync::Arc;

use http::{HeaderMap, Request};
use tonic::Status;

use crate::{Admission, Caller, Counted, Guard, admission::Admitted, metric};

/// A port that clients send to, as it looks to each request. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    guard: Guard,
    admission: Admission,
}

impl Door {
    /// Lets in whom the guard knows, as long as there is room.
    pub fn new(guard: Guard, admission: Admission) -> Self {
        Self { guard, admission }
    }

    /// Takes on a request with these headers; it is in flight until what comes back is dropped.
    ///
    /// # Errors
    /// What to answer instead: UNAUTHENTICATED, PERMISSION_DENIED, INVALID_ARGUMENT or UNAVAILABLE.
    pub fn enter(&self, headers: &HeaderMap) -> Result<Entered, Status> {
        let caller = self.guard.admit(headers).inspect_err(|denied| {
            metric::denied(self.admission.door(), denied.reason());
        })?;
        Ok(Entered { caller, admitted: Arc::new(self.admission.enter()?) })
    }

    /// The section of the configuration that holds the limits of the door.
    pub(crate) fn section(&self) -> &'static str {
        self.admission.section()
    }
}

/// A request that was taken on, until it is dropped.
#[derive(Debug)]
pub struct Entered {
    caller: Caller,
    admitted: Arc<Admitted>,
}

impl Entered {
    /// Counts the bytes of the request as they come, and lets it say whose it is and what it takes: its
    /// extensions [`Caller`] and [`InFlight`].
    pub fn count<Body>(&self, mut request: Request<Body>) -> Request<Counted<Body>> {
        request.extensions_mut().insert(self.caller.clone());
        request.extensions_mut().insert(InFlight(Arc::clone(&self.admitted)));
        request.map(|body| Counted::new(body, Arc::clone(&self.admitted)))
    }
}

/// The bytes that count for a request that was taken on. A clone is of the same request.
#[derive(Debug, Clone)]
pub struct InFlight(Arc<Admitted>);

impl InFlight {
    /// Counts the request as what it has become: decompressed it has more bytes than have come.
    ///
    /// # Errors
    /// UNAVAILABLE: there is no room for it.
    pub fn grow_to(&self, bytes: usize) -> Result<(), Status> {
        Ok(self.0.grow_to(bytes)?)
    }
}
