//! Values of attributes and bodies as text for people, of bounded length.

use crate::{
    text::{bounded_to, hex, shorten},
    wire::{Reader, Slice},
};

/// Levels of lists and maps that are shown.
const LEVELS_MAX: usize = 8;
/// A text that is longer than wanted by the longest character shows that something was cut.
const CHARACTER_BYTES_MAX: usize = 4;

/// An `AnyValue`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// None, or one that cannot be read.
    Unset,
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(&'a [u8]),
    List(List<'a>),
    Map(List<'a>),
}

/// An `ArrayValue` or a `KeyValueList`, which have their entries in the same field.
#[derive(Debug, Clone, Copy)]
pub(super) struct List<'a>(Slice<'a>);

impl<'a> Value<'a> {
    /// Reads a value. Of several members of the oneof the last one holds.
    pub(super) fn read(slice: Slice<'a>) -> Self {
        let mut value = Self::Unset;
        let mut reader = Reader::new("AnyValue", slice);
        while let Ok(Some(field)) = reader.field() {
            let bytes = || field.bytes().map(|slice| slice.bytes);
            let list = || field.bytes().map(List);
            let read = match field.number {
                1 => bytes().map(Self::Text),
                2 => field.varint().map(|value| Self::Bool(value != 0)),
                3 => field.varint().map(|value| Self::Int(value.cast_signed())),
                4 => field.fixed64().map(|bits| Self::Double(f64::from_bits(bits))),
                5 => list().map(Self::List),
                6 => list().map(Self::Map),
                7 => bytes().map(Self::Bytes),
                _ => continue,
            };
            value = read.unwrap_or(Self::Unset);
        }
        value
    }

    /// At most `bytes_max` bytes of text, with `…` behind them when that is not all.
    pub(super) fn to_text(self, bytes_max: usize) -> String {
        let mut text = String::new();
        self.write(bytes_max, 0, &mut text);
        shorten(text, bytes_max)
    }

    /// Appends to `text` until it is longer than `bytes_max`, by little.
    fn write(self, bytes_max: usize, level: usize, text: &mut String) {
        match self {
            Self::Unset => {}
            Self::Text(bytes) => write_text(bytes, bytes_max, text),
            Self::Bool(value) => text.push_str(&value.to_string()),
            Self::Int(value) => text.push_str(&value.to_string()),
            Self::Double(value) => text.push_str(&value.to_string()),
            Self::Bytes(bytes) => {
                let shown = bytes.len().min(bytes_max.saturating_sub(text.len()) / 2 + 1);
                text.push_str(&hex(&bytes[..shown]));
            }
            Self::List(_) | Self::Map(_) if level >= LEVELS_MAX => text.push('…'),
            Self::List(list) => {
                text.push('[');
                let mut separator = "";
                for value in list.values() {
                    if text.len() > bytes_max {
                        return;
                    }
                    text.push_str(separator);
                    value.write(bytes_max, level + 1, text);
                    separator = ", ";
                }
                text.push(']');
            }
            Self::Map(list) => {
                text.push('{');
                let mut separator = "";
                for (key, value) in list.pairs() {
                    if text.len() > bytes_max {
                        return;
                    }
                    text.push_str(separator);
                    write_text(key, bytes_max, text);
                    text.push_str(": ");
                    value.write(bytes_max, level + 1, text);
                    separator = ", ";
                }
                text.push('}');
            }
        }
    }
}

impl<'a> List<'a> {
    pub(super) fn values(self) -> impl Iterator<Item = Value<'a>> {
        self.entries().map(Value::read)
    }

    fn pairs(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        self.entries().map(|entry| {
            let (mut key, mut value) = (&[][..], Value::Unset);
            let mut reader = Reader::new("KeyValue", entry);
            while let Ok(Some(field)) = reader.field() {
                match (field.number, field.bytes()) {
                    (1, Ok(slice)) => key = slice.bytes,
                    (2, Ok(slice)) => value = Value::read(slice),
                    _ => {}
                }
            }
            (key, value)
        })
    }

    fn entries(self) -> impl Iterator<Item = Slice<'a>> {
        let mut reader = Reader::new("ArrayValue", self.0);
        std::iter::from_fn(move || {
            loop {
                let field = reader.field().ok()??;
                if field.number == 1 {
                    return field.bytes().ok();
                }
            }
        })
    }
}

fn write_text(bytes: &[u8], bytes_max: usize, text: &mut String) {
    let room = (bytes_max + CHARACTER_BYTES_MAX).saturating_sub(text.len());
    text.push_str(&bounded_to(room, bytes));
}
