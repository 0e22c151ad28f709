//! Protobuf to JSON, guided by the tables.
//!
//! Walks a message once per field of its table, which needs no memory however the fields are mixed.

use super::{
    scalar::{self, Scalar},
    schema::{Cardinality, Field, Kind, Schema},
};
use crate::wire::{self, DecodeError, Reader, Slice};

/// How deep objects and lists may nest. Readers of JSON commonly stop at 128, `to_protobuf` too; the
/// difference is room for what the text is put into.
const DEPTH_MAX: usize = 120;

pub(super) fn print(schema: &'static Schema, protobuf: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut printer = Printer { output: Vec::with_capacity(2 * protobuf.len()), depth: 0 };
    printer.message(schema, &[Slice::whole(protobuf)])?;
    Ok(printer.output)
}

struct Printer {
    output: Vec<u8>,
    depth: usize,
}

impl Printer {
    /// Prints a message given as the pieces it is the concatenation of.
    ///
    /// A singular message field that occurs several times is one message in pieces.
    fn message(&mut self, schema: &Schema, pieces: &[Slice<'_>]) -> Result<(), DecodeError> {
        // An error would make everything around it unreadable, for one value that nobody can use.
        if self.depth >= DEPTH_MAX {
            self.output.extend_from_slice(b"{}");
            return Ok(());
        }
        self.depth += 1;
        self.output.push(b'{');
        let mut separator = "";
        for field in schema.fields {
            let name = format!("{separator}\"{}\":", field.name);
            let is_printed = match (field.cardinality, field.kind) {
                (Cardinality::Repeated, _) => self.list(schema, field, &name, pieces)?,
                (_, Kind::Message(inner)) => match message_pieces(schema, field, pieces)? {
                    Some(inner_pieces) => {
                        self.output.extend_from_slice(name.as_bytes());
                        self.inner_message(inner, &inner_pieces);
                        true
                    }
                    None => false,
                },
                _ => match last_scalar(schema, field, pieces)? {
                    Some(scalar) => {
                        self.output.extend_from_slice(name.as_bytes());
                        scalar::print(field.kind, &scalar, &mut self.output);
                        true
                    }
                    None => false,
                },
            };
            if is_printed {
                separator = ",";
            }
        }
        self.output.push(b'}');
        self.depth -= 1;
        Ok(())
    }

    /// Prints a message inside of another, one that is malformed as an empty one: it must not take
    /// along what is around it.
    fn inner_message(&mut self, schema: &Schema, pieces: &[Slice<'_>]) {
        let (begin, depth) = (self.output.len(), self.depth);
        if self.message(schema, pieces).is_err() {
            self.output.truncate(begin);
            self.output.extend_from_slice(b"{}");
            self.depth = depth;
        }
    }

    /// Prints all occurrences of a repeated field, or nothing when there is none.
    fn list(
        &mut self,
        schema: &Schema,
        field: &Field,
        name: &str,
        pieces: &[Slice<'_>],
    ) -> Result<bool, DecodeError> {
        let mut is_printed = false;
        for_each_field(schema, pieces, |occurrence| {
            if occurrence.number != field.number {
                return Ok(());
            }
            if is_printed {
                self.output.push(b',');
            } else {
                self.output.extend_from_slice(name.as_bytes());
                self.output.push(b'[');
                self.depth += 1;
            }
            is_printed = true;
            match field.kind {
                Kind::Message(inner) => {
                    self.inner_message(inner, &[occurrence.bytes()?]);
                    Ok(())
                }
                kind => {
                    scalar::print(kind, &scalar::from_field(&occurrence, kind)?, &mut self.output);
                    Ok(())
                }
            }
        })?;
        if is_printed {
            self.output.push(b']');
            self.depth -= 1;
        }
        Ok(is_printed)
    }
}

/// Returns the last occurrence of a singular field, or `None` when it is unset.
fn last_scalar<'a>(
    schema: &Schema,
    field: &Field,
    pieces: &[Slice<'a>],
) -> Result<Option<Scalar<'a>>, DecodeError> {
    let mut last = None;
    for_each_field(schema, pieces, |occurrence| {
        if occurrence.number == field.number {
            last = Some(occurrence);
        } else if is_unset_by(schema, field, occurrence.number) {
            last = None;
        }
        Ok(())
    })?;
    let scalar = last.map(|occurrence| scalar::from_field(&occurrence, field.kind)).transpose()?;
    Ok(scalar.filter(|scalar| field.cardinality == Cardinality::OneOf || !scalar.is_default()))
}

/// Returns all occurrences of a singular message field, or `None` when it is unset.
fn message_pieces<'a>(
    schema: &Schema,
    field: &Field,
    pieces: &[Slice<'a>],
) -> Result<Option<Vec<Slice<'a>>>, DecodeError> {
    let mut found = None;
    for_each_field(schema, pieces, |occurrence| {
        if occurrence.number == field.number {
            let pieces = found.get_or_insert_with(Vec::new);
            let piece = occurrence.bytes()?;
            // A message may hold millions of empty ones, and they add nothing.
            if !piece.bytes.is_empty() {
                pieces.push(piece);
            }
        } else if is_unset_by(schema, field, occurrence.number) {
            found = None;
        }
        Ok(())
    })?;
    Ok(found)
}

/// Whether the field `number` is another member of the oneof.
fn is_unset_by(schema: &Schema, field: &Field, number: u32) -> bool {
    let mut fields = schema.fields.iter();
    field.cardinality == Cardinality::OneOf
        && fields.any(|other| other.number == number && other.excludes(field))
}

fn for_each_field<'a>(
    schema: &Schema,
    pieces: &[Slice<'a>],
    mut visit: impl FnMut(wire::Field<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    for piece in pieces {
        let mut reader = Reader::new(schema.name, *piece);
        while let Some(field) = reader.field()? {
            visit(field)?;
        }
    }
    Ok(())
}
