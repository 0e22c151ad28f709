//! The ports of a process: connections, bounded in number, with TLS where a port has it. Knows nothing
//! of what is asked for on them.

mod bind;
mod connection;
mod http;
mod listener;
mod tls;

pub use bind::{BindError, bind};
pub use connection::Connection;
pub use http::serve_http;
pub use listener::Listener;
pub use tls::{Tls, TlsConfig, TlsKeys};
