//! Tests of the real engine process over real sockets.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

mod client;
mod close;
mod door;
mod ledger;
mod lifecycle;
mod links;
mod query;
mod receive;
mod sample_config;
mod shared_state;
mod watch;
