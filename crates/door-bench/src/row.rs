//! The rows of the benchmark: a way in each.

use bench_kit::figure::Figure;

use crate::{
    codec, engine, gateway,
    leave::{self, Fault},
    overload::{self, Way},
    requests::Shape,
    scale::Scale,
};

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
    OverloadEngine,
    OverloadGatewayHttp,
    OverloadGatewayGrpc,
    LeaveKilled,
    LeaveHung,
    LeaveDraining,
    LeaveSlow,
    LeaveRefusing,
}

impl Row {
    pub(crate) const ALL: [Self; 15] = [
        Self::Split,
        Self::JsonDecode,
        Self::Engine1000,
        Self::Engine20,
        Self::GatewayProtobuf,
        Self::GatewayJson,
        Self::GatewayLatency,
        Self::OverloadEngine,
        Self::OverloadGatewayHttp,
        Self::OverloadGatewayGrpc,
        Self::LeaveKilled,
        Self::LeaveHung,
        Self::LeaveDraining,
        Self::LeaveSlow,
        Self::LeaveRefusing,
    ];
}

impl bench_kit::run::Row for Row {
    type Scale = Scale;

    fn name(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::JsonDecode => "json-decode",
            Self::Engine1000 => "engine-1000",
            Self::Engine20 => "engine-20",
            Self::GatewayProtobuf => "gateway-protobuf",
            Self::GatewayJson => "gateway-json",
            Self::GatewayLatency => "gateway-latency",
            Self::OverloadEngine => "overload-engine",
            Self::OverloadGatewayHttp => "overload-gateway-http",
            Self::OverloadGatewayGrpc => "overload-gateway-grpc",
            Self::LeaveKilled => "leave-killed",
            Self::LeaveHung => "leave-hung",
            Self::LeaveDraining => "leave-draining",
            Self::LeaveSlow => "leave-slow",
            Self::LeaveRefusing => "leave-refusing",
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Split => "split a request of 1,000 spans into fragments of 10",
            Self::JsonDecode => "OTLP/JSON of 1,000 spans to protobuf",
            Self::Engine1000 => "engine: gRPC in to state in memory, 1,000 spans in a request",
            Self::Engine20 => "engine: the same, 20 spans in a request",
            Self::GatewayProtobuf => "gateway: protobuf over HTTP, passed through to an engine",
            Self::GatewayJson => "gateway: JSON over HTTP, to an engine",
            Self::GatewayLatency => "gateway: latency added to a request of 20 spans, one at a time",
            Self::OverloadEngine => "engine under four times the load it can take, gRPC",
            Self::OverloadGatewayHttp => "gateway before an engine, likewise, HTTP",
            Self::OverloadGatewayGrpc => "gateway before an engine, likewise, gRPC",
            Self::LeaveKilled => "gateway before three engines, one is killed",
            Self::LeaveHung => "one is stopped (SIGSTOP) and goes on",
            Self::LeaveDraining => "one is asked to end (SIGTERM)",
            Self::LeaveSlow => "one answers 300 ms later",
            Self::LeaveRefusing => "one refuses everything and calls itself healthy",
        }
    }

    async fn measure(self, scale: &Scale) -> anyhow::Result<Vec<Figure>> {
        match self {
            Self::Split => codec::split(scale),
            Self::JsonDecode => codec::json_decode(scale),
            Self::Engine1000 => engine::cost(scale, Shape::LARGE, scale.spans, 2.0).await,
            Self::Engine20 => engine::cost(scale, Shape::SMALL, scale.spans_in_small_requests, 6.0).await,
            Self::GatewayProtobuf => gateway::protobuf(scale).await,
            Self::GatewayJson => gateway::json(scale).await,
            Self::GatewayLatency => gateway::latency(scale).await,
            Self::OverloadEngine => overload::measure(scale, Way::Engine).await,
            Self::OverloadGatewayHttp => overload::measure(scale, Way::GatewayHttp).await,
            Self::OverloadGatewayGrpc => overload::measure(scale, Way::GatewayGrpc).await,
            Self::LeaveKilled => leave::measure(scale, Fault::Killed).await,
            Self::LeaveHung => leave::measure(scale, Fault::Hung).await,
            Self::LeaveDraining => leave::measure(scale, Fault::Draining).await,
            Self::LeaveSlow => leave::measure(scale, Fault::Slow).await,
            Self::LeaveRefusing => leave::measure(scale, Fault::Refusing).await,
        }
    }
}
