//! Single values: JSON's forms of them and protobuf's.

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{
    reader::{Number, Reader},
    scan::plain_len,
    schema::Kind,
};
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
    Bytes(&'a [u8]),
}

impl Scalar<'_> {
    /// Whether it is what an absent field means.
    #[inline(always)]
    pub(super) fn is_default(&self) -> bool {
        match self {
            Self::Varint(value) | Self::Fixed64(value) => *value == 0,
            Self::Fixed32(value) => *value == 0,
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }

    #[inline(always)]
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
///
/// What is not the text itself is put into `decoded`.
#[inline(always)]
pub(super) fn from_text<'a>(kind: Kind, text: &'a [u8], decoded: &'a mut Vec<u8>) -> Option<Scalar<'a>> {
    decoded.clear();
    match kind {
        Kind::String => Some(Scalar::Bytes(text)),
        Kind::Bytes => {
            let is_url = text.iter().any(|byte| matches!(byte, b'-' | b'_'));
            let engine = if is_url { BASE64_URL } else { BASE64 };
            engine.decode_vec(text, decoded).ok()?;
            Some(Scalar::Bytes(decoded))
        }
        Kind::Id(length) => {
            if !text.is_empty() && text.len() != 2 * length {
                return None;
            }
            decode_hex(text, decoded)?;
            Some(Scalar::Bytes(decoded))
        }
        Kind::Enum(values) => {
            let (_, value) = values.iter().find(|(name, _)| name.as_bytes() == text)?;
            Some(varint(i64::from(*value)))
        }
        Kind::Double => {
            let value = match text {
                b"NaN" => f64::NAN,
                b"Infinity" => f64::INFINITY,
                b"-Infinity" => f64::NEG_INFINITY,
                _ => return from_number(kind, number(text)?),
            };
            Some(Scalar::Fixed64(value.to_bits()))
        }
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Fixed32 | Kind::Fixed64 => {
            from_number(kind, number(text)?)
        }
        Kind::Bool | Kind::Message(_) => None,
    }
}

/// Reads a JSON number as a value of `kind`, or returns `None` when it does not fit.
#[inline(always)]
pub(super) fn from_number(kind: Kind, number: Number) -> Option<Scalar<'static>> {
    if let Kind::Double = kind {
        let float = match number {
            Number::Integer(integer) => integer as f64,
            Number::Float(float) => float,
        };
        return Some(Scalar::Fixed64(float.to_bits()));
    }
    let integer = match number {
        Number::Integer(integer) => integer,
        // protobuf's JSON takes `1.0` and `1e3` for integers.
        Number::Float(float) if float.fract() == 0.0 => float as i128,
        Number::Float(_) => return None,
    };
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
        Kind::String | Kind::Bytes | Kind::Id(_) | Kind::Message(_) => Scalar::Bytes(field.bytes()?.bytes),
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
    output.push(b'"');
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let (plain, special) = rest.split_at(plain_len(rest));
        output.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { break };
        match byte {
            b'"' => output.extend_from_slice(b"\\\""),
            b'\\' => output.extend_from_slice(b"\\\\"),
            0x08 => output.extend_from_slice(b"\\b"),
            0x0c => output.extend_from_slice(b"\\f"),
            b'\n' => output.extend_from_slice(b"\\n"),
            b'\r' => output.extend_from_slice(b"\\r"),
            b'\t' => output.extend_from_slice(b"\\t"),
            _ => output.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
        rest = after;
    }
    output.push(b'"');
}

fn print_display(value: impl std::fmt::Display, output: &mut Vec<u8>) {
    output.extend_from_slice(value.to_string().as_bytes());
}

/// A signed number, sign-extended to 64 bits as protobuf writes it.
fn varint(value: i64) -> Scalar<'static> {
    Scalar::Varint(value.cast_unsigned())
}

/// A number written as a string, with nothing around it.
#[inline(always)]
fn number(text: &[u8]) -> Option<Number> {
    let mut reader = Reader::new(text);
    let number = reader.number().ok()?;
    reader.rest().is_empty().then_some(number)
}

/// Decodes an even number of hexadecimal digits, unless one of them is none.
#[inline(always)]
fn decode_hex(text: &[u8], output: &mut Vec<u8>) -> Option<()> {
    let (pieces, rest) = text.as_chunks::<16>();
    let mut all = 0;
    for piece in pieces {
        let nibbles = piece.map(nibble);
        let mut bytes = [0; 8];
        for (byte, pair) in bytes.iter_mut().zip(nibbles.as_chunks::<2>().0) {
            *byte = pair[0] << 4 | pair[1] & 0xf;
            all |= pair[0] | pair[1];
        }
        output.extend_from_slice(&bytes);
    }
    (all <= 0xf && rest.is_empty()).then_some(())
}

/// The value of a hexadecimal digit, 0xff for any other byte.
#[inline(always)]
fn nibble(digit: u8) -> u8 {
    let number = digit.wrapping_sub(b'0');
    let letter = (digit | 0x20).wrapping_sub(b'a');
    if number < 10 {
        number
    } else if letter < 6 {
        letter + 10
    } else {
        0xff
    }
}
