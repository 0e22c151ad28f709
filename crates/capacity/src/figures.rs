//! What was measured: figures of docs/benchmarks.md, each with its row there and the command that measures it.
//!
//! `tests/figures.rs` holds them against the page.

use serde::Serialize;

/// A figure of the page.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// In microseconds, bytes, or as a part of one.
    pub value: f64,
    /// Row of the page, with the heading above it where others have a row of this name.
    pub row: &'static str,
    /// Column of the row, or the name of one of several figures in it.
    pub of: &'static str,
    /// What measures it again.
    pub command: &'static str,
}

const fn figure(value: f64, row: &'static str, of: &'static str, command: &'static str) -> Figure {
    Figure { value, row, of, command }
}

/// What a figure of a plan comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Source {
    /// Figures of the page.
    Page(Vec<Figure>),
    /// A report of the user.
    Report(String),
}

impl Source {
    /// What it is called where there is little room.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Page(figures) => {
                let mut names: Vec<_> = figures.iter().map(|figure| format!("`{}`", figure.row)).collect();
                names.dedup();
                names.join(", ")
            }
            Self::Report(name) => name.clone(),
        }
    }

    /// The figures of the page that it is.
    pub(crate) fn figures(&self) -> &[Figure] {
        match self {
            Self::Page(figures) => figures,
            Self::Report(_) => &[],
        }
    }
}

/// CPU of an engine and of all Redis servers for a span.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    pub engine: Figure,
    pub redis: Figure,
}

/// A row of "End to end".
const fn end_to_end(row: &'static str, engine: f64, redis: f64, command: &'static str) -> Pair {
    Pair { engine: figure(engine, row, "engine", command), redis: figure(redis, row, "Redis", command) }
}

/// What a Redis Cluster costs, with replicas or without.
#[derive(Debug)]
pub struct Cluster {
    /// Arrival by spans in a request, traces of ten; closing falls behind meanwhile.
    pub by_request: &'static [(f64, Pair)],
    /// The whole life of a span until it is delivered, 1,000 in a request, traces of ten.
    pub whole: Pair,
    /// Appending spans of a trace of ten, whole.
    pub append: [Figure; 3],
    /// The same in five fragments.
    pub scattered: [Figure; 3],
}

const CLUSTER_1000: Pair = end_to_end("cluster-1000", 2.58, 3.52, "just bench --only cluster-1000");
const CORRELATE: &str = "just bench-correlate --only redis-cluster";
const CORRELATE_REPLICATED: &str = "just bench-correlate --only redis-replicated";
const STATE: &str = "just bench-state --backend cluster";
const STATE_REPLICATED: &str = "just bench-state --backend replicated";
const SWEEP: &str = "just bench-state --sweep all --data DIR";

/// Three primaries that keep no files.
pub const PLAIN: Cluster = Cluster {
    by_request: &[
        (10.0, end_to_end("cluster-trace", 6.93, 5.35, "just bench --only cluster-trace")),
        (20.0, end_to_end("cluster-20", 5.21, 4.15, "just bench --only cluster-20")),
        (100.0, end_to_end("latency-100", 2.71, 3.1, "just bench --only latency-100")),
        (1_000.0, CLUSTER_1000),
    ],
    whole: Pair {
        engine: figure(4.62, "redis-cluster", "of it in the engine", CORRELATE),
        redis: figure(5.05, "redis-cluster", "of it in Redis", CORRELATE),
    },
    append: [
        figure(0.972, "Redis Cluster of 3 primaries/append", "CPU client", STATE),
        figure(2.26, "Redis Cluster of 3 primaries/append", "primaries", STATE),
        figure(0.0, "Redis Cluster of 3 primaries/append", "replicas", STATE),
    ],
    scattered: [
        figure(2.23, "Redis Cluster of 3 primaries/scattered", "CPU client", STATE),
        figure(7.41, "Redis Cluster of 3 primaries/scattered", "primaries", STATE),
        figure(0.0, "Redis Cluster of 3 primaries/scattered", "replicas", STATE),
    ],
};

/// Three primaries with a replica each that confirms, and append-only files.
pub const REPLICATED: Cluster = Cluster {
    by_request: &[
        (10.0, end_to_end("replicated-trace", 7.84, 10.85, "just bench --only replicated-trace")),
        (100.0, end_to_end("replicated-100", 3.02, 6.33, "just bench --only replicated-100")),
        (1_000.0, end_to_end("replicated-1000", 2.61, 6.42, "just bench --only replicated-1000")),
    ],
    whole: Pair {
        engine: figure(4.65, "redis-replicated", "of it in the engine", CORRELATE_REPLICATED),
        redis: figure(9.63, "redis-replicated", "of it in Redis", CORRELATE_REPLICATED),
    },
    append: [
        figure(1.0, "Redis Cluster of 3 primaries and 3 replicas/append", "CPU client", STATE_REPLICATED),
        figure(3.85, "Redis Cluster of 3 primaries and 3 replicas/append", "primaries", STATE_REPLICATED),
        figure(2.42, "Redis Cluster of 3 primaries and 3 replicas/append", "replicas", STATE_REPLICATED),
    ],
    scattered: [
        figure(2.34, "Redis Cluster of 3 primaries and 3 replicas/scattered", "CPU client", STATE_REPLICATED),
        figure(14.33, "Redis Cluster of 3 primaries and 3 replicas/scattered", "primaries", STATE_REPLICATED),
        figure(6.91, "Redis Cluster of 3 primaries and 3 replicas/scattered", "replicas", STATE_REPLICATED),
    ],
};

/// Arrival by spans in a trace, 1,000 in a request, without replicas.
pub const BY_TRACE: [(f64, Pair); 3] = [
    (2.0, end_to_end("cluster-1000-of-2", 4.58, 11.19, "just bench --only cluster-1000-of-2")),
    (10.0, CLUSTER_1000),
    (100.0, end_to_end("cluster-1000-of-100", 1.58, 0.86, "just bench --only cluster-1000-of-100")),
];

/// Bytes that a span takes in Redis, one copy, by spans in a trace.
pub const REDIS_BYTES: [(f64, Figure); 3] = [
    (2.0, figure(1_049.0, "pending", "bytes per span in the Redis Cluster, 2 in a trace", PENDING)),
    (10.0, figure(301.66, "pending", "bytes per span in the Redis Cluster, 10 in a trace", PENDING)),
    (100.0, figure(113.76, "pending", "bytes per span in the Redis Cluster, 100 in a trace", PENDING)),
];
const PENDING: &str = "just bench --only pending";
/// Spans of all rows have about so many bytes.
pub const BYTES_PER_SPAN: f64 = 450.0;

/// Bytes in Redis of a correlation of ten spans in one fragment, and in five.
pub const BYTES_OF_FRAGMENTS: [Figure; 2] = [
    figure(3_095.0, "10 spans in a fragment", "redis bytes per correlation", SWEEP),
    figure(6_323.0, "2 spans in a fragment", "redis bytes per correlation", SWEEP),
];

/// What is left of a byte when it is packed for Redis, by spans in a fragment.
pub const PACKED: [(f64, Figure); 2] = [
    (2.0, figure(0.664, "2 spans: LZ4 (in use)", "packed bytes per byte", SWEEP)),
    (10.0, figure(0.349, "10 spans: LZ4 (in use)", "packed bytes per byte", SWEEP)),
];

/// CPU of engines and Redis for a span, by the number of engines.
pub const BY_ENGINES: [(f64, Figure); 3] = [
    (1.0, figure(11.91, "engines", "1 engine: CPU of engines and Redis per span", ENGINES)),
    (3.0, figure(11.96, "engines", "3 engines: CPU of engines and Redis per span", ENGINES)),
    (10.0, figure(11.97, "engines", "10 engines: CPU of engines and Redis per span", ENGINES)),
];
const ENGINES: &str = "just bench --only engines";

/// CPU of a gateway for a span, 1,000 in a request.
pub const GATEWAY_PROTOBUF: Figure =
    figure(0.590, "cluster-1000-http", "gateway", "just bench --only cluster-1000-http");
pub const GATEWAY_JSON: Figure =
    figure(1.52, "memory-1000-json", "gateway", "just bench --only memory-1000-json");
/// CPU of everything for a request of a trace of ten spans, as JSON through a gateway, and to the engine.
pub const REQUEST: [Figure; 2] = [
    figure(331.22, "replaced", "1 with Redis, engine, JSON through a gateway: CPU per request", REPLACED),
    figure(208.9, "replaced", "1 with Redis, engine, gRPC: CPU per request", REPLACED),
];
const REPLACED: &str = "just bench --only replaced";

const MIB: f64 = 1_048_576.0;
/// Most memory of an engine whose state is in Redis, at the most spans that it takes.
pub const ENGINE_MEMORY: Figure = figure(
    618.8 * MIB,
    "forwarders",
    "engine with Redis Cluster: most memory",
    "just bench --only forwarders",
);
/// Most memory of a gateway under four times the load that it takes.
pub const GATEWAY_MEMORY: Figure = figure(
    88.0 * MIB,
    "overload-gateway-grpc",
    "most memory",
    "just bench-doors --only overload-gateway-grpc",
);

/// Every figure, to be held against the page.
pub fn all() -> Vec<Figure> {
    let pairs = [PLAIN.by_request, REPLICATED.by_request, &BY_TRACE].concat();
    let pairs = pairs.into_iter().map(|(_, pair)| pair).chain([PLAIN.whole, REPLICATED.whole]);
    let points = [&REDIS_BYTES[..], &PACKED, &BY_ENGINES].concat();
    let mut all: Vec<_> = pairs.flat_map(|pair| [pair.engine, pair.redis]).collect();
    all.extend(points.into_iter().map(|(_, figure)| figure));
    all.extend([PLAIN.append, PLAIN.scattered, REPLICATED.append, REPLICATED.scattered].concat());
    all.extend([BYTES_OF_FRAGMENTS, REQUEST].concat());
    all.extend([GATEWAY_PROTOBUF, GATEWAY_JSON, ENGINE_MEMORY, GATEWAY_MEMORY]);
    all
}
