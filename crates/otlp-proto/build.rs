//! Compiles `proto/` without `protoc`, and describes the two OTLP services whose messages stay bytes.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;
use tonic_prost_build::manual;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed={}", root.display());

    let files = [
        "correlation/v1/correlation.proto",
        "correlation/v1/watch.proto",
        "opentelemetry/proto/collector/logs/v1/logs_service.proto",
        "opentelemetry/proto/collector/trace/v1/trace_service.proto",
    ];
    let descriptors = protox::compile(files, [&root])?;
    fs::write(out_dir.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".correlation.v1")
        .include_file("wire.rs")
        .compile_fds(descriptors)?;

    // The hot path must not decode: request and response of these services stay bytes.
    let raw = |package: &str, name: &str| {
        manual::Service::builder()
            .package(package)
            .name(name)
            .method(
                manual::Method::builder()
                    .name("export")
                    .route_name("Export")
                    .input_type("::bytes::Bytes")
                    .output_type("::bytes::Bytes")
                    .codec_path("crate::raw::RawCodec")
                    .build(),
            )
            .build()
    };
    let raw_dir = out_dir.join("raw");
    fs::create_dir_all(&raw_dir)?;
    manual::Builder::new().out_dir(&raw_dir).compile(&[
        raw("opentelemetry.proto.collector.trace.v1", "TraceService"),
        raw("opentelemetry.proto.collector.logs.v1", "LogsService"),
    ]);
    Ok(())
}
