//! Names: tenants, correlation ids, trace ids. Every name is checked once, where it is made.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Longest correlation id in bytes. 256 holds a trace id, and any sensible `key=value`.
const ID_BYTES_MAX: usize = 256;
/// Longest tenant in bytes.
const TENANT_BYTES_MAX: usize = 128;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {allowed}")]
pub struct InvalidId {
    what: &'static str,
    text: String,
    allowed: &'static str,
}

impl InvalidId {
    fn new(what: &'static str, text: &str, allowed: &'static str) -> Self {
        // A refused text may be of any length; the error must not be.
        let text = text.chars().take(64).collect();
        Self { what, text, allowed }
    }
}

/// Trace id of the W3C and of OTLP: 16 bytes, not all zero, written as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// Takes the bytes of a trace id; all zero is none.
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// The 16 bytes as they stand in OTLP.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn hex(self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 32];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        hex
    }
}

impl FromStr for TraceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::new("trace id", text, "32 hexadecimal digits, not all zero");
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return Err(invalid());
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16).ok_or_else(invalid);
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Self::new(bytes).ok_or_else(invalid)
    }
}

impl TryFrom<String> for TraceId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<TraceId> for String {
    fn from(trace_id: TraceId) -> Self {
        trace_id.to_string()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(std::str::from_utf8(&self.hex()).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Name of a correlation within its tenant: a trace id, or `key=value`.
///
/// 1 to 256 bytes of UTF-8 without braces, which would redirect a Redis hash tag.
/// 32 hexadecimal digits are a trace id and kept in lower case. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CorrelationId(Arc<str>);

impl CorrelationId {
    /// The correlation of a trace.
    pub fn trace(trace_id: TraceId) -> Self {
        Self(std::str::from_utf8(&trace_id.hex()).expect("hex digits are ASCII").into())
    }

    /// The correlation of what carries this key.
    ///
    /// Total: `%`, braces and a `=` in the name are written as `%25`, `%7B`, `%7D` and `%3D`, and
    /// what would be too long ends in a hash of the whole, so that different keys keep different ids.
    pub fn key(name: &str, value: &str) -> Self {
        let mut text = String::with_capacity(name.len() + 1 + value.len());
        let mut escape = |part: &str, is_name: bool| {
            for character in part.chars() {
                match character {
                    '%' => text.push_str("%25"),
                    '{' => text.push_str("%7B"),
                    '}' => text.push_str("%7D"),
                    '=' if is_name => text.push_str("%3D"),
                    other => text.push(other),
                }
            }
        };
        escape(name, true);
        escape("=", false);
        escape(value, false);
        if text.len() > ID_BYTES_MAX {
            let hash = xxhash_rust::xxh3::xxh3_128(text.as_bytes());
            let mut end = ID_BYTES_MAX - 33;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push_str(&format!("#{hash:032x}"));
        }
        Self(text.into())
    }

    /// The trace id, if this is the correlation of a trace.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.0.parse().ok()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CorrelationId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() || text.len() > ID_BYTES_MAX || text.contains(['{', '}']) {
            let allowed = "1 to 256 bytes without braces: a trace id or key=value";
            return Err(InvalidId::new("correlation id", text, allowed));
        }
        Ok(match text.parse() {
            Ok(trace_id) => Self::trace(trace_id),
            Err(_) => Self(text.into()),
        })
    }
}

impl TryFrom<String> for CorrelationId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<CorrelationId> for String {
    fn from(id: CorrelationId) -> Self {
        String::from(&*id.0)
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

/// Whose state it is. Empty unless tenants are switched on.
///
/// At most 128 bytes of UTF-8 without braces and without `/`, which ends the tenant in a store's key.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The tenant as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tenant {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() > TENANT_BYTES_MAX || text.contains(['{', '}', '/']) {
            let allowed = "at most 128 bytes without braces and slashes";
            return Err(InvalidId::new("tenant", text, allowed));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// Identity of a correlation: its tenant and its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CorrelationKey {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its name within the tenant.
    pub id: CorrelationId,
}

impl fmt::Display for CorrelationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tenant.as_str().is_empty() {
            write!(formatter, "{}", self.id)
        } else {
            write!(formatter, "{}/{}", self.tenant, self.id)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_written_in_lower_case() {
        let id: CorrelationId = "5B8EFFF798038103D269B633813FC60C".parse().unwrap();
        assert_eq!(id.as_str(), "5b8efff798038103d269b633813fc60c");
        assert_eq!(id.trace_id().unwrap().to_string(), id.as_str());
    }

    #[test]
    fn a_zero_or_short_trace_id_is_none() {
        assert!("0".repeat(32).parse::<TraceId>().is_err());
        assert!("ab".parse::<TraceId>().is_err());
        assert!("é".repeat(16).parse::<TraceId>().is_err());
    }

    #[test]
    fn an_id_with_braces_is_refused() {
        assert!("order={7}".parse::<CorrelationId>().is_err());
        assert!("".parse::<CorrelationId>().is_err());
        assert!("x".repeat(257).parse::<CorrelationId>().is_err());
        assert!("x".repeat(256).parse::<CorrelationId>().is_ok());
    }

    #[test]
    fn different_keys_keep_different_ids() {
        let plain = CorrelationId::key("order.id", "7");
        assert_eq!(plain.as_str(), "order.id=7");
        assert_ne!(CorrelationId::key("a", "{"), CorrelationId::key("a", "%7B"));
        assert_ne!(CorrelationId::key("a=b", "c"), CorrelationId::key("a", "b=c"));
        let long = "é".repeat(300);
        let (one, two) = (format!("{long}1"), format!("{long}2"));
        assert_ne!(CorrelationId::key("k", &one), CorrelationId::key("k", &two));
        for id in [CorrelationId::key("k", &one), CorrelationId::key("{}", "%")] {
            assert_eq!(id.as_str().parse::<CorrelationId>().unwrap(), id, "is itself a valid id");
        }
    }

    #[test]
    fn a_tenant_cannot_reach_into_another() {
        assert!("a/b".parse::<Tenant>().is_err());
        assert!("a{b".parse::<Tenant>().is_err());
        assert_eq!("".parse::<Tenant>().unwrap(), Tenant::default());
    }
}
