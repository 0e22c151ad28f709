//! Values that nobody asked for: they must be JSON, and that is all.

use super::{DEPTH_MAX, Reader};
use crate::json::error::Read;

impl Reader<'_> {
    /// Steps over any value, inside of `depth` lists and objects.
    ///
    /// Half of a surrogate pair is nothing that it looks at: the grammar allows it.
    #[inline(never)]
    pub(in crate::json) fn behind_value(mut self, depth: u32) -> Read<Self> {
        // Which of the open lists and objects are objects, the innermost in the lowest bit: no
        // memory and no recursion, whatever the text.
        let mut is_object = 0_u128;
        let mut open = 0;
        loop {
            match self.peek() {
                Some(first @ (b'{' | b'[')) => {
                    self.advance(1);
                    if depth + open >= DEPTH_MAX {
                        return Err(self.too_deep());
                    }
                    let close = first + 2;
                    if !self.take(close) {
                        open += 1;
                        is_object = is_object << 1 | u128::from(first == b'{');
                        if first == b'{' {
                            self.skip_name()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => {
                    self.advance(1);
                    self.skip_string()?;
                }
                Some(b'-' | b'0'..=b'9') => drop(self.skip_number()?),
                Some(b'n') => self.word("null")?,
                Some(b't') => self.word("true")?,
                Some(b'f') => self.word("false")?,
                _ => return Err(self.unexpected("expected value")),
            }
            // The value is over, and with it perhaps some of what it is in.
            loop {
                if open == 0 {
                    return Ok(self);
                }
                let in_object = is_object & 1 == 1;
                if self.next_element(if in_object { b'}' } else { b']' })? {
                    if in_object {
                        self.skip_name()?;
                    }
                    break;
                }
                open -= 1;
                is_object >>= 1;
            }
        }
    }

    fn skip_name(&mut self) -> Read<()> {
        self.open_name()?;
        self.skip_string()?;
        self.colon()
    }
}
