//! Tests of delivery by real engines to endpoints over real sockets.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

mod content;
mod endpoint;
mod engine;
mod faults;
mod links;
mod rollback;
mod telemetry;
mod wire;
