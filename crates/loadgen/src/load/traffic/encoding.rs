//! How ids and times stand in each encoding: always in one width.

/// An encoding of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Binary protobuf.
    Protobuf,
    /// OTLP/JSON: ids in hexadecimal, 64-bit numbers as text.
    Json,
}

/// Digits of nanoseconds since 1970 between 2001 and 2286.
const DECIMAL_DIGITS: usize = 19;

impl Encoding {
    pub(super) fn width_of_id(self, bytes: usize) -> usize {
        match self {
            Self::Protobuf => bytes,
            Self::Json => 2 * bytes,
        }
    }

    pub(super) fn width_of_time(self) -> usize {
        match self {
            Self::Protobuf => size_of::<u64>(),
            Self::Json => DECIMAL_DIGITS,
        }
    }

    /// Writes an id into a place of its width.
    pub(super) fn write_id(self, place: &mut [u8], id: &[u8]) {
        match self {
            Self::Protobuf => place.copy_from_slice(id),
            Self::Json => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                for (pair, byte) in place.chunks_exact_mut(2).zip(id) {
                    pair[0] = DIGITS[usize::from(byte >> 4)];
                    pair[1] = DIGITS[usize::from(byte & 15)];
                }
            }
        }
    }

    /// Writes a time into a place of its width.
    pub(super) fn write_time(self, place: &mut [u8], mut nanos: u64) {
        match self {
            // fixed64 is little-endian.
            Self::Protobuf => place.copy_from_slice(&nanos.to_le_bytes()),
            Self::Json => {
                for digit in place.iter_mut().rev() {
                    *digit = b'0' + (nanos % 10) as u8;
                    nanos /= 10;
                }
            }
        }
    }
}
