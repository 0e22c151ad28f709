//! The gateway as a real process over real sockets, in front of engines that do what a test says.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy.toml does not recognise")]

mod engine;
mod events;
mod gateway;
mod grpc;
mod inject;
mod otlp;
mod process;
mod query;
mod replicas;
mod routing;
