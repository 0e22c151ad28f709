//! Runs the contract of `StateManager` on a real Redis Cluster of three primaries and three replicas.

mod spaces;

use std::process::ExitCode;

use testbed::{RedisCluster, Topology};

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let cluster = runtime.block_on(RedisCluster::start(Topology::default())).expect("a Redis Cluster starts");
    state_conformance::run(&runtime, spaces::Spaces::of(cluster.url()))
}
