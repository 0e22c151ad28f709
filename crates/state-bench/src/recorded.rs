//! Recorded telemetry, read from a directory and taken apart as an engine does.

use std::path::Path;

use loadgen::{dataset::Dataset, request};
use otlp_codec::{SplitOptions, split_logs, split_traces};
use state_core::Signal;

use crate::{batch::Piece, load::Batch};

/// All requests of a directory.
pub(crate) fn batches(directory: &Path) -> anyhow::Result<Vec<Batch>> {
    let options = SplitOptions::default();
    let requests = Dataset::read(directory)?.requests;
    let split = requests.into_iter().map(|request| {
        let (signal, split) = match request.signal {
            request::Signal::Traces => (Signal::Traces, split_traces(&request.protobuf(), &options)),
            request::Signal::Logs => (Signal::Logs, split_logs(&request.protobuf(), &options)),
        };
        split?.parts.into_iter().map(|part| Piece::new(signal, part)).collect()
    });
    split.collect()
}
