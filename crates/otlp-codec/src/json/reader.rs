//! The tokens of a JSON text (RFC 8259), read in one pass and where possible without a copy.
//!
//! Knows nothing of messages. The text is UTF-8: whoever makes a reader has checked that.

mod number;
mod skip;
mod string;

pub(super) use number::Number;

use super::error::{Fault, Read};

/// How deep lists and objects may nest, in all of the text.
pub(super) const DEPTH_MAX: u32 = 128;

/// What of a text has not been read yet.
///
/// Small, and handed on by value wherever it is not inlined: so it stays in registers, and what
/// comes next in the text never waits for memory.
#[derive(Clone, Copy)]
pub(super) struct Reader<'t> {
    rest: &'t [u8],
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t [u8]) -> Self {
        Self { rest: text }
    }

    #[inline(always)]
    pub(super) fn rest(self) -> &'t [u8] {
        self.rest
    }

    /// What `later` has read beyond this.
    pub(super) fn until(self, later: Self) -> &'t [u8] {
        let length = self.rest.len().saturating_sub(later.rest.len());
        &self.rest[..length]
    }

    /// Returns the next byte that is not white space and leaves it where it is.
    #[inline(always)]
    pub(super) fn peek(&mut self) -> Option<u8> {
        match self.rest.first() {
            Some(&byte) if byte > b' ' => Some(byte),
            _ => {
                *self = self.behind_space();
                self.rest.first().copied()
            }
        }
    }

    #[inline(never)]
    fn behind_space(self) -> Self {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let end = self.rest.iter().position(|byte| !is_space(byte)).unwrap_or(self.rest.len());
        Self { rest: &self.rest[end..] }
    }

    /// Steps over bytes that the caller has seen.
    #[inline(always)]
    pub(super) fn advance(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// Steps over the next byte that is not white space if it is this one.
    #[inline(always)]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.advance(1);
        }
        is_next
    }

    /// Steps over what separates the elements of a list or object and says whether one follows.
    #[inline(always)]
    pub(super) fn next_element(&mut self, close: u8) -> Read<bool> {
        let next = self.peek();
        let is_open = next == Some(b',');
        if is_open || next == Some(close) {
            self.advance(1);
            return Ok(is_open);
        }
        Err(self.unexpected(if close == b'}' { "expected `,` or `}`" } else { "expected `,` or `]`" }))
    }

    /// Steps over the quote that opens a name.
    #[inline(always)]
    pub(super) fn open_name(&mut self) -> Read<()> {
        if self.take(b'"') { Ok(()) } else { Err(self.unexpected("key must be a string")) }
    }

    /// Steps over what separates a name from its value.
    #[inline(always)]
    pub(super) fn colon(&mut self) -> Read<()> {
        if self.take(b':') { Ok(()) } else { Err(self.unexpected("expected `:`")) }
    }

    /// Demands that nothing but white space is left.
    pub(super) fn end(mut self) -> Read<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.unexpected("trailing characters")) }
    }

    /// Reads one of the three words: `null`, `true` and `false`.
    #[inline]
    pub(super) fn word(&mut self, word: &'static str) -> Read<()> {
        match self.rest.strip_prefix(word.as_bytes()) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.unexpected("expected value")),
        }
    }

    /// What is wrong with what has been read last.
    #[cold]
    pub(super) fn fault(self, problem: &str) -> Box<Fault> {
        Fault::new(self.rest.len(), problem.to_owned())
    }

    /// What is wrong with the next byte, or with its absence.
    #[cold]
    pub(super) fn unexpected(self, problem: &str) -> Box<Fault> {
        match self.rest.split_first() {
            Some((_, rest)) => Fault::new(rest.len(), problem.to_owned()),
            None => Fault::new(0, format!("{problem}, but the text ends")),
        }
    }

    #[cold]
    pub(super) fn too_deep(self) -> Box<Fault> {
        self.fault(&format!("recursion limit: lists and objects nest deeper than {DEPTH_MAX}"))
    }
}
