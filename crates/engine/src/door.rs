//! In whose name a request has come in, what that allows, and what it takes.

use access::{Caller, InFlight};
use bytes::Bytes;
use state_core::Tenant;
use tonic::{Extensions, Request, Status};

/// Whose data a request sends or asks for.
pub(crate) fn tenant<T>(request: &Request<T>) -> Tenant {
    caller(request.extensions()).tenant
}

/// Counts the message of a request as what it has become when it was decompressed.
///
/// # Errors
/// There is no room for it.
pub(crate) fn count(request: &Request<Bytes>) -> Result<(), Status> {
    let in_flight = request.extensions().get::<InFlight>();
    in_flight.map_or(Ok(()), |in_flight| in_flight.grow_to(request.get_ref().len()))
}

/// Lets nobody see the whole who may see one tenant only.
///
/// # Errors
/// The caller is confined to its tenant.
pub(crate) fn demand_all_tenants<T>(request: &Request<T>) -> Result<(), Status> {
    if caller(request.extensions()).is_confined {
        return Err(Status::permission_denied(
            "this concerns all tenants, and the credential is confined to one; use one with any_tenant = true",
        ));
    }
    Ok(())
}

/// Every request through the door has one.
fn caller(extensions: &Extensions) -> Caller {
    extensions.get().cloned().unwrap_or_default()
}
