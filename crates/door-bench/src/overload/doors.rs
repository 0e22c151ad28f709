//! The processes behind a door that is overloaded, with limits that bind on one core.

use bench_kit::cores::Divided;
use testbed::{EngineOptions, EngineProcess, GatewayOptions, GatewayProcess, Settings};

use super::client::Client;

/// The engine's limit that binds.
pub(super) const REQUESTS_IN_FLIGHT_MAX: usize = 32;
/// The gateway's limit that binds: about as many requests of a thousand spans.
const BYTES_IN_FLIGHT_MAX: usize = 14 << 20;
/// There must be room for the largest message.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Which door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// gRPC of an engine.
    Engine,
    /// HTTP of a gateway before an engine.
    GatewayHttp,
    /// gRPC of a gateway before an engine.
    GatewayGrpc,
}

/// An engine with its state in memory and a gateway before it, on one core.
pub(super) struct Doors {
    way: Way,
    engine: EngineProcess,
    gateway: GatewayProcess,
}

impl Doors {
    pub(super) async fn start(divided: &Divided, way: Way) -> anyhow::Result<Self> {
        let set = |key: &str, value: usize| (key.to_owned(), value.to_string());
        let settings: Settings = match way {
            Way::Engine => vec![set("grpc.limits.requests_in_flight_max", REQUESTS_IN_FLIGHT_MAX)],
            // The gateway is what refuses.
            Way::GatewayHttp | Way::GatewayGrpc => Vec::new(),
        };
        let engine = EngineProcess::start(EngineOptions { settings, ..EngineOptions::default() }).await?;
        let settings = vec![
            set("http.max_body_bytes", MESSAGE_BYTES_MAX),
            set("http.limits.bytes_in_flight_max", BYTES_IN_FLIGHT_MAX),
            set("otlp_grpc.max_message_bytes", MESSAGE_BYTES_MAX),
            set("otlp_grpc.limits.bytes_in_flight_max", BYTES_IN_FLIGHT_MAX),
        ];
        let options = GatewayOptions { engines: vec![engine.url()], settings, ..GatewayOptions::default() };
        let gateway = GatewayProcess::start(options).await?;
        divided.move_over(engine.process().pid())?;
        divided.move_over(gateway.process().pid())?;
        Ok(Self { way, engine, gateway })
    }

    /// A client of the door.
    pub(super) async fn connect(&self) -> anyhow::Result<Client> {
        match self.way {
            Way::Engine => Client::grpc(self.engine.grpc()).await,
            Way::GatewayHttp => Client::http(&self.gateway.url()),
            Way::GatewayGrpc => Client::grpc(self.gateway.grpc()).await,
        }
    }

    /// The process that the door belongs to.
    pub(super) fn pid(&self) -> u32 {
        match self.way {
            Way::Engine => self.engine.process().pid(),
            Way::GatewayHttp | Way::GatewayGrpc => self.gateway.process().pid(),
        }
    }
}
