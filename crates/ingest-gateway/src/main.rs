//! The process `ingest-gateway`: what it is called, and what it runs.

use std::process::ExitCode;

use ingest_gateway::{METRICS, serve};
use service_lifecycle::App;

// Bodies of up to 64 MiB come and go on many threads; the system allocator keeps more of that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let app = App {
        name: "ingest-gateway",
        version: env!("CARGO_PKG_VERSION"),
        revision: option_env!("GIT_REVISION").unwrap_or("unknown"),
        about: "HTTP front of the correlation engines: takes OTLP/HTTP, answers queries as JSON",
        metrics: &[METRICS, access::METRICS],
        commands: &[],
    };
    service_lifecycle::run(&app, serve)
}
