//! Runs the contract of `StateManager` on one real Redis server.

mod spaces;

use std::process::ExitCode;

use testbed::{RedisServer, redis::Options};

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let server = runtime.block_on(RedisServer::start(Options::default())).expect("a Redis server starts");
    state_conformance::run(&runtime, spaces::Spaces::of(server.url()))
}
