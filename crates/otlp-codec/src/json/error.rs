//! What can be wrong with an OTLP/JSON text, and where.

use std::str::Utf8Error;

use crate::text::bounded;

/// A JSON text that is not the OTLP message it was read as.
///
/// Sending the same text again fails again: the answer to the client is a permanent one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to read OTLP/JSON at line {line}, column {column}, in {path}: {problem}")]
pub struct JsonError {
    path: String,
    line: usize,
    column: usize,
    problem: String,
}

impl JsonError {
    /// Both texts may quote the client's, so both are bounded.
    pub(super) fn new(path: &str, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let problem = error.to_string();
        let place = format!(" at line {line} column {column}");
        Self {
            path: bounded(path.as_bytes()),
            line,
            column,
            problem: bounded(problem.strip_suffix(&place).unwrap_or(&problem).as_bytes()),
        }
    }

    /// RFC 8259 knows JSON in UTF-8 only.
    pub(super) fn not_utf8(json: &[u8], error: &Utf8Error) -> Self {
        let before = &json[..error.valid_up_to()];
        let newlines = before.iter().filter(|&&byte| byte == b'\n').count();
        let line = before.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
        let problem = "it is not UTF-8".to_owned();
        Self { path: "the text".to_owned(), line: newlines + 1, column: line.len() + 1, problem }
    }

    /// Returns the line of the text, from 1, or 0 when there is none.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the column in the line, from 1, or 0 at its beginning.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }
}
