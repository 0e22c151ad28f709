//! What compressors cost and save on fragments, without any store.

use std::{io, path::Path, time::Duration};

use anyhow::ensure;
use bench_kit::{cpu, statistics::median, traffic::Shape};

use crate::{
    load::Batch,
    recorded,
    row::Bench,
    series::{Point, Series},
};

/// Bytes that each compressor works through in a repetition.
const BYTES: usize = 32 << 20;
const NONE: &str = "none (copied)";

type Codec = Box<dyn FnMut(&[u8]) -> io::Result<Vec<u8>>>;

/// A compressor, and what takes its output back; whatever can be used again for the next fragment is.
struct Compressor {
    name: &'static str,
    compress: Codec,
    decompress: Codec,
}

fn compressors() -> io::Result<Vec<Compressor>> {
    let zstd = |name, level| -> io::Result<Compressor> {
        let mut compressor = zstd::bulk::Compressor::new(level)?;
        let mut decompressor = zstd::bulk::Decompressor::new()?;
        Ok(Compressor {
            name,
            compress: Box::new(move |plain| compressor.compress(plain)),
            decompress: Box::new(move |packed| decompressor.decompress(packed, BYTES)),
        })
    };
    let (mut snappy, mut unsnappy) = (snap::raw::Encoder::new(), snap::raw::Decoder::new());
    Ok(vec![
        Compressor {
            name: NONE,
            compress: Box::new(|plain| Ok(plain.to_vec())),
            decompress: Box::new(|packed| Ok(packed.to_vec())),
        },
        Compressor {
            name: "LZ4 (in use)",
            compress: Box::new(|plain| Ok(lz4_flex::block::compress_prepend_size(plain))),
            decompress: Box::new(|packed| {
                lz4_flex::block::decompress_size_prepended(packed).map_err(io::Error::other)
            }),
        },
        zstd("zstd 1", 1)?,
        zstd("zstd 3", 3)?,
        Compressor {
            name: "snappy",
            compress: Box::new(move |plain| snappy.compress_vec(plain).map_err(io::Error::other)),
            decompress: Box::new(move |packed| unsnappy.decompress_vec(packed).map_err(io::Error::other)),
        },
    ])
}

pub(super) fn compression(bench: &Bench, data: Option<&Path>) -> anyhow::Result<Series> {
    let Bench { scale, pools, .. } = bench;
    let mut sources = Vec::new();
    for (label, shape) in [("10 spans", Shape::TOGETHER), ("2 spans", Shape::SCATTERED)] {
        sources.push((label, plains(&pools.get(shape, 10)?)));
    }
    if let Some(directory) = data {
        sources.push(("recorded", plains(&recorded::batches(directory)?)));
    }
    let mut points = Vec::new();
    for (source, plains) in &sources {
        for compressor in compressors()? {
            points.push(point(source, plains, compressor, scale.repetitions)?);
        }
    }
    Ok(Series { name: "compression", title: "Compressors, fragment by fragment".into(), points })
}

/// What is compressed of a fragment: its identities, then its payload. The facts before them, some
/// 50 bytes, are left out.
fn plains(batches: &[Batch]) -> Vec<Vec<u8>> {
    let pieces = batches.iter().flatten();
    pieces.map(|piece| [piece.identities.as_flattened(), &piece.payload[..]].concat()).collect()
}

fn point(
    source: &str,
    plains: &[Vec<u8>],
    compressor: Compressor,
    repetitions: usize,
) -> anyhow::Result<Point> {
    let Compressor { name, mut compress, mut decompress } = compressor;
    let plain_bytes: usize = plains.iter().map(Vec::len).sum();
    let rounds = BYTES.div_ceil(plain_bytes);
    let total = (plain_bytes * rounds) as f64;
    let nanos = |time: Duration| time.as_secs_f64() * 1e9 / total;
    let packed: Vec<Vec<u8>> = plains.iter().map(|plain| compress(plain)).collect::<io::Result<_>>()?;
    for (plain, packed) in plains.iter().zip(&packed) {
        ensure!(decompress(packed)? == *plain, "{name} does not give back what it was given");
    }
    let (mut ways, mut backs) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        let begin = cpu::of_this_process()?;
        for plain in (0..rounds).flat_map(|_| plains) {
            std::hint::black_box(compress(plain)?);
        }
        let middle = cpu::of_this_process()?;
        for packed in (0..rounds).flat_map(|_| &packed) {
            std::hint::black_box(decompress(packed)?);
        }
        let end = cpu::of_this_process()?;
        ways.push(nanos(middle.saturating_sub(begin)));
        backs.push(nanos(end.saturating_sub(middle)));
    }
    let packed_bytes: usize = packed.iter().map(Vec::len).sum();
    Ok(Point::new(
        format!("{source}: {name}"),
        [
            ("compress_ns_per_byte", median(ways)),
            ("decompress_ns_per_byte", median(backs)),
            ("packed_bytes_per_byte", packed_bytes as f64 / plain_bytes as f64),
            ("bytes_per_fragment", plain_bytes as f64 / plains.len() as f64),
        ],
    ))
}
