//! JSON to protobuf in one pass: the message is written while the text is read.

use super::{
    JsonError,
    error::{Fault, Read, Step},
    order::Order,
    reader::{DEPTH_MAX, Reader},
    scalar::{self, Scalar},
    schema::{Cardinality, Field, Kind, Schema},
};
use crate::{
    text::bounded_to,
    wire::{begin_field, finish_field, write_bytes_field},
};

/// Longest piece of a wrong value that an error quotes.
const QUOTE_BYTES_MAX: usize = 64;

pub(super) fn parse(schema: &'static Schema, json: &[u8]) -> Result<Vec<u8>, JsonError> {
    // Checked once as a whole, which is much faster than string by string.
    if let Err(error) = str::from_utf8(json) {
        return Err(JsonError::not_utf8(json, error.valid_up_to()));
    }
    let mut parser =
        Parser { output: Vec::with_capacity(json.len() / 2), unescaped: Vec::new(), decoded: Vec::new() };
    match parser.text(schema, Reader::new(json)) {
        Ok(()) => Ok(parser.output),
        Err(fault) => Err(JsonError::new(schema.name, json, &fault)),
    }
}

/// The protobuf written so far.
struct Parser {
    output: Vec<u8>,
    /// Where strings with escapes are put together.
    unescaped: Vec<u8>,
    /// Where hexadecimal and base64 are decoded.
    decoded: Vec<u8>,
}

impl Parser {
    fn text(&mut self, schema: &'static Schema, mut reader: Reader<'_>) -> Read<()> {
        match reader.peek() {
            Some(b'{') => self.message(schema, reader, 0)?.end(),
            _ => Err(mismatch(reader, &scalar::expectation(Kind::Message(schema)))),
        }
    }

    /// Reads an object inside of `depth` others into the fields of a message, without key and length.
    fn message<'t>(
        &mut self,
        schema: &'static Schema,
        mut reader: Reader<'t>,
        depth: u32,
    ) -> Read<Reader<'t>> {
        let depth = enter(&mut reader, depth)?;
        let mut order = Order::new(schema, self.output.len());
        // Senders write fields in the order of the schema.
        let mut expected = 0;
        let mut is_open = !reader.take(b'}');
        while is_open {
            match self.name(schema, expected, &mut reader)? {
                None => reader = reader.behind_value(depth)?,
                Some(index) => {
                    expected = index + 1;
                    let field = &schema.fields[index];
                    let begin = self.output.len();
                    match self.value(field, &mut reader, depth) {
                        Ok(true) => order.note(field, begin, &self.output),
                        Ok(false) => {}
                        Err(fault) => return Err(fault.behind(Step::Field(field.name))),
                    }
                }
            }
            is_open = reader.next_element(b'}')?;
        }
        order.finish(&mut self.output);
        Ok(reader)
    }

    /// Reads a name, up to its value, and returns which field it stands for, if any.
    #[inline(always)]
    fn name(&mut self, schema: &Schema, expected: usize, reader: &mut Reader<'_>) -> Read<Option<usize>> {
        reader.open_name()?;
        let rest = reader.rest();
        let mut found = match schema.fields.get(expected) {
            Some(field) if field.is_named_at(rest) => Some(expected),
            _ => schema.fields.iter().position(|field| field.is_named_at(rest)),
        };
        match found {
            Some(index) => reader.advance(schema.fields[index].name.len() + 1),
            None => {
                // It may be written with escapes.
                let name = reader.string(&mut self.unescaped)?;
                found = schema.fields.iter().position(|field| field.name.as_bytes() == name);
            }
        }
        reader.colon()?;
        Ok(found)
    }

    /// Reads what stands behind a name and says whether it sets the field: `null` does not.
    #[inline(always)]
    fn value(&mut self, field: &'static Field, reader: &mut Reader<'_>, depth: u32) -> Read<bool> {
        let first = reader.peek();
        if first == Some(b'n') {
            reader.word("null")?;
            return Ok(false);
        }
        if field.cardinality == Cardinality::Repeated {
            *reader = self.list(field, *reader, depth)?;
        } else {
            self.element(field, reader, depth, 1)?;
        }
        Ok(true)
    }

    fn list<'t>(&mut self, field: &'static Field, mut reader: Reader<'t>, depth: u32) -> Read<Reader<'t>> {
        if reader.peek() != Some(b'[') {
            return Err(mismatch(reader, &format!("a list of: {}", scalar::expectation(field.kind))));
        }
        let depth = enter(&mut reader, depth)?;
        let mut is_open = !reader.take(b']');
        let mut index = 0;
        // Neighbours mostly take as many bytes for their length.
        let mut length_bytes = 1;
        while is_open {
            match self.element(field, &mut reader, depth, length_bytes) {
                Ok(bytes) => length_bytes = bytes,
                Err(fault) => return Err(fault.behind(Step::Index(index))),
            }
            index += 1;
            is_open = reader.next_element(b']')?;
        }
        Ok(reader)
    }

    /// Reads one value and writes it with its key and, for a message, its length.
    ///
    /// Takes how many bytes the length probably needs, and returns how many it needed.
    #[inline(always)]
    fn element(
        &mut self,
        field: &'static Field,
        reader: &mut Reader<'_>,
        depth: u32,
        length_bytes: usize,
    ) -> Read<usize> {
        match (field.kind, reader.peek()) {
            (Kind::Message(schema), Some(b'{')) => {
                let start = begin_field(field.number, length_bytes, &mut self.output);
                *reader = self.message(schema, *reader, depth)?;
                return Ok(finish_field(start, length_bytes, &mut self.output));
            }
            (Kind::Message(_), Some(b'n')) => {
                reader.word("null")?;
                write_bytes_field(field.number, &[], &mut self.output);
            }
            (Kind::String, Some(b'"')) => {
                reader.advance(1);
                let text = reader.string(&mut self.unescaped)?;
                if !text.is_empty() || field.cardinality != Cardinality::Single {
                    write_bytes_field(field.number, text, &mut self.output);
                }
            }
            _ => *reader = self.scalar(field, *reader)?,
        }
        Ok(length_bytes)
    }

    /// Reads a value that is not a message.
    #[inline(never)]
    fn scalar<'t>(&mut self, field: &'static Field, mut reader: Reader<'t>) -> Read<Reader<'t>> {
        let begin = reader;
        let scalar = match reader.peek() {
            Some(b'"') => {
                reader.advance(1);
                let text = reader.string(&mut self.unescaped)?;
                scalar::from_text(field.kind, text, &mut self.decoded)
            }
            Some(b'-' | b'0'..=b'9') => scalar::from_number(field.kind, reader.number()?),
            Some(b't') if matches!(field.kind, Kind::Bool) => {
                reader.word("true")?;
                Some(Scalar::Varint(1))
            }
            Some(b'f') if matches!(field.kind, Kind::Bool) => {
                reader.word("false")?;
                Some(Scalar::Varint(0))
            }
            _ => None,
        };
        match scalar {
            Some(scalar) if field.cardinality == Cardinality::Single && scalar.is_default() => {}
            Some(scalar) => scalar.write(field.number, &mut self.output),
            None => return Err(mismatch(begin, &scalar::expectation(field.kind))),
        }
        Ok(reader)
    }
}

#[inline(always)]
fn enter(reader: &mut Reader<'_>, depth: u32) -> Read<u32> {
    reader.advance(1);
    if depth < DEPTH_MAX { Ok(depth + 1) } else { Err(reader.too_deep()) }
}

/// What is wrong with the value that comes next: its form, else that it is not what is expected.
#[cold]
fn mismatch(mut reader: Reader<'_>, expectation: &str) -> Box<Fault> {
    let first = reader.peek();
    let (kind, end) = match first {
        Some(b'{') => ("an object", reader),
        Some(b'[') => ("a list", reader),
        _ => match reader.behind_value(0) {
            Err(fault) => return fault,
            Ok(end) => match first {
                Some(b'"') => ("string ", end),
                Some(b'-' | b'0'..=b'9') => ("number ", end),
                _ => ("", end),
            },
        },
    };
    let quote = bounded_to(QUOTE_BYTES_MAX, reader.until(end));
    end.fault(&format!("invalid value: {kind}{quote}, expected {expectation}"))
}
