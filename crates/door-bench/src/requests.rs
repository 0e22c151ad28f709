//! The requests that are sent: every trace in one piece, ten spans of about 450 bytes each.

use bench_kit::traffic::Traffic;
use bytes::Bytes;
use otlp_codec::json::{self, Message};
use prost::Message as _;

pub(crate) use bench_kit::traffic::Shape;

/// Decides all ids and names.
const SEED: u64 = 451;

/// Requests of so many spans in all, encoded as protobuf; the same ones every time.
pub(crate) fn protobuf(shape: Shape, spans: usize) -> Vec<Bytes> {
    let mut traffic = Traffic::new(SEED);
    let count = spans.div_ceil(shape.traces * shape.spans);
    let requests = (0..count).flat_map(|_| traffic.group(shape));
    requests.map(|request| request.encode_to_vec().into()).collect()
}

/// The same as OTLP/JSON.
pub(crate) fn to_json(requests: &[Bytes]) -> anyhow::Result<Vec<Bytes>> {
    let text = |request: &Bytes| json::from_protobuf(Message::ExportTraceServiceRequest, request);
    Ok(requests.iter().map(|request| text(request).map(Bytes::from)).collect::<Result<_, _>>()?)
}
