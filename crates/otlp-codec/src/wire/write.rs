//! Writes keys, varints and length-delimited fields in their shortest form.

/// Bytes that `value` takes as a varint.
fn varint_len(value: u64) -> usize {
    // Seven bits a byte; zero takes one byte like any other value below 128.
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Bytes of a length-delimited field whose key takes one byte, that is with a number below 16.
pub(crate) fn field_len(content: usize) -> usize {
    1 + varint_len(content as u64) + content
}

pub(crate) fn write_varint(mut value: u64, output: &mut Vec<u8>) {
    while value >= 0x80 {
        output.push(value as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

pub(crate) fn write_key(number: u32, wire_type: u8, output: &mut Vec<u8>) {
    write_varint(u64::from(number << 3 | u32::from(wire_type)), output);
}

/// Writes key, length and content.
pub(crate) fn write_bytes_field(number: u32, content: &[u8], output: &mut Vec<u8>) {
    write_key(number, 2, output);
    write_varint(content.len() as u64, output);
    output.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_computed_length_is_the_written_one() {
        for bits in 0..64 {
            for value in [1_u64 << bits, (1 << bits) - 1, u64::MAX >> bits] {
                let mut output = Vec::new();
                write_varint(value, &mut output);
                assert_eq!(varint_len(value), output.len(), "{value}");
            }
        }
        for length in [0, 127, 128, 16_383, 16_384] {
            let mut output = Vec::new();
            write_bytes_field(2, &vec![0; length], &mut output);
            assert_eq!(field_len(length), output.len(), "{length}");
        }
    }
}
