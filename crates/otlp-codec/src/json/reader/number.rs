//! Numbers: nearly all are short and positive, and some are anything that JSON allows.

use super::Reader;
use crate::json::{error::Read, scan::digits};

/// A number as far as protobuf can tell numbers apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::json) enum Number {
    /// Without fraction and exponent, and of at most 64 bits beside its sign.
    Integer(i128),
    /// Any other, and minus zero.
    Float(f64),
}

impl Reader<'_> {
    /// Reads a number.
    #[inline(always)]
    pub(in crate::json) fn number(&mut self) -> Read<Number> {
        let (count, magnitude) = digits(self.rest);
        let is_integer = !matches!(self.rest.get(count), Some(b'.' | b'e' | b'E'));
        match (self.rest.first(), count) {
            (Some(b'1'..=b'9'), 1..=19) | (Some(b'0'), 1) if is_integer => {
                self.advance(count);
                Ok(Number::Integer(magnitude.into()))
            }
            _ => {
                let (number, reader) = self.other_number()?;
                *self = reader;
                Ok(number)
            }
        }
    }

    /// Reads a number that is negative, longer than 19 digits or has a fraction or an exponent.
    #[inline(never)]
    fn other_number(self) -> Read<(Number, Self)> {
        let mut end = self;
        let is_integer = end.skip_number()?;
        let text = str::from_utf8(self.until(end)).expect("digits, signs, points, exponents are ASCII");
        let (sign, magnitude) = text.strip_prefix('-').map_or((1, text), |magnitude| (-1, magnitude));
        let number = match magnitude.parse::<u64>() {
            Ok(magnitude) if is_integer && text != "-0" => Number::Integer(sign * i128::from(magnitude)),
            // What does not fit in 64 bits is a float to everyone who reads JSON.
            _ => match text.parse::<f64>() {
                Ok(float) if float.is_finite() => Number::Float(float),
                _ => return Err(end.fault("number out of range")),
            },
        };
        Ok((number, end))
    }

    /// Steps over a number and says whether it has neither fraction nor exponent.
    pub(super) fn skip_number(&mut self) -> Read<bool> {
        if self.rest.first() == Some(&b'-') {
            self.advance(1);
        }
        let begin = *self;
        self.skip_digits()?;
        if let [b'0', _, ..] = begin.until(*self) {
            return Err(begin.unexpected("invalid number"));
        }
        let mut is_integer = true;
        if self.rest.first() == Some(&b'.') {
            is_integer = false;
            self.advance(1);
            self.skip_digits()?;
        }
        if let Some(b'e' | b'E') = self.rest.first() {
            is_integer = false;
            self.advance(1);
            if let Some(b'+' | b'-') = self.rest.first() {
                self.advance(1);
            }
            self.skip_digits()?;
        }
        Ok(is_integer)
    }

    /// Steps over digits, of which there must be one.
    fn skip_digits(&mut self) -> Read<()> {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.advance(count);
        if count > 0 { Ok(()) } else { Err(self.unexpected("invalid number")) }
    }
}
