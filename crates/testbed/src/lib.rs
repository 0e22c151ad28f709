//! Real processes on free loopback ports: Redis, Redis Cluster, engines and gateways.
//!
//! Everything a value of this crate starts ends when the value is dropped, also when a test panics.
//! `std::process::exit` drops nothing: drop what is running before you call it.
//!
//! Data and logs of a test go with it, unless its thread panics or `TESTBED_KEEP` is set in the
//! environment: then they stay and their directory is printed.

pub mod certificates;
mod clock;
mod directory;
pub mod engine;
pub mod gateway;
pub mod local;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod redis;
pub mod running;
mod service;
mod wait;

pub use nix::sys::signal::Signal;

pub use engine::{EngineOptions, EngineProcess, State};
pub use gateway::{GatewayOptions, GatewayProcess};
pub use local::{LocalCluster, Shape};
pub use process::Process;
pub use prometheus::{Prometheus, PrometheusOptions};
pub use redis::{RedisCluster, RedisServer, Topology};
pub use running::{Backend, Running};
pub use service::{Settings, find_binary};
pub use wait::eventually;
