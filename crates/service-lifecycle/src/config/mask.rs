//! Hides secrets in what is printed.

use figment::value::Value;

const HIDDEN: &str = "***";

/// Replaces the password in a URL by `***` and leaves everything else as it is.
///
/// `redis://user:secret@host:6379` becomes `redis://user:***@host:6379`. A text without a
/// password comes back unchanged.
pub fn mask_password(url: &str) -> String {
    match password(url) {
        Some(range) => {
            let mut masked = url.to_owned();
            masked.replace_range(range, HIDDEN);
            masked
        }
        None => url.to_owned(),
    }
}

/// Hides a secret value: of a URL the password, of anything else all of it.
pub(super) fn mask(value: &Value) -> Value {
    match value {
        Value::String(_, text) if text.is_empty() => value.clone(),
        Value::String(_, text) if text.contains("://") => Value::from(mask_password(text)),
        Value::Array(tag, values) => Value::Array(*tag, values.iter().map(mask).collect()),
        Value::Empty(..) => value.clone(),
        _ => Value::from(HIDDEN),
    }
}

/// Prints a value as TOML on one line, hidden when its key is one of `secrets`.
pub(super) fn show(secrets: &[&str], key: &str, value: &Value) -> String {
    let shown = match secrets.contains(&key) {
        true => mask(value),
        false => value.clone(),
    };
    match toml::Value::try_from(&shown) {
        Ok(value) => value.to_string(),
        // TOML has no null and no integers above 2^63.
        Err(_) => shown.to_u128().map_or_else(|| "(unset)".to_owned(), |number| number.to_string()),
    }
}

/// Where the password of a URL lies. The user information ends at the last `@` before the path:
/// an unescaped `@` inside a password must not leak the rest of it.
fn password(url: &str) -> Option<std::ops::Range<usize>> {
    let authority = url.find("://")? + 3;
    let rest = &url[authority..];
    // A password with an unescaped `/`, `?` or `#` is not a valid URL, but is hidden all the same.
    let at = rest.rfind('@')?;
    let colon = rest[..at].find(':')?;
    (colon + 1 < at).then(|| authority + colon + 1..authority + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_of_a_url_is_hidden() {
        for (url, masked) in [
            ("redis://:pw@h:1", "redis://:***@h:1"),
            ("rediss-cluster://me:pw@h:1?node=i:2", "rediss-cluster://me:***@h:1?node=i:2"),
            ("redis://me:p@ss/w@h", "redis://me:***@h"),
            ("redis://h:6379", "redis://h:6379"),
            ("redis://me@h:6379", "redis://me@h:6379"),
            ("redis://me:@h", "redis://me:@h"),
            ("not a url", "not a url"),
        ] {
            assert_eq!(mask_password(url), masked);
        }
    }

    #[test]
    fn a_secret_that_is_no_url_is_hidden_whole() {
        assert_eq!(mask(&Value::from("token")), Value::from("***"));
        assert_eq!(mask(&Value::from("")), Value::from(""));
        assert_eq!(
            mask(&Value::from(vec!["redis://:pw@h", "token"])),
            Value::from(vec!["redis://:***@h", "***"])
        );
    }
}
