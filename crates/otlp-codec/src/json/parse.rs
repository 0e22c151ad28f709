//! JSON to protobuf in one pass: serde's visitors write the message while they read the text.

use std::{fmt, ops::Range};

use serde::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde_json::Number;

use super::{
    JsonError,
    scalar::{self, Scalar},
    schema::{Cardinality, Field, Kind, Schema},
};
use crate::wire::{write_key, write_varint};

/// Longest path that is put together for an error.
const PATH_STEPS_MAX: usize = 32;

pub(super) fn parse(schema: &'static Schema, json: &[u8]) -> Result<Vec<u8>, JsonError> {
    // Checked once as a whole, which is much faster than string by string.
    let text = str::from_utf8(json).map_err(|error| JsonError::not_utf8(json, &error))?;
    let mut output = Output { bytes: Vec::with_capacity(json.len() / 2), ..Output::default() };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let object = Object { schema, output: &mut output };
    match deserializer.deserialize_map(object).and_then(|()| deserializer.end()) {
        Ok(()) => Ok(output.bytes),
        Err(error) => Err(JsonError::new(&output.path(schema), &error)),
    }
}

/// The protobuf written so far.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    /// The fields of the open messages, innermost last.
    pieces: Vec<Piece>,
    /// Where in the text the reading is. An error leaves it where it happened.
    path: Vec<Step>,
}

/// The bytes of one field, in the order of the text and not yet of the field numbers.
struct Piece {
    field: &'static Field,
    range: Range<usize>,
}

enum Step {
    Field(&'static str),
    Index(usize),
}

impl Output {
    /// Brings the fields of the message that began at `start` into ascending order, and takes out
    /// what a later field has replaced.
    fn finish_message(&mut self, start: usize, first_piece: usize) {
        let pieces = &mut self.pieces[first_piece..];
        let ascending = pieces.is_sorted_by_key(|piece| piece.field.number);
        let length: usize = pieces.iter().map(|piece| piece.range.len()).sum();
        if !ascending || start + length != self.bytes.len() {
            pieces.sort_by_key(|piece| piece.field.number);
            let body = self.bytes.split_off(start);
            for Piece { range, .. } in pieces {
                self.bytes.extend_from_slice(&body[range.start - start..range.end - start]);
            }
        }
        self.pieces.truncate(first_piece);
    }

    fn path(&self, schema: &Schema) -> String {
        let mut path = schema.name.to_owned();
        for step in self.path.iter().take(PATH_STEPS_MAX) {
            match step {
                Step::Field(name) => {
                    path.push('.');
                    path.push_str(name);
                }
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }
}

/// Reads an object into the fields of a message, without key and length.
struct Object<'o> {
    schema: &'static Schema,
    output: &'o mut Output,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", scalar::expectation(Kind::Message(self.schema)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { schema, output } = self;
        let start = output.bytes.len();
        let first_piece = output.pieces.len();
        while let Some(name) = map.next_key_seed(Name(schema))? {
            let Some(field) = name else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            output.path.push(Step::Field(field.name));
            let begin = output.bytes.len();
            let is_set = map.next_value_seed(FieldValue { field, output })?;
            output.path.pop();
            if is_set {
                // Only the latest is remembered, so that no text makes this list long.
                remove_after(&mut output.pieces, first_piece, |piece| piece.field.excludes(field));
                let range = begin..output.bytes.len();
                output.pieces.push(Piece { field, range });
            }
        }
        output.finish_message(start, first_piece);
        Ok(())
    }
}

/// Removes what matches from the elements at `first` and after.
fn remove_after<T>(elements: &mut Vec<T>, first: usize, matches: impl Fn(&T) -> bool) {
    if let Some(index) = elements[first..].iter().position(matches) {
        // At most one can match: each was checked against the ones before it.
        elements.remove(first + index);
    }
}

/// Reads a name into the field it stands for.
struct Name(&'static Schema);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.fields.iter().find(|field| field.name == name))
    }
}

/// Reads what stands behind a name and says whether it sets the field: `null` does not.
struct FieldValue<'o> {
    field: &'static Field,
    output: &'o mut Output,
}

impl<'de> DeserializeSeed<'de> for FieldValue<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for FieldValue<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.field.cardinality == Cardinality::Repeated { "a list of: " } else { "" };
        write!(formatter, "{separator}{}", scalar::expectation(self.field.kind))
    }

    fn visit_none<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        if self.field.cardinality == Cardinality::Repeated {
            return deserializer.deserialize_seq(self);
        }
        let Self { field, output } = self;
        Element { field, output }.deserialize(deserializer)?;
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let Self { field, output } = self;
        let mut index = 0;
        loop {
            output.path.push(Step::Index(index));
            let element = list.next_element_seed(Element { field, output })?;
            output.path.pop();
            if element.is_none() {
                return Ok(true);
            }
            index += 1;
        }
    }
}

/// Reads one value and writes it with key and, for a message, length.
struct Element<'o> {
    field: &'static Field,
    output: &'o mut Output,
}

impl Element<'_> {
    fn write<E: Error>(self, scalar: Option<Scalar<'_>>, unexpected: Unexpected<'_>) -> Result<(), E> {
        let scalar = scalar.ok_or_else(|| E::invalid_value(unexpected, &self))?;
        if self.field.cardinality != Cardinality::Single || !scalar.is_default() {
            scalar.write(self.field.number, &mut self.output.bytes);
        }
        Ok(())
    }

    /// Writes the key, then what `body` writes with its length before it.
    fn write_message<E>(self, body: impl FnOnce(&mut Output) -> Result<(), E>) -> Result<(), E> {
        write_key(self.field.number, 2, &mut self.output.bytes);
        let start = self.output.bytes.len();
        body(self.output)?;
        let bytes = &mut self.output.bytes;
        let end = bytes.len();
        write_varint((end - start) as u64, bytes);
        let length = bytes.len() - end;
        bytes[start..].rotate_right(length);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&scalar::expectation(self.field.kind))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        let scalar = match self.field.kind {
            Kind::Bool => Some(Scalar::Varint(value.into())),
            _ => None,
        };
        self.write(scalar, Unexpected::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        let scalar = scalar::from_number(self.field.kind, &Number::from(value));
        self.write(scalar, Unexpected::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        let scalar = scalar::from_number(self.field.kind, &Number::from(value));
        self.write(scalar, Unexpected::Signed(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        let number = Number::from_f64(value);
        let scalar = number.and_then(|number| scalar::from_number(self.field.kind, &number));
        self.write(scalar, Unexpected::Float(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let scalar = scalar::from_text(self.field.kind, text);
        self.write(scalar, Unexpected::Str(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        match self.field.kind {
            Kind::Message(schema) => self.write_message(|output| Object { schema, output }.visit_map(map)),
            _ => Err(A::Error::invalid_type(Unexpected::Map, &self)),
        }
    }

    /// `null` in a list.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match self.field.kind {
            Kind::Message(_) => self.write_message(|_| Ok(())),
            _ => Err(E::invalid_type(Unexpected::Unit, &self)),
        }
    }
}
