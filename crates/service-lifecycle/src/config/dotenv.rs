//! The reading of a `.env` file, without touching the environment of the process.
//!
//! `NAME=value`, an optional `export` before it, `#` comments. Values may be quoted: 'as it is' or
//! "with \n, \", \\ and \$". Nothing is substituted: a `$` in a password stays one.

/// One line of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) name: String,
    /// The value, or what is wrong with it.
    pub(super) value: Result<String, &'static str>,
}

/// Reads every line that begins with a name, also where no value follows it as it should: whether
/// the name is ours is for the caller to say, such a file belongs to many programs.
pub(super) fn parse(content: &str) -> Vec<Entry> {
    let entries = content.lines().enumerate().filter_map(|(index, line)| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let end = line.find(|char: char| !char.is_ascii_alphanumeric() && char != '_');
        let (name, rest) = line.split_at(end.unwrap_or(line.len()));
        (!name.is_empty()).then(|| Entry {
            line: index + 1,
            name: name.to_owned(),
            value: match rest.trim_start().strip_prefix('=') {
                Some(value) => unquote(value.trim()),
                None => Err("expected NAME=value"),
            },
        })
    });
    entries.collect()
}

fn unquote(value: &str) -> Result<String, &'static str> {
    match value.chars().next() {
        Some('\'') => {
            let (inner, rest) =
                value[1..].split_once('\'').ok_or("the quote ' is not closed on this line")?;
            nothing_after(rest).map(|()| inner.to_owned())
        }
        Some('"') => unescape(&value[1..]),
        // A comment begins at a `#` after white space; a value may hold one.
        _ if value.starts_with('#') => Ok(String::new()),
        _ => Ok(value.split(" #").next().unwrap_or(value).trim_end().to_owned()),
    }
}

fn unescape(quoted: &str) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => return nothing_after(chars.as_str()).map(|()| value),
            '\\' => match chars.next() {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some(escaped @ ('"' | '\\' | '$' | '`')) => value.push(escaped),
                _ => return Err(r#"expected \n, \t, \", \\ or \$ after a backslash"#),
            },
            _ => value.push(char),
        }
    }
    Err("the quote \" is not closed on this line")
}

fn nothing_after(rest: &str) -> Result<(), &'static str> {
    let rest = rest.trim();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(())
    } else {
        Err("expected nothing but a comment after the closing quote")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(line: &str) -> Result<String, &'static str> {
        parse(line).remove(0).value
    }

    #[test]
    fn values_are_unquoted_and_never_substituted() {
        for (line, value) in [
            ("A=b", "b"),
            ("export A = b # comment", "b"),
            ("A=", ""),
            ("A= # comment", ""),
            ("A=b#c", "b#c"),
            ("A='b # $c' # d", "b # $c"),
            (r#"A="b\n\"$c\"\\""#, "b\n\"$c\"\\"),
            ("A=redis://:p$w@h?x=y", "redis://:p$w@h?x=y"),
        ] {
            assert_eq!(value_of(line), Ok(value.to_owned()), "{line}");
        }
    }

    #[test]
    fn a_broken_value_says_what_is_wrong() {
        for line in ["A='b", "A=\"b", "A='b' c", r#"A="\x""#, "A"] {
            assert!(value_of(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_name_without_a_value_is_told_with_its_line() {
        let entries = parse("# comment\n\n=1\nA=1\nB true\nC: true\n");
        let said: Vec<_> = entries.into_iter().map(|entry| (entry.line, entry.name, entry.value)).collect();
        let wrong = Err("expected NAME=value");
        let expected =
            [(4, "A".into(), Ok("1".into())), (5, "B".into(), wrong.clone()), (6, "C".into(), wrong)];
        assert_eq!(said, expected);
    }
}
