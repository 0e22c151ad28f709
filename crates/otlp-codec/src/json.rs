//! OTLP/JSON to protobuf and back, driven by tables of the OTLP messages.
//!
//! Follows "JSON Protobuf Encoding" of the OTLP specification 1.11 and, where that is silent, the
//! protobuf JSON mapping. What is written is canonical: fields ascending, defaults omitted, the
//! shortest form of each number. So equal JSON becomes equal bytes, and they are the bytes that
//! prost writes for the same message.

mod error;
mod order;
mod parse;
mod print;
mod reader;
mod scalar;
mod scan;
mod schema;

pub use error::JsonError;

use crate::wire::DecodeError;
use schema::Schema;

/// The messages that cross the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`
    ExportTraceServiceRequest,
    /// `opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest`
    ExportLogsServiceRequest,
    /// `opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse`
    ExportTraceServiceResponse,
    /// `opentelemetry.proto.collector.logs.v1.ExportLogsServiceResponse`
    ExportLogsServiceResponse,
    /// `opentelemetry.proto.trace.v1.TracesData`
    TracesData,
    /// `opentelemetry.proto.logs.v1.LogsData`
    LogsData,
    /// `google.rpc.Status` without `details`, which are left out in both directions: an `Any` can
    /// be translated only by who knows its type.
    Status,
}

impl Message {
    fn schema(self) -> &'static Schema {
        match self {
            Self::ExportTraceServiceRequest => &schema::EXPORT_TRACE_SERVICE_REQUEST,
            Self::ExportLogsServiceRequest => &schema::EXPORT_LOGS_SERVICE_REQUEST,
            Self::ExportTraceServiceResponse => &schema::EXPORT_TRACE_SERVICE_RESPONSE,
            Self::ExportLogsServiceResponse => &schema::EXPORT_LOGS_SERVICE_RESPONSE,
            Self::TracesData => &schema::TRACES_DATA,
            Self::LogsData => &schema::LOGS_DATA,
            Self::Status => &schema::STATUS_RPC,
        }
    }
}

/// Encodes a JSON text as protobuf.
///
/// Accepts what senders are known to write: ids in either case, integers as text or number, enums
/// as number or name, base64 in either alphabet with or without padding, `null` for "unset" (in a
/// list of messages: an empty one). Fields it does not know are ignored, snake_case names among
/// them. Of a repeated name, or of several members of a oneof, the last one counts.
///
/// An absent or empty id is passed on; whether it is needed is for [`split_traces`] to say.
///
/// # Errors
///
/// When the text is not JSON in UTF-8, a value does not fit its field, an id has another length or
/// digit, a string holds half of a surrogate pair, or lists and objects nest deeper than 128.
/// Nothing of the text is usable then.
///
/// [`split_traces`]: crate::split_traces
pub fn to_protobuf(message: Message, json: &[u8]) -> Result<Vec<u8>, JsonError> {
    parse::parse(message.schema(), json)
}

/// Prints a protobuf message as JSON text, without white space.
///
/// 64-bit integers are strings, ids are lower-case hexadecimal, bytes are padded base64, enums are
/// numbers, defaults are omitted. Fields it does not know are dropped; text that is not UTF-8 gets
/// U+FFFD where it is wrong. A message inside more than 120 lists and objects is printed as an empty one,
/// and so is one whose own fields are malformed: what is around it stays readable.
///
/// # Errors
///
/// When the fields of the message itself are malformed.
pub fn from_protobuf(message: Message, protobuf: &[u8]) -> Result<Vec<u8>, DecodeError> {
    print::print(message.schema(), protobuf)
}

#[cfg(test)]
mod tests;
