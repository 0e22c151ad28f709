//! Receives OTLP over gRPC, splits it into fragments, keeps them in a store and answers queries.
//!
//! An engine holds no state of its own: which store it uses is decided in `main.rs` alone.

mod activity;
mod close;
mod config;
mod door;
mod end;
mod former;
mod link;
mod maintain;
mod measured;
mod metrics;
mod peak;
mod query;
mod receive;
mod refusals;
mod regroup;
mod related;
mod serve;
mod status;
mod unkept;
mod watch;

pub use config::{Config, CorrelationConfig, GrpcConfig, MemoryConfig, RedisConfig, RedisTlsConfig};
pub use link::LinksConfig;
pub use metrics::METRICS;
pub use serve::serve;
pub use watch::WatchConfig;
