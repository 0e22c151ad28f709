//! The credentials that a door knows: a file of tokens, each with what it may do.

use std::{collections::HashMap, path::Path};

use serde::Deserialize;
use service_lifecycle::{FileError, line_at};
use sha2::{Digest, Sha256};
use state_core::Tenant;

/// Shorter ones can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

type Hash = [u8; 32];

/// The credentials by the SHA-256 of their token: looking one up tells nothing about others by the
/// time it takes, and no token stays in memory.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    by_hash: HashMap<Hash, Credential>,
}

/// What comes with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    /// For people.
    pub(crate) name: String,
    /// Whose data it sends and reads.
    pub(crate) tenant: Tenant,
    /// Whether it may name another tenant in `X-Scope-OrgID`.
    pub(crate) any_tenant: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    credential: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    token: Option<String>,
    token_sha256: Option<String>,
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    any_tenant: bool,
}

impl Credentials {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// What is wrong and in which credential; never quotes a token.
    pub(crate) fn parse(file: &Path, text: &[u8]) -> Result<Self, FileError> {
        let text = std::str::from_utf8(text).map_err(|_| FileError::new(file, "expected UTF-8"))?;
        let read: File = toml::from_str(text).map_err(|error: toml::de::Error| {
            let line = line_at(text, error.span().map_or(0, |span| span.start));
            FileError::new(file, format!("line {line}: {}", error.message()))
        })?;
        if read.credential.is_empty() {
            return Err(FileError::new(file, "expected at least one [[credential]]"));
        }
        let mut credentials = Self::default();
        for Entry { name, token, token_sha256, tenant, any_tenant } in read.credential {
            let wrong = |reason: &str| FileError::new(file, format!("credential {name:?}: {reason}"));
            let hash = match (token, token_sha256) {
                (Some(token), None) if token.len() >= TOKEN_BYTES_MIN => hash(&token),
                (Some(_), None) => return Err(wrong("expected a token of at least 16 bytes")),
                (None, Some(hex)) => {
                    from_hex(&hex).ok_or_else(|| wrong("expected token_sha256 as 64 hexadecimal digits"))?
                }
                _ => return Err(wrong("expected either token or token_sha256")),
            };
            let tenant = tenant.parse().map_err(|error| wrong(&format!("{error}")))?;
            let credential = Credential { name: name.clone(), tenant, any_tenant };
            if let Some(other) = credentials.by_hash.insert(hash, credential) {
                return Err(wrong(&format!("has the token of {:?}", other.name)));
            }
        }
        Ok(credentials)
    }

    /// What comes with a token, if it is known.
    pub(crate) fn find(&self, token: &str) -> Option<&Credential> {
        self.by_hash.get(&hash(token))
    }
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

fn from_hex(text: &str) -> Option<Hash> {
    let digits = text.trim().as_bytes();
    let mut hash = Hash::default();
    if digits.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Credentials, String> {
        Credentials::parse(Path::new("credentials.toml"), text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_token_is_found_as_itself_or_by_its_hash() {
        // printf %s 0123456789abcdef | sha256sum
        let hashed = "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f";
        let text = format!(
            "[[credential]]\nname = 'a'\ntoken = 'a-token-of-the-shop'\ntenant = 'shop'\n\
             [[credential]]\nname = 'b'\ntoken_sha256 = '{hashed}'\nany_tenant = true\n"
        );
        let credentials = parse(&text).unwrap();
        assert_eq!(credentials.find("a-token-of-the-shop").unwrap().tenant.as_str(), "shop");
        assert!(credentials.find("0123456789abcdef").unwrap().any_tenant);
        assert_eq!(credentials.find("another"), None);
    }

    #[test]
    fn what_is_wrong_is_named_and_no_token_is_quoted() {
        let secret = "a-very-secret-token";
        for (text, expected) in [
            (String::new(), "at least one"),
            (
                "[[credential]]\nname = 'a'\ntoken = 'short'".to_owned(),
                "\"a\": expected a token of at least 16",
            ),
            ("[[credential]]\nname = 'a'".to_owned(), "either token or token_sha256"),
            ("[[credential]]\nname = 'a'\ntoken_sha256 = 'xyz'".to_owned(), "64 hexadecimal digits"),
            (
                format!("[[credential]]\nname = 'a'\ntoken = '{secret}'\ntenant = 'a/b'"),
                "without braces and slashes",
            ),
            (
                format!("[[credential]]\nname = 'a'\ntoken = '{secret}'\nrole = 'x'"),
                "line 4: unknown field `role`",
            ),
            (format!("[[credential]]\nname = 'a'\ntoken = {secret}"), "line 3"),
            (
                format!(
                    "[[credential]]\nname = 'a'\ntoken = '{secret}'\n[[credential]]\nname = 'b'\ntoken = '{secret}'"
                ),
                "\"b\": has the token of \"a\"",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(expected) && !error.contains(secret), "{text}: {error}");
        }
    }
}
