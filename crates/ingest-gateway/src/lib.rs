//! Front of the engines: OTLP in over HTTP and gRPC, queries as JSON out. Knows engines only through gRPC.
//!
//! It keeps nothing: a request is answered after an engine has answered. Protobuf bodies go
//! through undecoded, JSON becomes protobuf here. Every request may go to any engine that is
//! ready, and goes to another one when the first does not take it, which is safe because
//! appending is idempotent.

mod announce;
mod blocking;
mod config;
mod door;
mod engines;
mod forward;
mod grpc;
mod metrics;
mod query;
mod receive;
mod rest;
mod server;
mod status;
mod traced;

pub use config::{
    EngineTlsConfig, EngineUrl, EnginesConfig, EventsConfig, GatewayConfig, HttpConfig, OtlpGrpcConfig,
    Routing,
};
pub use metrics::METRICS;
pub use receive::{Coding, CodingError};
pub use server::serve;
