//! Correlation state in a Redis server or Redis Cluster, shared by all replicas.
//!
//! Engines are symmetric and hold no state: each appends to, reads and removes any correlation.
//! Correlations are spread over buckets; all keys of a bucket share a hash tag, so one script call
//! adds many fragments at once, and the appends of concurrent requests are gathered per bucket.
//! `keys.rs` is the table of every key.

mod acknowledge;
mod append;
mod closing;
mod commit;
mod config;
mod content;
mod error;
mod field;
mod key_index;
mod keys;
mod ledger;
mod link;
mod list;
mod look;
mod metric;
mod node;
mod packed;
mod router;
mod schema;
mod script;
mod servers;
mod store;
mod taken;
mod tls;
mod topology;

pub use config::{Acknowledge, Config, InvalidConfig};
pub use store::RedisStateManager;
pub use tls::Tls;
