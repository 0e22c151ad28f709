//! Sweeps: how the cost changes with a setting, on a Redis Cluster of three primaries.

mod append;
mod bytes;
mod compression;
mod floor;

use std::path::Path;

use clap::ValueEnum;

use crate::{row::Bench, series::Series};

/// What is varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sweep {
    /// Number of buckets.
    Buckets,
    /// How long an append waits for others.
    Gather,
    /// What compresses a fragment.
    Compression,
    /// A fragment for each trace, or for each span.
    Packing,
    /// Engines that share the load.
    Engines,
    /// Correlations that are stored already.
    Stored,
    /// Bytes in Redis for each byte of OTLP.
    Bytes,
    /// What the simplest durable log would cost.
    Floor,
    /// All of these.
    All,
}

impl Sweep {
    const EACH: [Self; 8] = [
        Self::Buckets,
        Self::Gather,
        Self::Compression,
        Self::Packing,
        Self::Engines,
        Self::Stored,
        Self::Bytes,
        Self::Floor,
    ];

    /// The sweeps that are meant.
    pub(crate) fn each(self) -> Vec<Self> {
        if self == Self::All { Self::EACH.to_vec() } else { vec![self] }
    }

    /// `data` is a directory of recorded telemetry, for those that can make use of it.
    pub(crate) async fn run(self, bench: &Bench, data: Option<&Path>) -> anyhow::Result<Series> {
        match self {
            Self::Buckets => append::buckets(bench).await,
            Self::Gather => append::gather(bench).await,
            Self::Compression => compression::compression(bench, data),
            Self::Packing => append::packing(bench).await,
            Self::Engines => append::engines(bench).await,
            Self::Stored => append::stored(bench).await,
            Self::Bytes => bytes::bytes(bench, data).await,
            Self::Floor => floor::floor(bench).await,
            Self::All => anyhow::bail!("all sweeps are run one by one"),
        }
    }
}
