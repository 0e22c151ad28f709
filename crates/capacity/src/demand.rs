//! What comes, and what it may run on.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Serialize, Serializer};

use crate::units;

/// What comes, and what it may run on.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct Demand {
    /// Traces that come in, at the busiest time
    #[arg(long, value_name = "NUMBER", value_parser = units::positive)]
    pub traces_per_second: f64,
    /// Spans of a trace, on average; log records count as spans
    #[arg(long, value_name = "NUMBER", value_parser = units::positive)]
    pub spans_per_trace: f64,
    /// How long a correlation is kept after its last arrival: correlation.ttl_seconds
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = units::time)]
    #[serde(rename = "retention_seconds", serialize_with = "seconds")]
    pub retention: Duration,
    /// Size of a span as OTLP protobuf, uncompressed
    #[arg(long, value_name = "BYTES", default_value = "450", value_parser = units::bytes)]
    pub bytes_per_span: f64,
    /// Spans in a request of a client
    #[arg(long, value_name = "NUMBER", default_value = "100", value_parser = units::positive)]
    pub spans_per_request: f64,
    /// Requests over which a trace is spread [default: as few as there can be]
    #[arg(long, value_name = "NUMBER", value_parser = units::positive)]
    pub fragments_per_trace: Option<f64>,
    /// How clients send: over HTTP it goes through gateways, with `grpc` straight to engines
    #[arg(long, value_name = "PROTOCOL", default_value = "http/protobuf")]
    pub protocol: Door,
    /// OTLP endpoints that closed correlations are delivered to
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub endpoints: u32,
    /// Cores of an engine
    #[arg(long, value_name = "CORES", default_value = "2", value_parser = units::positive)]
    pub engine_cores: f64,
    /// Cores of a gateway
    #[arg(long, value_name = "CORES", default_value = "2", value_parser = units::positive)]
    pub gateway_cores: f64,
    /// Replicas of each Redis primary; 0 keeps no second copy
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=5))]
    pub replicas_per_primary: u32,
    /// Most memory of one Redis server
    #[arg(long, value_name = "BYTES", default_value = "16GiB", value_parser = units::bytes)]
    pub redis_memory_per_node: f64,
    /// What stays free of everything that is provided
    #[arg(long, value_name = "PERCENT", default_value = "20%", value_parser = units::share)]
    pub headroom: f64,
}

/// How clients send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
pub enum Door {
    /// Straight to engines.
    #[value(name = "grpc")]
    #[serde(rename = "grpc")]
    Grpc,
    /// Through gateways.
    #[value(name = "http/protobuf")]
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
    /// Through gateways.
    #[value(name = "http/json")]
    #[serde(rename = "http/json")]
    HttpJson,
}

impl Demand {
    /// Spans that come in.
    pub fn spans_per_second(&self) -> f64 {
        self.traces_per_second * self.spans_per_trace
    }

    /// Requests over which a trace is spread: no fewer than it has room in, no more than it has spans.
    pub fn fragments(&self) -> f64 {
        let least = (self.spans_per_trace / self.spans_per_request).max(1.0);
        self.fragments_per_trace.unwrap_or(least).max(least).min(self.spans_per_trace.max(1.0))
    }
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_secs())
}
