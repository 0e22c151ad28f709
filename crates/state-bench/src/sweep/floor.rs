//! The floor: a log per bucket, one XADD of a packed record for each bucket of a request.
//!
//! No durable state in Redis is cheaper than this, and it is no state yet: nobody has put
//! correlations together. What it costs less is what doing so in Redis takes.

use std::{collections::HashMap, sync::Arc};

use anyhow::ensure;
use bench_kit::traffic::Shape;
use bytes::Bytes;
use fred::{
    prelude::{Builder, Client, ClientLike as _, Config, Value},
    types::{ClusterHash, CustomCommand},
};
use futures::future::try_join_all;
use parking_lot::Mutex;
use state_core::{Append, Identity};
use tokio::task::JoinSet;

use crate::{
    batch::Piece,
    cost::Meter,
    figures::Sample,
    load::{self, AT_ONCE, Batch},
    row::Bench,
    series::{Point, Series},
    sweep::append::point,
};

const BUCKETS: u64 = 64;
const APPEND: CustomCommand = CustomCommand {
    cmd: fred::bytes_utils::Str::from_static("XADD"),
    cluster_hash: ClusterHash::FirstKey,
    blocking: false,
};

pub(super) async fn floor(bench: &Bench) -> anyhow::Result<Series> {
    let mut points = Vec::new();
    for (label, shape, gathered) in [
        ("10 spans of a trace, a record for each request", Shape::TOGETHER, 1),
        ("10 spans of a trace, 8 requests in a record", Shape::TOGETHER, 8),
        ("2 spans of a trace, a record for each request", Shape::SCATTERED, 1),
        ("2 spans of a trace, 8 requests in a record", Shape::SCATTERED, 8),
    ] {
        points.push(measure(bench, label, shape, gathered).await?);
    }
    Ok(Series { name: "floor", title: "The floor: XADD of a packed record for each bucket".into(), points })
}

async fn measure(bench: &Bench, label: &str, shape: Shape, gathered: usize) -> anyhow::Result<Point> {
    let Bench { deployed, scale, pools } = bench;
    let pool = pools.get(shape, scale.requests)?;
    let mut samples = Vec::new();
    for _ in 0..scale.repetitions {
        // Empties the servers.
        deployed.open().await?.close().await?;
        let client = Builder::from_config(Config::from_url(&deployed.config().url)?).build()?;
        client.init().await?;
        let mut sample = Sample::default();
        for round in 0.. {
            let batches = load::of_tenant(&pool, round)?;
            let spans = load::spans(&batches);
            let meter = Meter::start(deployed).await?;
            add(&client, batches, gathered).await?;
            if round > 0 {
                sample.extend(Vec::new(), meter.stop().await?, spans);
            }
            if sample.cost.wall >= scale.append_time || sample.units >= scale.append_spans_max {
                break;
            }
        }
        client.quit().await?;
        samples.push(sample);
    }
    Ok(point(label.to_owned(), samples))
}

/// Adds requests, so many of them together, 16 at once.
async fn add(client: &Client, mut batches: Vec<Batch>, gathered: usize) -> anyhow::Result<()> {
    let mut groups = Vec::new();
    while !batches.is_empty() {
        groups.push(batches.split_off(batches.len().saturating_sub(gathered)));
    }
    let groups = Arc::new(Mutex::new(groups));
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, groups) = (client.clone(), Arc::clone(&groups));
        tasks.spawn(async move {
            loop {
                let Some(group) = groups.lock().pop() else { return anyhow::Ok(()) };
                add_group(&client, group).await?;
            }
        });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    Ok(())
}

async fn add_group(client: &Client, group: Vec<Batch>) -> anyhow::Result<()> {
    let mut records = HashMap::<u64, Vec<u8>>::new();
    for append in group.into_iter().flatten().map(Piece::append) {
        let bucket = u128::from_be_bytes(*append.fragment.id().bytes()) as u64 % BUCKETS;
        put(records.entry(bucket).or_default(), &append);
    }
    let adds = records.into_iter().map(|(bucket, plain)| {
        let packed = Bytes::from(lz4_flex::block::compress_prepend_size(&plain));
        let arguments =
            [Value::from(format!("log:{{{bucket}}}")), "*".into(), "f".into(), Value::Bytes(packed)];
        client.custom::<Value, _>(APPEND, arguments.to_vec())
    });
    let ids = try_join_all(adds).await?;
    ensure!(ids.iter().all(Value::is_string), "an XADD answered no id");
    Ok(())
}

/// Everything that reading it back would take.
fn put(record: &mut Vec<u8>, append: &Append) {
    let Append { key, fragment } = append;
    let (identities, payload): (&[Identity], _) = (fragment.identities(), fragment.payload());
    let id = key.id.as_str().as_bytes();
    for length in [id.len(), identities.len(), payload.len()] {
        record.extend_from_slice(&(length as u32).to_le_bytes());
    }
    record.extend_from_slice(id);
    record.extend_from_slice(fragment.id().bytes());
    record.extend_from_slice(identities.as_flattened());
    record.extend_from_slice(payload);
}
