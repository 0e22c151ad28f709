//! In which line of a text something stands, for messages to people.

/// The line of the byte at `offset`, counted from 1.
pub fn line_at(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_a_line_stands_in_it_and_not_in_the_one_before() {
        let text = "a = 1\nb = 2\n";
        for (offset, line) in [(0, 1), (4, 1), (5, 1), (6, 2), (11, 2), (12, 3), (99, 3)] {
            assert_eq!(line_at(text, offset), line, "{offset}");
        }
        assert_eq!(line_at("", 0), 1);
    }
}
