//! Who may connect to a door, and as whom: TLS, credentials, tenants, connections. The same for every door.
//!
//! A door is a port that clients send to. It gets its connections from a [`Listener`], which bounds
//! them and does TLS, asks its [`Guard`] in whose name a request comes, and its [`Admission`] whether
//! there is room for it. Certificates and credentials are read again when their files change.

#![warn(missing_docs)]

mod admission;
mod connection;
mod credentials;
mod grpc;
mod guard;
mod listener;
mod metric;
mod oversize;
mod tls;
mod watched;

pub use admission::{Admission, Admitted, LimitsConfig, LimitsKeys, Overload};
pub use connection::Connection;
pub use grpc::{Door, DoorLayer};
pub use guard::{AuthConfig, Caller, Denied, FORWARDED_TENANT, Guard};
pub use listener::Listener;
pub use metric::METRICS;
pub use oversize::{Oversize, OversizeLayer};
pub use tls::{Tls, TlsConfig, TlsKeys};
pub use watched::{FileError, Watched};
