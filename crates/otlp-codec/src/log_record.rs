//! A log record's own fields, as far as splitting needs them.

use crate::{
    span::{last_id, valid_id},
    wire::{DecodeError, Reader, Slice},
};

/// Field of the body in `LogRecord`.
pub(crate) const LOG_BODY: u32 = 5;
/// Field of the attributes in `LogRecord`.
pub(crate) const LOG_ATTRIBUTES: u32 = 6;
/// `SEVERITY_NUMBER_ERROR`; FATAL lies above it.
const SEVERITY_ERROR: i32 = 17;

/// The fields of a `LogRecord`.
#[derive(Default)]
pub(crate) struct LogRecord<'a> {
    trace_id: &'a [u8],
    time_unix_nano: u64,
    observed_time_unix_nano: u64,
    severity_number: i32,
}

/// Reads the trace id alone; `None` when it is absent or not valid.
pub(crate) fn trace_id(slice: Slice<'_>) -> Result<Option<[u8; 16]>, DecodeError> {
    last_id("LogRecord", slice, 9)
}

impl<'a> LogRecord<'a> {
    pub(crate) fn read(slice: Slice<'a>) -> Result<Self, DecodeError> {
        let mut record = Self::default();
        let mut reader = Reader::new("LogRecord", slice);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => record.time_unix_nano = field.fixed64()?,
                // An enum is an int32: protobuf drops the upper half of the varint.
                2 => record.severity_number = field.varint()? as i32,
                9 => record.trace_id = field.bytes()?.bytes,
                11 => record.observed_time_unix_nano = field.fixed64()?,
                _ => {}
            }
        }
        Ok(record)
    }

    /// Returns the trace the record belongs to.
    ///
    /// An invalid id is like none, as `logs.proto` recommends; an invalid span id takes nothing
    /// away from the trace id.
    pub(crate) fn trace_id(&self) -> Option<[u8; 16]> {
        valid_id(self.trace_id)
    }

    /// Returns when it happened, else when it was observed, else zero.
    pub(crate) fn time(&self) -> u64 {
        if self.time_unix_nano == 0 { self.observed_time_unix_nano } else { self.time_unix_nano }
    }

    pub(crate) fn is_error(&self) -> bool {
        self.severity_number >= SEVERITY_ERROR
    }
}
