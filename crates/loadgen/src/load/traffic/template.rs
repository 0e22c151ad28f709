//! Encoded spans and log records in which only ids and times are left to fill in.
//!
//! Ids and times have one width in either encoding, so that filling them in changes no length, and a
//! request costs little more than copying it.

use anyhow::{Context as _, ensure};
use bytes::{BufMut as _, BytesMut};
use otlp_codec::json;
use otlp_proto::opentelemetry::proto::{
    logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs},
    trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData},
};
use prost::Message as _;

use super::{Encoding, part::Item};

/// What stands in a template where something is filled in: bytes and numbers that no text has.
pub(super) const BLANK: Item = Item {
    trace_id: [0xf1; 16],
    span_id: [0xf2; 8],
    parent_span_id: Some([0xf3; 8]),
    time_unix_nano: 1_999_999_999_111_111_111,
    end_unix_nano: 1_999_999_999_222_222_222,
    choice: 0,
};

/// What stands before and after the one span or record of a request that holds nothing else.
const JSON_OF_SPAN: [&str; 2] = [r#"{"resourceSpans":[{"scopeSpans":[{"spans":["#, "]}]}]}"];
const JSON_OF_LOG: [&str; 2] = [r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":["#, "]}]}]}"];

/// An encoded span or log record, as it stands in the list of its scope.
#[derive(Debug)]
pub(super) struct Template {
    bytes: Box<[u8]>,
    blanks: Blanks,
}

/// Where something is filled in.
#[derive(Debug)]
struct Blanks {
    trace_id: usize,
    span_id: usize,
    parent_span_id: Option<usize>,
    time: usize,
    end: usize,
}

impl Template {
    /// # Errors
    /// When a blank is missing in the span, or it cannot be encoded.
    pub(super) fn of_span(span: Span, encoding: Encoding) -> anyhow::Result<Self> {
        let has_parent = !span.parent_span_id.is_empty();
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let bytes = match encoding {
            Encoding::Protobuf => scope_spans[0].encode_to_vec(),
            Encoding::Json => {
                let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
                let data = TracesData { resource_spans }.encode_to_vec();
                only_item(json::Message::TracesData, &data, JSON_OF_SPAN)?
            }
        };
        Self::new(bytes, encoding, has_parent)
    }

    /// # Errors
    /// When a blank is missing in the record, or it cannot be encoded.
    pub(super) fn of_log(record: LogRecord, encoding: Encoding) -> anyhow::Result<Self> {
        let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
        let bytes = match encoding {
            Encoding::Protobuf => scope_logs[0].encode_to_vec(),
            Encoding::Json => {
                let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
                let data = LogsData { resource_logs }.encode_to_vec();
                only_item(json::Message::LogsData, &data, JSON_OF_LOG)?
            }
        };
        Self::new(bytes, encoding, false)
    }

    fn new(bytes: Vec<u8>, encoding: Encoding, has_parent: bool) -> anyhow::Result<Self> {
        let find = |blank: &[u8]| {
            let mut places = bytes.windows(blank.len()).enumerate().filter(|(_, window)| *window == blank);
            let place = places.next().context("a blank is missing in a template")?.0;
            ensure!(places.next().is_none(), "a blank is in a template more than once");
            anyhow::Ok(place)
        };
        let id = |id: &[u8]| {
            let mut blank = vec![0; encoding.width_of_id(id.len())];
            encoding.write_id(&mut blank, id);
            find(&blank)
        };
        let time = |nanos| {
            let mut blank = vec![0; encoding.width_of_time()];
            encoding.write_time(&mut blank, nanos);
            find(&blank)
        };
        let blanks = Blanks {
            trace_id: id(&BLANK.trace_id)?,
            span_id: id(&BLANK.span_id)?,
            parent_span_id: BLANK
                .parent_span_id
                .filter(|_| has_parent)
                .map(|parent| id(&parent))
                .transpose()?,
            time: time(BLANK.time_unix_nano)?,
            end: time(BLANK.end_unix_nano)?,
        };
        Ok(Self { bytes: bytes.into(), blanks })
    }

    /// Length of everything that is made from it.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends it with ids and times filled in.
    pub(super) fn append(&self, item: &Item, encoding: Encoding, body: &mut BytesMut) {
        let begin = body.len();
        body.put_slice(&self.bytes);
        let copy = &mut body[begin..];
        let mut id = |place: usize, id: &[u8]| {
            encoding.write_id(&mut copy[place..place + encoding.width_of_id(id.len())], id);
        };
        id(self.blanks.trace_id, &item.trace_id);
        id(self.blanks.span_id, &item.span_id);
        if let (Some(place), Some(parent)) = (self.blanks.parent_span_id, &item.parent_span_id) {
            id(place, parent);
        }
        let mut time = |place: usize, nanos| {
            encoding.write_time(&mut copy[place..place + encoding.width_of_time()], nanos);
        };
        time(self.blanks.time, item.time_unix_nano);
        time(self.blanks.end, item.end_unix_nano);
    }
}

/// The JSON of a request without what stands around its only span or record.
fn only_item(message: json::Message, data: &[u8], [before, after]: [&str; 2]) -> anyhow::Result<Vec<u8>> {
    let text = json::from_protobuf(message, data).context("failed to write a template as JSON")?;
    let item = text.strip_prefix(before.as_bytes()).and_then(|text| text.strip_suffix(after.as_bytes()));
    item.map(<[u8]>::to_vec).context("the JSON of a template does not stand where it should")
}
