//! Wire types of OTLP and of the correlation query API, generated from `proto/`, and what OTLP says of statuses.

pub mod raw;
pub mod status;

/// The generated modules, nested as the protobuf packages are.
#[allow(
    clippy::all,
    clippy::restriction,
    unreachable_pub,
    unused_qualifications,
    rustdoc::all,
    reason = "generated code"
)]
mod wire {
    include!(concat!(env!("OUT_DIR"), "/wire.rs"));
}

pub use wire::{correlation, opentelemetry};

/// Metadata of a request to `CorrelationService` that names the state it is about, where an engine knows of more
/// than one.
pub const STATE_ID: &str = "correlation-state-id";

/// Encoded `FileDescriptorSet` of all services, for gRPC server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
