//! The rows of the benchmark: a way in each.

use crate::{codec, engine, figure::Figure, gateway, requests::Shape, scale::Scale};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Split,
    JsonDecode,
    Engine1000,
    Engine20,
    GatewayProtobuf,
    GatewayJson,
    GatewayLatency,
}

impl Row {
    pub(crate) const ALL: [Self; 7] = [
        Self::Split,
        Self::JsonDecode,
        Self::Engine1000,
        Self::Engine20,
        Self::GatewayProtobuf,
        Self::GatewayJson,
        Self::GatewayLatency,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::JsonDecode => "json-decode",
            Self::Engine1000 => "engine-1000",
            Self::Engine20 => "engine-20",
            Self::GatewayProtobuf => "gateway-protobuf",
            Self::GatewayJson => "gateway-json",
            Self::GatewayLatency => "gateway-latency",
        }
    }

    /// What it does, for people.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Split => "split a request of 1,000 spans into fragments of 10",
            Self::JsonDecode => "OTLP/JSON of 1,000 spans to protobuf",
            Self::Engine1000 => "engine: gRPC in to state in memory, 1,000 spans in a request",
            Self::Engine20 => "engine: the same, 20 spans in a request",
            Self::GatewayProtobuf => "gateway: protobuf over HTTP, passed through to an engine",
            Self::GatewayJson => "gateway: JSON over HTTP, to an engine",
            Self::GatewayLatency => "gateway: latency added to a request of 20 spans, one at a time",
        }
    }

    pub(crate) async fn measure(self, scale: &Scale) -> anyhow::Result<Vec<Figure>> {
        match self {
            Self::Split => codec::split(scale),
            Self::JsonDecode => codec::json_decode(scale),
            Self::Engine1000 => engine::cost(scale, Shape::LARGE, scale.spans, 2.0).await,
            Self::Engine20 => engine::cost(scale, Shape::SMALL, scale.spans_in_small_requests, 6.0).await,
            Self::GatewayProtobuf => gateway::protobuf(scale).await,
            Self::GatewayJson => gateway::json(scale).await,
            Self::GatewayLatency => gateway::latency(scale).await,
        }
    }
}
