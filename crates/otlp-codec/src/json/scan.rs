//! The loops that most bytes of a text pass through.

/// Every byte one.
const ONES: u64 = u64::MAX / 0xff;
/// The highest bit of every byte.
const HIGHS: u64 = ONES << 7;

/// How many bytes of a string come before its first quote, backslash or control character.
#[inline(always)]
pub(super) fn plain_len(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let special = special(u64::from_le_bytes(*word));
        if special != 0 {
            return 8 * index + special.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |byte: &u8| *byte >= b' ' && !matches!(byte, b'"' | b'\\');
    8 * words.len() + rest.iter().take_while(|byte| is_plain(byte)).count()
}

/// The highest bit of the first byte that is a quote, a backslash or a control character.
///
/// In the bytes above it bits may be set too, for the subtractions borrow from them.
#[inline(always)]
fn special(word: u64) -> u64 {
    let is_less = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let quote = is_less(word ^ (ONES * u64::from(b'"')), 1);
    let backslash = is_less(word ^ (ONES * u64::from(b'\\')), 1);
    (quote | backslash | is_less(word, 0x20)) & HIGHS
}

/// Reads decimal digits: how many there are, and their value if that fits in 64 bits.
#[inline(always)]
pub(super) fn digits(text: &[u8]) -> (usize, u64) {
    let mut value = 0_u64;
    for (index, byte) in text.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return (index, value);
        }
        value = value.wrapping_mul(10).wrapping_add(digit.into());
    }
    (text.len(), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_told_plain_or_special_at_every_place() {
        for byte in 0..=u8::MAX {
            let is_special = byte < 0x20 || byte == b'"' || byte == b'\\';
            for before in 0..20 {
                // Bytes that a neighbour's borrow or highest bit could be taken for.
                for filler in [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xff] {
                    let text = [&vec![filler; before][..], &[byte], &[filler; 9], b"\""].concat();
                    let expected = if is_special { before } else { before + 10 };
                    assert_eq!(plain_len(&text), expected, "{byte:#x} after {before} of {filler:#x}");
                }
            }
        }
        assert_eq!(plain_len(b""), 0);
        assert_eq!(plain_len(&[b'a'; 21]), 21);
    }

    #[test]
    fn digits_are_counted_and_read() {
        assert_eq!(digits(b""), (0, 0));
        assert_eq!(digits(b"07,"), (2, 7));
        assert_eq!(digits(b"18446744073709551615/"), (20, u64::MAX));
        assert_eq!(digits(b"9:"), (1, 9));
    }
}
