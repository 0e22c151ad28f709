//! What spans, links and log records have in common in an answer.

use std::{fmt::Write as _, ops::Not};

use chrono::{DateTime, SecondsFormat};
use otlp_codec::forest::Marks;
use serde::Serialize;

/// About what an entry takes beside its texts.
pub(super) const ENTRY_BYTES: usize = 256;
/// Bytes of an id that are shown: all of a valid one.
const ID_BYTES_MAX: usize = 16;

/// Says that an engine has made it, and why; nothing about any other.
#[derive(Debug, Serialize)]
pub(super) struct MarksView {
    /// `correlation.synthetic`
    #[serde(skip_serializing_if = "Not::not")]
    synthetic: bool,
    /// `correlation.confidence`
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
    /// `correlation.keys`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<String>,
}

impl MarksView {
    pub(super) fn of(marks: &Marks) -> Self {
        Self { synthetic: marks.synthetic, confidence: marks.confidence, keys: marks.keys.clone() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.keys.iter().map(String::len).sum()
    }
}

/// An id as lower-case hexadecimal digits.
pub(super) fn hex(id: &[u8]) -> String {
    id.iter().take(ID_BYTES_MAX).fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// A time as RFC 3339; `None` when it is not known, which is 0 in OTLP, or in no calendar.
pub(super) fn rfc_3339(unix_nano: u64) -> Option<String> {
    let nanos = i64::try_from(unix_nano).ok().filter(|nanos| *nanos != 0)?;
    Some(DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::Nanos, true))
}
