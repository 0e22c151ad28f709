//! Strings: with their quotes and escapes, or without.

use super::Reader;
use crate::json::{
    error::{Fault, Read},
    scan::plain_len,
};

impl<'t> Reader<'t> {
    /// Reads the rest of a string, whose opening quote has been read.
    ///
    /// `scratch` is where it is put together when it is not in one piece.
    #[inline(always)]
    pub(in crate::json) fn string<'s>(&mut self, scratch: &'s mut Vec<u8>) -> Read<&'s [u8]>
    where
        't: 's,
    {
        let (plain, rest) = self.rest.split_at(plain_len(self.rest));
        if let Some((b'"', rest)) = rest.split_first() {
            self.rest = rest;
            return Ok(plain);
        }
        *self = self.escaped_string(scratch)?;
        Ok(scratch)
    }

    #[inline(never)]
    fn escaped_string(mut self, output: &mut Vec<u8>) -> Read<Self> {
        output.clear();
        loop {
            let (plain, rest) = self.rest.split_at(plain_len(self.rest));
            output.extend_from_slice(plain);
            self.rest = rest;
            match rest.first() {
                Some(b'"') => {
                    self.advance(1);
                    return Ok(self);
                }
                Some(b'\\') => {
                    self.advance(1);
                    self.escape(output)?;
                }
                _ => return Err(self.broken_string()),
            }
        }
    }

    /// Reads what follows a backslash.
    fn escape(&mut self, output: &mut Vec<u8>) -> Read<()> {
        let Some(&byte) = self.rest.first() else { return Err(self.broken_string()) };
        let unescaped = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.advance(1);
                let character = self.unicode_escape()?;
                output.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.unexpected("invalid escape")),
        };
        self.advance(1);
        output.push(unescaped);
        Ok(())
    }

    /// Reads what follows `\u`: a character beyond U+FFFF takes two escapes.
    ///
    /// Half of such a pair has no form in UTF-8, so it is refused rather than replaced.
    fn unicode_escape(&mut self) -> Read<char> {
        let mut code = self.hex_digits()?;
        if (0xd800..0xdc00).contains(&code) && self.rest.starts_with(b"\\u") {
            self.advance(2);
            let low = self.hex_digits()?;
            if (0xdc00..0xe000).contains(&low) {
                code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            }
        }
        char::from_u32(code).ok_or_else(|| self.fault("lone surrogate in hex escape"))
    }

    fn hex_digits(&mut self) -> Read<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.rest.first().and_then(|&byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else { return Err(self.unexpected("invalid escape")) };
            code = code << 4 | digit;
            self.advance(1);
        }
        Ok(code)
    }

    /// Steps over the rest of a string.
    pub(super) fn skip_string(&mut self) -> Read<()> {
        loop {
            self.advance(plain_len(self.rest));
            match self.rest {
                [b'"', ..] => {
                    self.advance(1);
                    return Ok(());
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.advance(2),
                [b'\\', b'u', ..] => {
                    self.advance(2);
                    self.hex_digits()?;
                }
                [b'\\', _, ..] => {
                    self.advance(1);
                    return Err(self.unexpected("invalid escape"));
                }
                _ => return Err(self.broken_string()),
            }
        }
    }

    /// What else than a quote or a backslash can end the plain part of a string.
    #[cold]
    fn broken_string(self) -> Box<Fault> {
        match self.rest {
            [] | [b'\\'] => Fault::new(0, "the text ends in a string".to_owned()),
            _ => self.unexpected("control character (\\u0000-\\u001F) in a string"),
        }
    }
}
