//! What can be wrong with an OTLP/JSON text, and where.

use crate::text::bounded;

/// Longest path that is put together for an error.
const PATH_STEPS_MAX: usize = 32;

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

/// The result of reading a piece of a text. Boxed, so that it costs nothing while all is well.
pub(super) type Read<T> = Result<T, Box<Fault>>;

/// What is wrong, on its way out of the messages it is in.
pub(super) struct Fault {
    /// Bytes of the text behind the wrong one.
    left: usize,
    problem: String,
    /// The way from the outermost message, its last step first.
    steps: Vec<Step>,
}

/// A step into a message.
pub(super) enum Step {
    Field(&'static str),
    Index(usize),
}

impl Fault {
    pub(super) fn new(left: usize, problem: String) -> Box<Self> {
        Box::new(Self { left, problem, steps: Vec::new() })
    }

    /// Says that it is behind this step.
    #[cold]
    pub(super) fn behind(mut self: Box<Self>, step: Step) -> Box<Self> {
        self.steps.push(step);
        self
    }
}

impl JsonError {
    /// Path and problem may quote the client's text, so both are bounded.
    pub(super) fn new(message: &str, json: &[u8], fault: &Fault) -> Self {
        let mut path = message.to_owned();
        for step in fault.steps.iter().rev().take(PATH_STEPS_MAX) {
            match step {
                Step::Field(name) => path.extend([".", name]),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        Self::at(json, json.len().saturating_sub(fault.left), &path, &fault.problem)
    }

    /// RFC 8259 knows JSON in UTF-8 only.
    pub(super) fn not_utf8(json: &[u8], valid_up_to: usize) -> Self {
        Self::at(json, valid_up_to + 1, "the text", "it is not UTF-8")
    }

    /// `position` counts the bytes up to and including the wrong one.
    fn at(json: &[u8], position: usize, path: &str, problem: &str) -> Self {
        let before = json.get(..position.saturating_sub(1)).unwrap_or_default();
        let newlines = before.iter().filter(|&&byte| byte == b'\n').count();
        let line = before.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
        Self {
            path: bounded(path.as_bytes()),
            line: newlines + 1,
            column: line.len() + position.min(1),
            problem: bounded(problem.as_bytes()),
        }
    }

    /// Returns the line of the text, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the column in the line, in bytes from 1, or 0 when the text is empty.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }
}
