//! The exporters that people use, and nginx, against the real binaries.

use std::{process::ExitCode, sync::Arc};

use otlp_conformance::Doors;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let doors = runtime.block_on(Doors::start()).expect("engines and gateways start");
    otlp_conformance::run(runtime.handle(), &Arc::new(doors), &otlp_conformance::clients()).exit_code()
}
