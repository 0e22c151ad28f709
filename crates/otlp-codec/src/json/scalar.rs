//! Single values: JSON's forms of them and protobuf's.

use std::borrow::Cow;

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::Number;

use super::schema::Kind;
use crate::{
    text::hex,
    wire::{DecodeError, Field, write_bytes_field, write_key, write_varint},
};

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// A value in one of the shapes of the wire format.
pub(super) enum Scalar<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(Cow<'a, [u8]>),
}

impl Scalar<'_> {
    /// Whether it is what an absent field means.
    pub(super) fn is_default(&self) -> bool {
        match self {
            Self::Varint(value) | Self::Fixed64(value) => *value == 0,
            Self::Fixed32(value) => *value == 0,
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }

    pub(super) fn write(&self, number: u32, output: &mut Vec<u8>) {
        match self {
            Self::Varint(value) => {
                write_key(number, 0, output);
                write_varint(*value, output);
            }
            Self::Fixed64(value) => {
                write_key(number, 1, output);
                output.extend_from_slice(&value.to_le_bytes());
            }
            Self::Bytes(bytes) => write_bytes_field(number, bytes, output),
            Self::Fixed32(value) => {
                write_key(number, 5, output);
                output.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
}

/// Reads a JSON string as a value of `kind`, or returns `None` when it is none.
pub(super) fn from_text(kind: Kind, text: &str) -> Option<Scalar<'_>> {
    match kind {
        Kind::String => Some(Scalar::Bytes(text.as_bytes().into())),
        Kind::Bytes => {
            let engine = if text.contains(['-', '_']) { BASE64_URL } else { BASE64 };
            engine.decode(text).ok().map(|bytes| Scalar::Bytes(bytes.into()))
        }
        Kind::Id(length) => match text.len() {
            0 => Some(Scalar::Bytes(Cow::default())),
            digits if digits == 2 * length => from_hex(text).map(|bytes| Scalar::Bytes(bytes.into())),
            _ => None,
        },
        Kind::Enum(values) => {
            let (_, value) = values.iter().find(|(name, _)| *name == text)?;
            Some(varint(i64::from(*value)))
        }
        Kind::Double => {
            let value = match text {
                "NaN" => f64::NAN,
                "Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                _ => return from_number(kind, &number(text)?),
            };
            Some(Scalar::Fixed64(value.to_bits()))
        }
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Fixed32 | Kind::Fixed64 => {
            from_number(kind, &number(text)?)
        }
        Kind::Bool | Kind::Message(_) => None,
    }
}

/// Reads a JSON number as a value of `kind`, or returns `None` when it does not fit.
pub(super) fn from_number(kind: Kind, number: &Number) -> Option<Scalar<'static>> {
    if let Kind::Double = kind {
        return number.as_f64().map(|value| Scalar::Fixed64(value.to_bits()));
    }
    let integer = integer(number)?;
    match kind {
        Kind::Int32 | Kind::Enum(_) => i32::try_from(integer).ok().map(|value| varint(value.into())),
        Kind::Int64 => i64::try_from(integer).ok().map(varint),
        Kind::Uint32 => u32::try_from(integer).ok().map(|value| Scalar::Varint(value.into())),
        Kind::Fixed32 => u32::try_from(integer).ok().map(Scalar::Fixed32),
        Kind::Fixed64 => u64::try_from(integer).ok().map(Scalar::Fixed64),
        _ => None,
    }
}

/// What a value of `kind` looks like, for errors.
pub(super) fn expectation(kind: Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Int32 => "a 32-bit integer".to_owned(),
        Kind::Int64 => "a 64-bit integer".to_owned(),
        Kind::Uint32 | Kind::Fixed32 => "an unsigned 32-bit integer".to_owned(),
        Kind::Fixed64 => "an unsigned 64-bit integer".to_owned(),
        Kind::Double => "a number, \"NaN\", \"Infinity\" or \"-Infinity\"".to_owned(),
        Kind::String => "a string".to_owned(),
        Kind::Bytes => "base64".to_owned(),
        Kind::Id(length) => format!("{} hexadecimal digits", 2 * length),
        Kind::Enum([(first, _), ..]) => format!("the number or name of an enum value like {first}"),
        Kind::Enum([]) => "the number of an enum value".to_owned(),
        Kind::Message(schema) => format!("an object ({})", schema.name),
    }
}

/// Reads a field as a value of `kind`, which is not a message.
pub(super) fn from_field<'a>(field: &Field<'a>, kind: Kind) -> Result<Scalar<'a>, DecodeError> {
    Ok(match kind {
        Kind::Bool => Scalar::Varint(u64::from(field.varint()? != 0)),
        // A 32-bit number is the lower half of what the varint holds.
        Kind::Int32 | Kind::Enum(_) => varint(i64::from(field.varint()? as i32)),
        Kind::Uint32 => Scalar::Varint(u64::from(field.varint()? as u32)),
        Kind::Int64 => Scalar::Varint(field.varint()?),
        Kind::Fixed32 => Scalar::Fixed32(field.fixed32()?),
        Kind::Fixed64 | Kind::Double => Scalar::Fixed64(field.fixed64()?),
        Kind::String | Kind::Bytes | Kind::Id(_) | Kind::Message(_) => {
            Scalar::Bytes(field.bytes()?.bytes.into())
        }
    })
}

/// Prints a value of `kind` as JSON.
pub(super) fn print(kind: Kind, scalar: &Scalar<'_>, output: &mut Vec<u8>) {
    match scalar {
        Scalar::Varint(value) => match kind {
            Kind::Bool => print_display(*value != 0, output),
            Kind::Int64 => print_text(&value.cast_signed().to_string(), output),
            _ => print_display(value.cast_signed(), output),
        },
        Scalar::Fixed32(value) => print_display(*value, output),
        Scalar::Fixed64(bits) => match (kind, f64::from_bits(*bits)) {
            (Kind::Double, value) if value.is_nan() => print_text("NaN", output),
            (Kind::Double, f64::INFINITY) => print_text("Infinity", output),
            (Kind::Double, f64::NEG_INFINITY) => print_text("-Infinity", output),
            // `{:?}` is the shortest text that reads back as the same number.
            (Kind::Double, value) => output.extend_from_slice(format!("{value:?}").as_bytes()),
            _ => print_text(&bits.to_string(), output),
        },
        Scalar::Bytes(bytes) => match kind {
            Kind::Id(_) => print_text(&hex(bytes), output),
            Kind::Bytes => print_text(&BASE64.encode(bytes), output),
            _ => print_text(&String::from_utf8_lossy(bytes), output),
        },
    }
}

/// Prints a string with quotes and escapes.
fn print_text(text: &str, output: &mut Vec<u8>) {
    serde_json::to_writer(output, text).expect("a string is valid JSON and a vector takes all bytes");
}

fn print_display(value: impl std::fmt::Display, output: &mut Vec<u8>) {
    output.extend_from_slice(value.to_string().as_bytes());
}

/// A signed number, sign-extended to 64 bits as protobuf writes it.
fn varint(value: i64) -> Scalar<'static> {
    Scalar::Varint(value.cast_unsigned())
}

/// The number if it has no fraction: protobuf's JSON takes `1.0` and `1e3` for integers.
fn integer(number: &Number) -> Option<i128> {
    if let Some(integer) = number.as_i128() {
        return Some(integer);
    }
    let float = number.as_f64()?;
    (float.fract() == 0.0).then_some(float as i128)
}

/// A number written as a string. Times are: nearly all are plain digits, which need no JSON reader.
fn number(text: &str) -> Option<Number> {
    let plain = match text.as_bytes() {
        // JSON allows neither a plus sign nor leading zeros.
        [b'1'..=b'9', ..] => text.parse::<u64>().ok(),
        _ => None,
    };
    plain.map(Number::from).or_else(|| text.parse().ok())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| NIBBLES[usize::from(digit)];
    let byte = |pair: &[u8]| {
        let (high, low) = (nibble(pair[0]), nibble(pair[1]));
        ((high | low) <= 0xf).then_some(high << 4 | low)
    };
    text.as_bytes().chunks_exact(2).map(byte).collect()
}

/// The value of each hexadecimal digit, 0xff for any other byte.
const NIBBLES: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut digit = 0;
    while digit < 16 {
        values[b"0123456789abcdef"[digit] as usize] = digit as u8;
        values[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};
