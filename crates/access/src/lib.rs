//! Who may come in through a door, and as whom: credentials, tenants, requests in flight. The same for
//! every door.
//!
//! A [`Door`] is a port that clients send to. It asks its [`Guard`] in whose name a request comes, and
//! its [`Admission`] whether there is room for it. Credentials are read again when their file changes.
//! A [`GrpcServer`] asks the door by itself.

#![warn(missing_docs)]

mod admission;
mod counted;
mod credentials;
mod door;
mod entrance;
mod grpc;
mod guard;
mod incoming;
mod metric;
mod oversize;
mod traced;

pub use admission::{Admission, LimitsConfig, LimitsKeys};
pub use counted::Counted;
pub use door::{Door, Entered, InFlight};
pub use grpc::GrpcServer;
pub use guard::{AuthConfig, Caller, FORWARDED_TENANT, Guard};
pub use metric::METRICS;
