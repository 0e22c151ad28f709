//! Brings the fields of a message into ascending order, which most texts have already.

use std::ops::Range;

use super::schema::{Field, Schema};
use crate::wire::{Reader, Slice};

/// The order in which the fields of one message are written.
pub(super) struct Order {
    schema: &'static Schema,
    /// Where the message begins in the output.
    start: usize,
    /// Slots of the fields so far.
    seen: u32,
    latest: u32,
    /// Empty while the fields ascend and none comes twice: then all is as it has to be.
    pieces: Vec<Piece>,
}

/// The bytes of one field, in the order of the text and not yet of the field numbers.
struct Piece {
    field: &'static Field,
    range: Range<usize>,
}

impl Order {
    pub(super) fn new(schema: &'static Schema, start: usize) -> Self {
        Self { schema, start, seen: 0, latest: 0, pieces: Vec::new() }
    }

    /// Notes that a field has been set, by what was written from `begin` on.
    #[inline(always)]
    pub(super) fn note(&mut self, field: &'static Field, begin: usize, output: &[u8]) {
        let is_next = self.latest < field.number && self.seen & field.slot() == 0;
        self.latest = field.number;
        self.seen |= field.slot();
        if !is_next || !self.pieces.is_empty() {
            self.add_piece(field, begin, output);
        }
    }

    /// Sorts what was written, and takes out what a later field has replaced.
    #[inline(always)]
    pub(super) fn finish(self, output: &mut Vec<u8>) {
        if !self.pieces.is_empty() {
            self.sort(output);
        }
    }

    #[cold]
    fn add_piece(&mut self, field: &'static Field, begin: usize, output: &[u8]) {
        if self.pieces.is_empty() {
            self.find_pieces(&output[self.start..begin]);
        }
        // Only the latest is remembered, so that no text makes this list long.
        self.pieces.retain(|piece| !piece.field.excludes(field));
        self.pieces.push(Piece { field, range: begin..output.len() });
    }

    /// Finds the fields that ascended until now.
    fn find_pieces(&mut self, written: &[u8]) {
        self.pieces.reserve(self.schema.fields.len());
        let mut reader = Reader::new(self.schema.name, Slice::whole(written));
        while let Some(occurrence) = reader.field().expect("what is written can be read") {
            let range = self.start + occurrence.range().start..self.start + occurrence.range().end;
            match self.pieces.last_mut() {
                Some(piece) if piece.field.number == occurrence.number => piece.range.end = range.end,
                _ => {
                    let field = self.schema.fields.iter().find(|field| field.number == occurrence.number);
                    let field = field.expect("only fields of the schema are written");
                    self.pieces.push(Piece { field, range });
                }
            }
        }
    }

    #[cold]
    fn sort(mut self, output: &mut Vec<u8>) {
        self.pieces.sort_by_key(|piece| piece.field.number);
        let end = output.len();
        for piece in self.pieces {
            output.extend_from_within(piece.range);
        }
        let length = output.len() - end;
        output.copy_within(end.., self.start);
        output.truncate(self.start + length);
    }
}
