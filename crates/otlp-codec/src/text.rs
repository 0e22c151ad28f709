//! Texts from the wire, made safe to keep: valid UTF-8 of bounded length.

/// Longest text that facts hold. Longer names are cut, so that facts stay small beside telemetry.
pub(crate) const TEXT_BYTES_MAX: usize = 256;

/// Turns `bytes` into at most [`TEXT_BYTES_MAX`] bytes of text, cut between characters.
///
/// What is not UTF-8 becomes U+FFFD.
pub(crate) fn bounded(bytes: &[u8]) -> String {
    bounded_to(TEXT_BYTES_MAX, bytes)
}

/// Like [`bounded`], with another limit.
pub(crate) fn bounded_to(bytes_max: usize, bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().min(bytes_max));
    // A character that reaches over the border is whole here, so it is cut and not replaced.
    let window = &bytes[..bytes.len().min(bytes_max + 3)];
    for chunk in window.utf8_chunks() {
        let replaced = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        for character in chunk.valid().chars().chain(replaced) {
            if text.len() + character.len_utf8() > bytes_max {
                return text;
            }
            text.push(character);
        }
    }
    text
}

/// Turns `bytes` into at most `bytes_max` bytes of text, with `…` behind them when that is not all.
pub(crate) fn shortened(bytes_max: usize, bytes: &[u8]) -> String {
    // Longer by the longest character, which shows that something is left.
    shorten(bounded_to(bytes_max + 4, bytes), bytes_max)
}

/// Cuts a text that is longer than `bytes_max` bytes, and ends it with `…`.
pub(crate) fn shorten(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
    text
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0xf)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(bounded(&[b'a'; 300]), "a".repeat(256));
        assert_eq!(bounded("ä".repeat(200).as_bytes()), "ä".repeat(128));
        assert_eq!(bounded("a€".repeat(100).as_bytes()), "a€".repeat(64));
        assert_eq!(bounded(format!("{}€", "a".repeat(255)).as_bytes()), "a".repeat(255));
    }

    #[test]
    fn what_is_shortened_says_so() {
        assert_eq!(shortened(3, b"abc"), "abc");
        assert_eq!(shortened(3, b"abcd"), "abc…");
        assert_eq!(shortened(3, "ab€".as_bytes()), "ab…");
    }

    #[test]
    fn what_is_not_utf8_is_replaced() {
        assert_eq!(bounded(b"a\xffb"), "a\u{fffd}b");
        assert!(bounded(&[0xff; 300]).len() <= TEXT_BYTES_MAX);
    }
}
