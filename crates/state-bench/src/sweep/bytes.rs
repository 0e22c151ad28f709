//! How much memory Redis takes for what it keeps.

use std::path::Path;

use bench_kit::traffic::Shape;
use state_core::Outcome;

use crate::{
    batch::Piece,
    cost::field,
    deployment::Deployed,
    load::{self, Batch},
    recorded,
    row::Bench,
    series::{Point, Series},
};

/// Most bytes in Redis for a byte of OTLP.
const MARK: f64 = 0.5;

pub(super) async fn bytes(bench: &Bench, data: Option<&Path>) -> anyhow::Result<Series> {
    let Bench { deployed, scale, pools } = bench;
    let mut points = Vec::new();
    for (label, shape) in
        [("10 spans in a fragment", Shape::TOGETHER), ("2 spans in a fragment", Shape::SCATTERED)]
    {
        let batches = load::of_tenant(&pools.get(shape, scale.requests)?, 0)?;
        points.push(point(deployed, label, batches).await?);
    }
    if let Some(directory) = data {
        points.push(point(deployed, "recorded traces and logs", recorded::batches(directory)?).await?);
    }
    Ok(Series {
        name: "bytes",
        title: "Bytes in Redis (`used_memory`) for each byte of payload".into(),
        points,
    })
}

async fn point(deployed: &Deployed, label: &str, batches: Vec<Batch>) -> anyhow::Result<Point> {
    let manager = deployed.open().await?;
    let before = used_memory(deployed).await?;
    let (mut fragments, mut raw) = (0, 0);
    for batch in batches {
        let lengths: Vec<usize> = batch.iter().map(|piece| piece.payload.len()).collect();
        let outcomes = manager.append(batch.into_iter().map(Piece::append).collect()).await?;
        // Recorded telemetry may hold the same fragment twice; it is kept once.
        for (length, outcome) in lengths.into_iter().zip(outcomes) {
            if outcome == Outcome::Added {
                fragments += 1;
                raw += length;
            }
        }
    }
    let correlations = manager.get_correlation_count().await?;
    // The buffers of its connections are none of what is stored.
    manager.close().await?;
    let used = used_memory(deployed).await? - before;
    Ok(Point::new(
        label,
        [
            ("redis_bytes_per_payload_byte", used / raw as f64),
            ("redis_bytes_per_correlation", used / correlations as f64),
            ("payload_bytes_per_fragment", raw as f64 / f64::from(fragments)),
            ("correlations", correlations as f64),
            ("fragments", f64::from(fragments)),
        ],
    )
    .with_mark(MARK))
}

async fn used_memory(deployed: &Deployed) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for node in deployed.primaries() {
        sum += field(&node.command(&["INFO", "memory"]).await?, "used_memory")?;
    }
    Ok(sum)
}
