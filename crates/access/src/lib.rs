//! Who may connect to a door, and as whom: TLS, credentials, tenants, connections. The same for every door.
//!
//! A door is a port that clients send to. It gets its connections from a [`Listener`], which bounds
//! them and does TLS, and asks its [`Guard`] in whose name a request comes. Certificates and
//! credentials are read from files, and read again when those change.

#![warn(missing_docs)]

mod connection;
mod credentials;
mod guard;
mod listener;
mod metric;
mod tls;
mod watched;

pub use connection::Connection;
pub use guard::{AuthConfig, Caller, Denied, Guard};
pub use listener::Listener;
pub use metric::METRICS;
pub use tls::{Tls, TlsConfig, TlsKeys};
pub use watched::FileError;
