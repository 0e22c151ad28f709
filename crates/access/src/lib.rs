//! Who may come in through a door, and as whom: credentials, tenants, requests in flight. The same for
//! every door.
//!
//! A door is a port that clients send to. It asks its [`Guard`] in whose name a request comes, and its
//! [`Admission`] whether there is room for it. Credentials are read again when their file changes.

#![warn(missing_docs)]

mod admission;
mod credentials;
mod grpc;
mod guard;
mod incoming;
mod metric;
mod oversize;

pub use admission::{Admission, Admitted, LimitsConfig, LimitsKeys, Overload};
pub use grpc::{Door, DoorLayer};
pub use guard::{AuthConfig, Caller, Denied, FORWARDED_TENANT, Guard};
pub use incoming::{Incoming, incoming};
pub use metric::METRICS;
pub use oversize::{Oversize, OversizeLayer};
