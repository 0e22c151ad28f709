//! A span's own fields, as far as splitting and merging need them.

use crate::{
    split::RejectReason,
    wire::{DecodeError, Reader, Slice},
};

/// Field of the attributes in `Span`.
pub(crate) const SPAN_ATTRIBUTES: u32 = 9;
/// `STATUS_CODE_ERROR`.
const STATUS_ERROR: i32 = 2;

/// The fields of a `Span`; texts and ids stay slices of the request.
#[derive(Default)]
pub(crate) struct Span<'a> {
    pub(crate) trace_id: &'a [u8],
    pub(crate) span_id: &'a [u8],
    pub(crate) parent_span_id: &'a [u8],
    pub(crate) name: &'a [u8],
    pub(crate) kind: u32,
    start_unix_nano: u64,
    end_unix_nano: u64,
    pub(crate) is_error: bool,
}

/// The ids of a valid span.
pub(crate) struct SpanIds {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    pub(crate) is_root: bool,
}

impl<'a> Span<'a> {
    pub(crate) fn read(slice: Slice<'a>) -> Result<Self, DecodeError> {
        let mut span = Self::default();
        let mut reader = Reader::new("Span", slice);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => span.trace_id = field.bytes()?.bytes,
                2 => span.span_id = field.bytes()?.bytes,
                4 => span.parent_span_id = field.bytes()?.bytes,
                5 => span.name = field.bytes()?.bytes,
                // An enum is an int32: protobuf drops the upper half of the varint.
                6 => span.kind = field.varint()? as u32,
                7 => span.start_unix_nano = field.fixed64()?,
                8 => span.end_unix_nano = field.fixed64()?,
                15 => read_status(field.bytes()?, &mut span.is_error)?,
                _ => {}
            }
        }
        Ok(span)
    }

    /// Checks the ids as `trace.proto` demands.
    ///
    /// A parent id of eight zero bytes means "no parent", as it does for the Collector.
    pub(crate) fn ids(&self) -> Result<SpanIds, RejectReason> {
        let trace_id = valid_id(self.trace_id).ok_or(RejectReason::InvalidTraceId)?;
        let span_id = valid_id(self.span_id).ok_or(RejectReason::InvalidSpanId)?;
        if !matches!(self.parent_span_id.len(), 0 | 8) {
            return Err(RejectReason::InvalidParentSpanId);
        }
        Ok(SpanIds { trace_id, span_id, is_root: self.parent_span_id.iter().all(|&byte| byte == 0) })
    }

    /// Returns when the span began and ended; zero when it carries no time.
    ///
    /// An end before the start is taken as the start, a missing start as the end.
    pub(crate) fn times(&self) -> (u64, u64) {
        let start = if self.start_unix_nano == 0 { self.end_unix_nano } else { self.start_unix_nano };
        (start, self.end_unix_nano.max(start))
    }
}

/// Reads the trace id alone; `None` when it is not valid.
pub(crate) fn trace_id(slice: Slice<'_>) -> Result<Option<[u8; 16]>, DecodeError> {
    last_id("Span", slice, 1)
}

/// Reads an id alone; of several the last one counts.
pub(crate) fn last_id<const N: usize>(
    message: &'static str,
    slice: Slice<'_>,
    number: u32,
) -> Result<Option<[u8; N]>, DecodeError> {
    let mut id = &[][..];
    let mut reader = Reader::new(message, slice);
    while let Some(field) = reader.field()? {
        if field.number == number {
            id = field.bytes()?.bytes;
        }
    }
    Ok(valid_id(id))
}

/// Returns the id if it has the right length and is not all zero.
pub(crate) fn valid_id<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let id: [u8; N] = bytes.try_into().ok()?;
    (id != [0; N]).then_some(id)
}

fn read_status(slice: Slice<'_>, is_error: &mut bool) -> Result<(), DecodeError> {
    let mut reader = Reader::new("Status", slice);
    while let Some(field) = reader.field()? {
        if field.number == 3 {
            *is_error = field.varint()? as i32 == STATUS_ERROR;
        }
    }
    Ok(())
}
