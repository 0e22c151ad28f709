//! The rows of the benchmark.

use bench_kit::{
    deployment::{Compression, State},
    figure::Figure,
};

use crate::{
    cost::{self, Subject},
    delay, idle,
    scale::Scale,
};

/// What an engine with its state in memory may cost for each span.
const MEMORY_MARK_US: f64 = 4.0;
/// What an engine and a Redis Cluster may cost together.
const REDIS_MARK_US: f64 = 10.0;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Memory,
    MemoryZstd,
    MemoryGzip,
    RedisCluster,
    RedisReplicated,
    Rotel,
    RotelPlain,
    Delay,
    Idle,
}

impl Row {
    pub(crate) const ALL: [Self; 9] = [
        Self::Memory,
        Self::MemoryZstd,
        Self::MemoryGzip,
        Self::RedisCluster,
        Self::RedisReplicated,
        Self::Rotel,
        Self::RotelPlain,
        Self::Delay,
        Self::Idle,
    ];
}

impl bench_kit::run::Row for Row {
    type Scale = Scale;

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::MemoryZstd => "memory-zstd",
            Self::MemoryGzip => "memory-gzip",
            Self::RedisCluster => "redis-cluster",
            Self::RedisReplicated => "redis-replicated",
            Self::Rotel => "rotel",
            Self::RotelPlain => "rotel-plain",
            Self::Delay => "delay",
            Self::Idle => "idle",
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Memory => "receive, correlate, close and deliver whole traces, state in memory",
            Self::MemoryZstd => "the same, delivered in zstd",
            Self::MemoryGzip => "the same, delivered in gzip",
            Self::RedisCluster => "the same as `memory`, state in a Redis Cluster of 3 primaries",
            Self::RedisReplicated => {
                "the same, 3 primaries and 3 replicas that confirm, append-only files (everysec)"
            }
            Self::Rotel => "Rotel: receive and forward in gzip, without state",
            Self::RotelPlain => "the same, forwarded uncompressed",
            Self::Delay => "from the last span of a trace to its delivery",
            Self::Idle => "10 engines, 100,000 active correlations in a Redis Cluster, nothing to do",
        }
    }

    async fn measure(self, scale: &Scale) -> anyhow::Result<Vec<Figure>> {
        let engine = |state, compression| Subject::Engine { state, compression };
        let memory = |compression| engine(State::Memory, compression);
        match self {
            Self::Memory => cost::measure(scale, &memory(Compression::Default), Some(MEMORY_MARK_US)).await,
            Self::MemoryZstd => cost::measure(scale, &memory(Compression::Zstd), None).await,
            Self::MemoryGzip => cost::measure(scale, &memory(Compression::Gzip), None).await,
            Self::RedisCluster => {
                let subject = engine(State::Cluster, Compression::Default);
                cost::measure(scale, &subject, Some(REDIS_MARK_US)).await
            }
            Self::RedisReplicated => {
                cost::measure(scale, &engine(State::Replicated, Compression::Default), None).await
            }
            Self::Rotel => cost::measure(scale, &Subject::Rotel(Compression::Default), None).await,
            Self::RotelPlain => cost::measure(scale, &Subject::Rotel(Compression::None), None).await,
            Self::Delay => delay::measure(scale).await,
            Self::Idle => idle::measure(scale).await,
        }
    }
}
