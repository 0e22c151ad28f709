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

#[inline(always)]
pub(crate) fn write_varint(mut value: u64, output: &mut Vec<u8>) {
    while value >= 0x80 {
        output.push(value as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

#[inline(always)]
pub(crate) fn write_key(number: u32, wire_type: u8, output: &mut Vec<u8>) {
    write_varint(u64::from(number << 3 | u32::from(wire_type)), output);
}

/// Writes key, length and content.
#[inline(always)]
pub(crate) fn write_bytes_field(number: u32, content: &[u8], output: &mut Vec<u8>) {
    if number < 16 && content.len() < 0x80 {
        output.extend_from_slice(&[(number << 3) as u8 | 2, content.len() as u8]);
    } else {
        write_key(number, 2, output);
        write_varint(content.len() as u64, output);
    }
    output.extend_from_slice(content);
}

/// Writes a key and leaves room for a length, and returns where the content begins.
#[inline(always)]
pub(crate) fn begin_field(number: u32, reserved: usize, output: &mut Vec<u8>) -> usize {
    if number < 16 && reserved == 1 {
        output.extend_from_slice(&[(number << 3) as u8 | 2, 0]);
    } else {
        write_key(number, 2, output);
        output.resize(output.len() + reserved, 0);
    }
    output.len()
}

/// Writes the length of what begins at `start` and goes on to the end, and returns its bytes.
///
/// `reserved` bytes before `start` are there for it. If it takes more or less, all is moved.
#[inline(always)]
pub(crate) fn finish_field(start: usize, reserved: usize, output: &mut Vec<u8>) -> usize {
    let length = output.len() - start;
    if reserved == 1 && length < 0x80 {
        output[start - 1] = length as u8;
        return 1;
    }
    finish_long_field(start, reserved, output)
}

#[inline(never)]
fn finish_long_field(start: usize, reserved: usize, output: &mut Vec<u8>) -> usize {
    let end = output.len();
    let length = end - start;
    let begin = start - reserved;
    let taken = varint_len(length as u64);
    if taken != reserved {
        output.resize(end.max(begin + taken + length), 0);
        output.copy_within(start..end, begin + taken);
        output.truncate(begin + taken + length);
    }
    for (index, byte) in output[begin..begin + taken].iter_mut().enumerate() {
        let more = if index + 1 < taken { 0x80 } else { 0 };
        *byte = (length >> (7 * index)) as u8 & 0x7f | more;
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_fits_whatever_was_reserved_for_it() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_152] {
            for reserved in 1..5 {
                let content = vec![7; length];
                let mut output = [&[1, 2][..], &vec![0; reserved], &content].concat();
                let taken = finish_field(2 + reserved, reserved, &mut output);
                let mut expected = vec![1];
                write_bytes_field(0, &content, &mut expected);
                assert_eq!(output, expected, "{length} bytes, {reserved} reserved");
                assert_eq!(taken, output.len() - 2 - length);
            }
        }
    }

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
