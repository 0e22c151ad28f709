//! What of a span or log record is shown to people.

use std::sync::Arc;

use crate::{
    attributes::{Resource, SplitOptions, for_each_attribute},
    envelope::{LOGS, Signal, TRACES},
    forest::value::Value,
    log_record::{LOG_ATTRIBUTES, LogRecord},
    span::{self, SPAN_ATTRIBUTES},
    text::{TEXT_BYTES_MAX, shortened},
    wire::{DecodeError, Reader, Slice},
};

/// Links of a span that are kept.
pub const LINKS_MAX: usize = 16;
/// Keys of a mark that are kept.
pub const KEYS_MAX: usize = 16;
/// Longest message of a status.
const MESSAGE_BYTES_MAX: usize = 1_024;
/// Longest body of a log record.
const BODY_BYTES_MAX: usize = 4_096;

/// Field of the attributes in `Span.Link`.
const LINK_ATTRIBUTES: u32 = 4;

/// Numbers of `SpanKind`.
const SERVER: u32 = 2;
const CLIENT: u32 = 3;

/// A span. Texts that are too long end with `…`.
#[derive(Debug)]
pub struct Span<'a> {
    /// As received.
    pub span_id: &'a [u8],
    /// As received; empty or all zero when it names no parent.
    pub parent_span_id: &'a [u8],
    /// Its name.
    pub name: String,
    /// Service of its resource.
    pub service: Arc<str>,
    /// Number of its `SpanKind`.
    pub kind: u32,
    /// When it began, in nanoseconds since 1970; zero if that is not known.
    pub start_unix_nano: u64,
    /// When it ended, likewise; never before it began.
    pub end_unix_nano: u64,
    /// Number of its `StatusCode`.
    pub status: u32,
    /// What its status says.
    pub status_message: String,
    /// What the engine says of it, if it made it.
    pub marks: Marks,
    /// The first [`LINKS_MAX`] of its links.
    pub links: Vec<Link<'a>>,
    /// How many links it has.
    pub links_total: usize,
}

/// A link to a span of this or another trace.
#[derive(Debug)]
pub struct Link<'a> {
    /// As received.
    pub trace_id: &'a [u8],
    /// As received.
    pub span_id: &'a [u8],
    /// What the engine says of it, if it made it.
    pub marks: Marks,
}

/// The attributes by which an engine marks what it has made.
#[derive(Debug, Default)]
pub struct Marks {
    /// `correlation.synthetic`
    pub synthetic: bool,
    /// `correlation.confidence`
    pub confidence: Option<f64>,
    /// The first [`KEYS_MAX`] of `correlation.keys`.
    pub keys: Vec<String>,
}

/// A log record. Texts that are too long end with `…`.
#[derive(Debug)]
pub struct Log<'a> {
    /// As received; empty when it names no span.
    pub span_id: &'a [u8],
    /// Service of its resource.
    pub service: Arc<str>,
    /// When it was written, or else observed, in nanoseconds since 1970; zero if neither is known.
    pub time_unix_nano: u64,
    /// Its own text, or else the name of its number; empty when it has neither.
    pub severity: String,
    /// Whether its severity is ERROR or above.
    pub is_error: bool,
    /// Its body as text.
    pub body: String,
    /// Name of the event that it tells of; empty for any other record.
    pub event_name: String,
    /// What the engine says of it, if it made it.
    pub marks: Marks,
}

impl Span<'_> {
    /// Whether it names no parent.
    pub fn is_root(&self) -> bool {
        self.parent_span_id.iter().all(|&byte| byte == 0)
    }

    /// Whether it is the server's side of a call.
    pub fn is_server(&self) -> bool {
        self.kind == SERVER
    }

    /// Whether it is the client's side of a call.
    pub fn is_client(&self) -> bool {
        self.kind == CLIENT
    }

    /// Its kind in words; empty when it says none.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            1 => "internal",
            SERVER => "server",
            CLIENT => "client",
            4 => "producer",
            5 => "consumer",
            _ => "",
        }
    }

    /// Whether it failed.
    pub fn is_error(&self) -> bool {
        self.status == 2
    }

    /// Its status in words: `unset`, `ok` or `error`.
    pub fn status_name(&self) -> &'static str {
        match self.status {
            1 => "ok",
            2 => "error",
            _ => "unset",
        }
    }
}

/// Reads the spans of an encoded `TracesData` in the order of their starts.
pub(super) fn spans(traces: &[u8]) -> Result<Vec<Span<'_>>, DecodeError> {
    let mut spans = Vec::new();
    for_each_item(&TRACES, traces, |service, slice| {
        spans.push(read_span(service, slice)?);
        Ok(())
    })?;
    spans.sort_by_key(|span| (span.start_unix_nano, !span.is_client()));
    Ok(spans)
}

/// Reads the records of an encoded `LogsData` in the order of their times.
pub(super) fn logs(logs: &[u8]) -> Result<Vec<Log<'_>>, DecodeError> {
    let mut records = Vec::new();
    for_each_item(&LOGS, logs, |service, slice| {
        records.push(read_log(service, slice)?);
        Ok(())
    })?;
    records.sort_by_key(|log| log.time_unix_nano);
    Ok(records)
}

/// Visits each span or log record with the service that it comes from.
fn for_each_item<'a>(
    signal: &'static Signal,
    payload: &'a [u8],
    mut visit: impl FnMut(&Arc<str>, Slice<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    for resource in signal.resources(payload) {
        let resource = resource?;
        let service =
            Resource::read(signal.resource, resource, &SplitOptions::default())?.origin.service.into();
        for scope in signal.open_resource(resource)?.children {
            for item in signal.open_scope(scope?)?.children {
                visit(&service, item?)?;
            }
        }
    }
    Ok(())
}

fn read_span<'a>(service: &Arc<str>, slice: Slice<'a>) -> Result<Span<'a>, DecodeError> {
    let own = span::Span::read(slice)?;
    let (start_unix_nano, end_unix_nano) = own.times();
    let mut span = Span {
        span_id: own.span_id,
        parent_span_id: own.parent_span_id,
        name: shortened(TEXT_BYTES_MAX, own.name),
        service: Arc::clone(service),
        kind: own.kind,
        start_unix_nano,
        end_unix_nano,
        status: 0,
        status_message: String::new(),
        marks: Marks::read("Span", slice, SPAN_ATTRIBUTES),
        links: Vec::new(),
        links_total: 0,
    };
    let mut reader = Reader::new("Span", slice);
    while let Some(field) = reader.field()? {
        match field.number {
            13 => {
                span.links_total += 1;
                if span.links.len() < LINKS_MAX {
                    span.links.extend(field.bytes().and_then(read_link));
                }
            }
            15 => read_status(field.bytes()?, &mut span)?,
            _ => {}
        }
    }
    Ok(span)
}

fn read_status(slice: Slice<'_>, span: &mut Span<'_>) -> Result<(), DecodeError> {
    let mut reader = Reader::new("Status", slice);
    while let Some(field) = reader.field()? {
        match field.number {
            2 => span.status_message = shortened(MESSAGE_BYTES_MAX, field.bytes()?.bytes),
            // An enum is an int32: protobuf drops the upper half of the varint.
            3 => span.status = field.varint()? as u32,
            _ => {}
        }
    }
    Ok(())
}

fn read_link(slice: Slice<'_>) -> Result<Link<'_>, DecodeError> {
    let (mut trace_id, mut span_id) = (&[][..], &[][..]);
    let mut reader = Reader::new("Link", slice);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => trace_id = field.bytes()?.bytes,
            2 => span_id = field.bytes()?.bytes,
            _ => {}
        }
    }
    Ok(Link { trace_id, span_id, marks: Marks::read("Link", slice, LINK_ATTRIBUTES) })
}

fn read_log<'a>(service: &Arc<str>, slice: Slice<'a>) -> Result<Log<'a>, DecodeError> {
    let own = LogRecord::read(slice)?;
    let (mut span_id, mut event_name, mut severity_text) = (&[][..], &[][..], &[][..]);
    let (mut body, mut severity_number) = (Value::Unset, 0);
    let mut reader = Reader::new("LogRecord", slice);
    while let Some(field) = reader.field()? {
        let bytes = || field.bytes().map(|slice| slice.bytes).unwrap_or_default();
        match field.number {
            2 => severity_number = field.varint()?,
            3 => severity_text = bytes(),
            5 => body = field.bytes().map(Value::read).unwrap_or(Value::Unset),
            10 => span_id = bytes(),
            12 => event_name = bytes(),
            _ => {}
        }
    }
    let severity = match severity_text {
        [] => severity_name(severity_number),
        text => shortened(TEXT_BYTES_MAX, text),
    };
    Ok(Log {
        span_id,
        service: Arc::clone(service),
        time_unix_nano: own.time(),
        severity,
        is_error: own.is_error(),
        body: body.to_text(BODY_BYTES_MAX),
        event_name: shortened(TEXT_BYTES_MAX, event_name),
        marks: Marks::read("LogRecord", slice, LOG_ATTRIBUTES),
    })
}

/// The short name that the OpenTelemetry log data model gives a severity number.
fn severity_name(number: u64) -> String {
    const NAMES: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let Some(place @ 0..24) = number.checked_sub(1) else { return String::new() };
    let name = NAMES[place as usize / 4];
    match place % 4 {
        0 => name.to_owned(),
        finer => format!("{name}{}", finer + 1),
    }
}

impl Marks {
    /// Reads the attributes in field `number` of a message, as far as they can be read.
    fn read(message: &'static str, slice: Slice<'_>, number: u32) -> Self {
        let mut marks = Self::default();
        let mut visit = |key: &[u8], value: Value<'_>| match (key, value) {
            (b"correlation.synthetic", Value::Bool(synthetic)) => marks.synthetic = synthetic,
            (b"correlation.confidence", Value::Double(confidence)) => marks.confidence = Some(confidence),
            (b"correlation.keys", Value::List(keys)) => {
                let keys = keys.values().take(KEYS_MAX).map(|key| key.to_text(TEXT_BYTES_MAX));
                marks.keys = keys.collect();
            }
            _ => {}
        };
        // What is malformed ends the list of attributes; what was read of it counts.
        let _ = for_each_attribute(message, slice, number, |attribute| {
            if attribute.key.starts_with(b"correlation.") {
                visit(attribute.key, attribute.any_value().map_or(Value::Unset, Value::read));
            }
            Ok(())
        });
        marks
    }
}
