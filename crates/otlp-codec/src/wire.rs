//! Reads the protobuf wire format field by field, without knowing the messages.

mod error;
mod write;

use std::ops::Range;

pub use error::DecodeError;
pub(crate) use error::Problem;
pub(crate) use write::{begin_field, field_len, finish_field, write_bytes_field, write_key, write_varint};

/// How deep unknown groups may nest: prost's default recursion limit.
const GROUP_DEPTH_MAX: usize = 100;

/// Bytes and where they begin in the whole input, so that an error can say where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) offset: usize,
}

impl<'a> Slice<'a> {
    /// The whole input.
    pub(crate) fn whole(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// What is wrong with `message` here.
    pub(crate) fn error(&self, message: &'static str, problem: Problem) -> DecodeError {
        DecodeError::new(message, self.offset, problem)
    }
}

/// The four payload shapes of the wire format, and groups, which are skipped as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(Slice<'a>),
    Group,
    Fixed32(u32),
}

/// One field as it stands in a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
    message: &'static str,
    offset: usize,
    start: usize,
    end: usize,
}

impl<'a> Field<'a> {
    /// Where the field lies in its message, key included.
    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    pub(crate) fn bytes(&self) -> Result<Slice<'a>, DecodeError> {
        match self.value {
            Value::Bytes(slice) => Ok(slice),
            _ => Err(self.wrong_type()),
        }
    }

    pub(crate) fn varint(&self) -> Result<u64, DecodeError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.wrong_type()),
        }
    }

    pub(crate) fn fixed64(&self) -> Result<u64, DecodeError> {
        match self.value {
            Value::Fixed64(value) => Ok(value),
            _ => Err(self.wrong_type()),
        }
    }

    pub(crate) fn fixed32(&self) -> Result<u32, DecodeError> {
        match self.value {
            Value::Fixed32(value) => Ok(value),
            _ => Err(self.wrong_type()),
        }
    }

    /// A known field in another wire type is an error, as it is for prost and the Collector.
    #[cold]
    fn wrong_type(&self) -> DecodeError {
        DecodeError::new(self.message, self.offset, Problem::WrongWireType(self.number))
    }
}

/// Walks the fields of one message.
pub(crate) struct Reader<'a> {
    message: &'static str,
    slice: Slice<'a>,
    position: usize,
}

impl<'a> Reader<'a> {
    /// `message` names the message type in errors.
    pub(crate) fn new(message: &'static str, slice: Slice<'a>) -> Self {
        Self { message, slice, position: 0 }
    }

    /// Reads the next field, or `None` at the end of the message.
    // Inlined into every loop over fields, which then keeps of a field only what it looks at.
    #[inline(always)]
    pub(crate) fn field(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        let start = self.position;
        if start == self.slice.bytes.len() {
            return Ok(None);
        }
        let (number, wire_type) = self.key()?;
        let value = match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Value::Bytes(self.length_delimited()?),
            3 => {
                self.skip_group(number)?;
                Value::Group
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            4 => return Err(self.error(start, Problem::UnopenedGroup(number))),
            _ => return Err(self.error(start, Problem::UnknownWireType(wire_type))),
        };
        Ok(Some(Field {
            number,
            value,
            message: self.message,
            offset: self.slice.offset + start,
            start,
            end: self.position,
        }))
    }

    #[inline(always)]
    fn key(&mut self) -> Result<(u32, u8), DecodeError> {
        let start = self.position;
        let key = self.varint()?;
        match u32::try_from(key) {
            Ok(key) if key >> 3 != 0 => Ok((key >> 3, (key & 7) as u8)),
            _ => Err(self.error(start, Problem::InvalidFieldNumber(key >> 3))),
        }
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, DecodeError> {
        match self.slice.bytes.get(self.position) {
            Some(&byte) if byte < 0x80 => {
                self.position += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let start = self.position;
        let mut value = 0;
        for (index, &byte) in self.slice.bytes[start..].iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                if index == 9 && byte > 1 {
                    break;
                }
                self.position = start + index + 1;
                return Ok(value);
            }
        }
        let ended = self.slice.bytes.len() - start < 10;
        Err(self.error(start, if ended { Problem::Truncated } else { Problem::VarintTooLong }))
    }

    #[inline(always)]
    fn length_delimited(&mut self) -> Result<Slice<'a>, DecodeError> {
        let start = self.position;
        let length = self.varint()?;
        let rest = &self.slice.bytes[self.position..];
        let bytes = usize::try_from(length)
            .ok()
            .and_then(|length| rest.get(..length))
            .ok_or_else(|| self.error(start, Problem::LengthPastEnd(length)))?;
        let offset = self.slice.offset + self.position;
        self.position += bytes.len();
        Ok(Slice { bytes, offset })
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.slice.bytes[self.position..].first_chunk() {
            Some(array) => {
                self.position += N;
                Ok(*array)
            }
            None => Err(self.error(self.position, Problem::Truncated)),
        }
    }

    /// Skips to the end of the group `number`, which has just been opened.
    ///
    /// Protobuf deprecated groups long ago; a balanced one is still a valid unknown field.
    #[cold]
    fn skip_group(&mut self, number: u32) -> Result<(), DecodeError> {
        let mut open = vec![number];
        while let Some(&innermost) = open.last() {
            let start = self.position;
            let (number, wire_type) = self.key()?;
            match wire_type {
                0 => drop(self.varint()?),
                1 => drop(self.array::<8>()?),
                2 => drop(self.length_delimited()?),
                3 if open.len() < GROUP_DEPTH_MAX => open.push(number),
                3 => return Err(self.error(start, Problem::TooDeep)),
                4 if number == innermost => drop(open.pop()),
                4 => return Err(self.error(start, Problem::UnopenedGroup(number))),
                5 => drop(self.array::<4>()?),
                _ => return Err(self.error(start, Problem::UnknownWireType(wire_type))),
            }
        }
        Ok(())
    }

    #[cold]
    fn error(&self, position: usize, problem: Problem) -> DecodeError {
        DecodeError::new(self.message, self.slice.offset + position, problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<usize, DecodeError> {
        let mut reader = Reader::new("Probe", Slice { bytes, offset: 100 });
        let mut fields = 0;
        while reader.field()?.is_some() {
            fields += 1;
        }
        Ok(fields)
    }

    #[test]
    fn malformed_bytes_are_named_with_their_place() {
        let cases: [(&[u8], usize, &str); 9] = [
            (&[0x08], 101, "ends in the middle"),
            (&[0x08, 0x01, 0x12, 0x05, 0x00], 103, "length of 5 bytes"),
            (&[0x09, 0, 0], 101, "ends in the middle"),
            (&[0x00, 0x01], 100, "field number 0"),
            (&[0x0e], 100, "wire type 6"),
            (&[0x0c], 100, "group 1"),
            (&[0x0b, 0x14], 101, "group 2"),
            (&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2], 101, "varint"),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x01], 100, "field number"),
        ];
        for (bytes, offset, what) in cases {
            let error = read(bytes).unwrap_err();
            assert_eq!(error.offset(), offset, "{bytes:02x?}: {error}");
            assert!(error.to_string().contains(what), "{bytes:02x?}: {error}");
        }
    }

    #[test]
    fn a_balanced_group_is_one_field() {
        assert_eq!(read(&[0x0b, 0x13, 0x08, 0x01, 0x14, 0x0c, 0x08, 0x01]), Ok(2));
    }

    #[test]
    fn groups_nest_up_to_the_limit_and_no_further() {
        let nested = |depth| [vec![0x0b; depth], vec![0x0c; depth]].concat();
        assert_eq!(read(&nested(GROUP_DEPTH_MAX)), Ok(1));
        let error = read(&nested(GROUP_DEPTH_MAX + 1)).unwrap_err();
        assert!(error.to_string().contains("nested"), "{error}");
    }

    #[test]
    fn the_largest_varint_is_read() {
        let bytes = [0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        let field = Reader::new("Probe", Slice::whole(&bytes)).field().unwrap().unwrap();
        assert_eq!(field.varint(), Ok(u64::MAX));
    }
}
