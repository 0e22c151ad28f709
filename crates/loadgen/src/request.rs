//! One OTLP export request, in every form in which it can be sent.

use std::{
    fmt,
    io::{self, Write as _},
};

use anyhow::Context as _;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use otlp_codec::json::{self, Message};
use otlp_proto::opentelemetry::proto::{logs::v1::LogsData, trace::v1::TracesData};
use prost::Message as _;

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
}

/// An export request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What it carries.
    pub signal: Signal,
    protobuf: Bytes,
    /// The text it was read from.
    json: Option<Bytes>,
}

impl Request {
    /// A request of spans. `TracesData` and the request are the same on the wire.
    #[must_use]
    pub fn traces(traces: &TracesData) -> Self {
        Self { signal: Signal::Traces, protobuf: traces.encode_to_vec().into(), json: None }
    }

    /// A request of log records. `LogsData` and the request are the same on the wire.
    #[must_use]
    pub fn logs(logs: &LogsData) -> Self {
        Self { signal: Signal::Logs, protobuf: logs.encode_to_vec().into(), json: None }
    }

    /// A request that was recorded as OTLP/JSON; as JSON it is sent as it was recorded.
    ///
    /// # Errors
    /// When the text is not such a request.
    pub fn from_json(signal: Signal, text: Bytes) -> anyhow::Result<Self> {
        let protobuf = json::to_protobuf(signal.message(), &text)
            .with_context(|| format!("failed to read a request of {signal} as OTLP/JSON"))?;
        Ok(Self { signal, protobuf: protobuf.into(), json: Some(text) })
    }

    /// Encoded as protobuf.
    #[must_use]
    pub fn protobuf(&self) -> Bytes {
        self.protobuf.clone()
    }

    /// Encoded as JSON.
    ///
    /// # Errors
    /// When the protobuf form cannot be read, which a request of this type cannot reach.
    pub fn json(&self) -> anyhow::Result<Bytes> {
        match &self.json {
            Some(text) => Ok(text.clone()),
            None => json::from_protobuf(self.signal.message(), &self.protobuf)
                .map(Bytes::from)
                .with_context(|| format!("failed to write a request of {} as OTLP/JSON", self.signal)),
        }
    }
}

impl Signal {
    /// Where OTLP/HTTP takes it.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Logs => "/v1/logs",
        }
    }

    fn message(self) -> Message {
        match self {
            Self::Traces => Message::ExportTraceServiceRequest,
            Self::Logs => Message::ExportLogsServiceRequest,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
        })
    }
}

/// Compresses a body as `Content-Encoding: gzip` wants it.
///
/// # Errors
/// Never in practice: memory does not fail to be written.
pub fn gzip(body: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish().map(Bytes::from)
}
