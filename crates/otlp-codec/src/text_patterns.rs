//! Trace ids and correlation keys that log records name in the text of their bodies.

use regex::bytes::{Regex, RegexBuilder};

use crate::{
    attributes::FoundKey,
    text::{TEXT_BYTES_MAX, bounded},
};

/// Name of the group that captures a trace id; any other is the name of a correlation key.
const TRACE_ID: &str = "trace_id";
/// Most patterns, because a record may be matched with all of them.
const PATTERNS_MAX: usize = 16;
/// Most memory of a compiled pattern, and of what a search keeps.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Places of a text that match a pattern and are looked at. What is there may be no id.
const MATCHES_MAX: usize = 8;

/// Patterns, compiled. Searching takes time in proportion to the text, whatever is in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextPatterns {
    /// Those for trace ids come first, otherwise in the order of preference.
    patterns: Vec<Pattern>,
    bytes_max: usize,
}

/// What a text names.
pub(crate) enum Named {
    Trace([u8; 16]),
    Key(FoundKey),
}

/// A pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {pattern:?}: {reason}")]
pub struct InvalidPattern {
    /// As it was given.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

#[derive(Debug, Clone)]
struct Pattern {
    regex: Regex,
    /// Number of the named group.
    group: usize,
    /// Which correlation key it captures; a trace id if none.
    preference: Option<usize>,
}

impl TextPatterns {
    pub(crate) fn compile(
        patterns: &[String],
        correlation_keys: &[String],
        bytes_max: usize,
    ) -> Result<Self, InvalidPattern> {
        if let Some(pattern) = patterns.get(PATTERNS_MAX) {
            let reason = format!("expected at most {PATTERNS_MAX} patterns");
            return Err(InvalidPattern { pattern: pattern.clone(), reason });
        }
        let compile = |pattern: &String| {
            let invalid = |reason| InvalidPattern { pattern: pattern.clone(), reason };
            Pattern::compile(pattern, correlation_keys).map_err(invalid)
        };
        let mut patterns = patterns.iter().map(compile).collect::<Result<Vec<_>, _>>()?;
        patterns.sort_by_key(|pattern| pattern.preference.is_some());
        Ok(Self { patterns, bytes_max })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// What the beginning of a text names.
    pub(crate) fn find(&self, text: &[u8]) -> Option<Named> {
        let beginning = &text[..text.len().min(self.bytes_max)];
        let is_cut = beginning.len() < text.len();
        self.patterns.iter().find_map(|pattern| pattern.find(beginning, is_cut))
    }
}

impl Pattern {
    fn compile(pattern: &str, correlation_keys: &[String]) -> Result<Self, String> {
        let mut builder = RegexBuilder::new(pattern);
        builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX);
        let regex = builder.build().map_err(|error| reason(&error))?;
        let named = || regex.capture_names().enumerate().filter_map(|(group, name)| Some((group, name?)));
        let (Some((group, name)), 1) = (named().next(), named().count()) else {
            return Err(format!("expected one named group, such as (?<{TRACE_ID}>[0-9a-f]{{32}})"));
        };
        let preference = match name {
            TRACE_ID => None,
            name => Some(correlation_keys.iter().position(|key| key == name).ok_or_else(|| {
                format!("expected its group to be named {TRACE_ID} or like a correlation key, not {name}")
            })?),
        };
        Ok(Self { group, preference, regex })
    }

    fn find(&self, text: &[u8], is_cut: bool) -> Option<Named> {
        let found = self.regex.captures_iter(text).take(MATCHES_MAX);
        let mut found = found.filter_map(|captures| captures.get(self.group));
        found.find_map(|group| {
            // What reaches to where the text was cut may be half of an id.
            let is_whole = !is_cut || group.end() < text.len();
            is_whole.then(|| self.named(group.as_bytes())).flatten()
        })
    }

    fn named(&self, captured: &[u8]) -> Option<Named> {
        let Some(preference) = self.preference else { return trace_id(captured).map(Named::Trace) };
        let is_key = (1..=TEXT_BYTES_MAX).contains(&captured.len());
        is_key.then(|| Named::Key(FoundKey { preference, value: bounded(captured) }))
    }
}

/// The last line of an error of `regex`: those before it draw the pattern.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

/// Reads 32 hexadecimal digits, with or without hyphens as in a UUID; all zero is none.
fn trace_id(text: &[u8]) -> Option<[u8; 16]> {
    let mut digits = text.iter().filter(|byte| **byte != b'-');
    let mut id = [0; 16];
    for byte in &mut id {
        let mut digit = || char::from(*digits.next()?).to_digit(16);
        *byte = (digit()? << 4 | digit()?) as u8;
    }
    (digits.next().is_none() && id != [0; 16]).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn compile(patterns: &[&str], bytes_max: usize) -> Result<TextPatterns, InvalidPattern> {
        let patterns: Vec<_> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        TextPatterns::compile(&patterns, &["order.id".to_owned(), "user".to_owned()], bytes_max)
    }

    /// As hexadecimal digits, or as number and value of a key.
    fn found(patterns: &[&str], bytes_max: usize, text: &str) -> String {
        match compile(patterns, bytes_max).unwrap().find(text.as_bytes()) {
            None => String::new(),
            Some(Named::Trace(id)) => crate::text::hex(&id),
            Some(Named::Key(key)) => format!("{}={}", key.preference, key.value),
        }
    }

    #[test]
    fn a_trace_id_is_found_before_any_key_and_keys_in_the_order_of_patterns() {
        let patterns =
            [r"user (?<user>\w+)", r"order (?<order.id>\d+)", r"trace[ =](?<trace_id>[0-9a-fA-F-]+)"];
        for (text, expected) in [
            (format!("order 7 of user bob in trace={ID}"), ID),
            (format!("TRACE, then trace {}", ID.to_uppercase()), ID),
            ("trace 4bf92f35-77b3-4da6-a3ce-929d0e0e4736".to_owned(), ID),
            ("order 7 of user bob".to_owned(), "1=bob"),
            ("order 7".to_owned(), "0=7"),
            ("nothing".to_owned(), ""),
        ] {
            assert_eq!(found(&patterns, 4_096, &text), expected, "{text}");
        }
    }

    #[test]
    fn what_matches_and_is_no_id_is_passed_over() {
        let pattern = [r"id=(?<trace_id>\S*)"];
        let zeros = "0".repeat(32);
        assert_eq!(found(&pattern, 4_096, &format!("id= id=abc id={zeros} id={ID}0 id={ID}")), ID);
        let many = "id=x ".repeat(MATCHES_MAX);
        assert_eq!(
            found(&pattern, 4_096, &format!("{many}id={ID}")),
            "",
            "only so many places are looked at"
        );
        assert_eq!(
            found(&["(?<user>x*)"], 4_096, &"x".repeat(257)),
            "",
            "a key of more than 256 bytes is none"
        );
    }

    #[test]
    fn only_the_beginning_of_a_text_is_searched_and_half_an_id_is_none() {
        let pattern = [r"order (?<order.id>\d+)"];
        assert_eq!(found(&pattern, 9, "order 123"), "0=123");
        assert_eq!(found(&pattern, 9, "order 1234"), "");
        assert_eq!(found(&pattern, 9, "order 12 and more"), "0=12");
        assert_eq!(found(&pattern, 9, "behind order 12"), "");
    }

    #[test]
    fn a_pattern_that_cannot_be_used_is_named_with_the_reason() {
        for (pattern, expected) in [
            ("(?<trace_id>", "unclosed group"),
            ("[0-9a-f]{32}", "expected one named group"),
            ("(?<user>a)(?<order.id>b)", "expected one named group"),
            ("(?<session>a)", "not session"),
            (r"(?<user>\w{2000})", "size limit"),
        ] {
            let error = compile(&[pattern], 1).unwrap_err();
            assert!(error.reason.contains(expected), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        assert!(compile(&["(?<user>a)"; PATTERNS_MAX + 1], 1).is_err());
    }

    #[test]
    fn a_text_that_is_not_utf8_is_searched_too() {
        let patterns = compile(&[r"user (?<user>\w+)"], 4_096).unwrap();
        assert!(matches!(patterns.find(b"\xff user bob \xfe"), Some(Named::Key(key)) if key.value == "bob"));
    }
}
