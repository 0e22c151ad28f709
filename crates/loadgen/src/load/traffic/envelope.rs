//! What stands around the spans or log records of a request: the resource and the scope.

use anyhow::Context as _;
use bench_kit::traffic::{resource, scope};
use bytes::{BufMut as _, Bytes, BytesMut};
use otlp_codec::json;
use otlp_proto::opentelemetry::proto::{
    logs::v1::{LogsData, ResourceLogs, ScopeLogs},
    trace::v1::{ResourceSpans, ScopeSpans, TracesData},
};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};

use super::Encoding;
use crate::request::Signal;

/// Field of the one resource in a request, of the resource in that, and so on: OTLP has the same for
/// spans and for log records.
const RESOURCES: u32 = 1;
const RESOURCE: u32 = 1;
const SCOPES: u32 = 2;
const SCOPE: u32 = 1;

/// Two keys of a byte and two lengths of at most ten.
const FRAMES_BYTES_MAX: usize = 22;

/// What stands around the items of one service.
#[derive(Debug)]
pub(super) enum Envelope {
    /// Fields that stand before the items. Lengths that are known only after them stand between.
    Protobuf { resource: Vec<u8>, scope: Vec<u8> },
    /// Text before the items, and after.
    Json { head: Vec<u8>, tail: Vec<u8> },
}

impl Envelope {
    /// # Errors
    /// When it cannot be encoded.
    pub(super) fn new(service: &str, signal: Signal, encoding: Encoding) -> anyhow::Result<Self> {
        let (resource, scope) = (resource(service, 0), scope());
        match encoding {
            Encoding::Protobuf => {
                Ok(Self::Protobuf { resource: field(RESOURCE, &resource), scope: field(SCOPE, &scope) })
            }
            Encoding::Json => {
                let (resource, scope) = (Some(resource), Some(scope));
                let (message, data, list) = match signal {
                    Signal::Traces => {
                        let scope_spans = vec![ScopeSpans { scope, ..ScopeSpans::default() }];
                        let resource_spans =
                            vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
                        let data = TracesData { resource_spans }.encode_to_vec();
                        (json::Message::TracesData, data, r#","spans":["#)
                    }
                    Signal::Logs => {
                        let scope_logs = vec![ScopeLogs { scope, ..ScopeLogs::default() }];
                        let resource_logs =
                            vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }];
                        let data = LogsData { resource_logs }.encode_to_vec();
                        (json::Message::LogsData, data, r#","logRecords":["#)
                    }
                };
                let text =
                    json::from_protobuf(message, &data).context("failed to write an envelope as JSON")?;
                // The list of items is the last field of the scope, which is the last of everything.
                let end = b"}]}]}";
                let before = text.strip_suffix(end).context("the JSON of an envelope ends otherwise")?;
                let mut tail = b"]".to_vec();
                tail.extend_from_slice(end);
                Ok(Self::Json { head: [before, list.as_bytes()].concat(), tail })
            }
        }
    }

    /// A body that begins, with room for items of so many bytes.
    pub(super) fn begin(&self, items: usize) -> BytesMut {
        match self {
            Self::Protobuf { resource, scope } => {
                let room = resource.len() + scope.len() + FRAMES_BYTES_MAX;
                let mut body = BytesMut::with_capacity(room + items);
                body.put_bytes(0, room);
                body
            }
            Self::Json { head, tail } => {
                let mut body = BytesMut::with_capacity(head.len() + items + tail.len());
                body.put_slice(head);
                body
            }
        }
    }

    /// The whole body.
    pub(super) fn end(&self, mut body: BytesMut) -> Bytes {
        match self {
            Self::Protobuf { resource, scope } => {
                let room = resource.len() + scope.len() + FRAMES_BYTES_MAX;
                let items = body.len() - room;
                let scopes = frame(SCOPES, scope.len() + items);
                let resources = frame(RESOURCES, resource.len() + scopes.len() + scope.len() + items);
                // It ends where the items begin.
                let mut place = room;
                for piece in [scope, &scopes, resource, &resources] {
                    body[place - piece.len()..place].copy_from_slice(piece);
                    place -= piece.len();
                }
                body.freeze().slice(place..)
            }
            Self::Json { tail, .. } => {
                body.put_slice(tail);
                body.freeze()
            }
        }
    }
}

/// A message as a field.
fn field(number: u32, message: &impl Message) -> Vec<u8> {
    let mut field = frame(number, message.encoded_len());
    field.extend(message.encode_to_vec());
    field
}

/// Key and length of a field.
fn frame(number: u32, length: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAMES_BYTES_MAX / 2);
    encode_key(number, WireType::LengthDelimited, &mut frame);
    encode_varint(length as u64, &mut frame);
    frame
}
