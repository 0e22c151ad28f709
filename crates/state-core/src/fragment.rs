//! Fragments: the part of one OTLP request that belongs to one correlation, and its facts.

use std::{collections::BTreeSet, fmt, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Which kind of telemetry a fragment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Spans: the payload is an OTLP `TracesData`.
    Traces,
    /// Log records: the payload is an OTLP `LogsData`.
    Logs,
}

/// Name of a fragment: a 128-bit hash of its signal and its bytes.
///
/// Equal bytes have equal names, so a resent request is recognised.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentId([u8; 16]);

impl FragmentId {
    /// Takes a name as a store kept it.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes of the hash.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for FragmentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for FragmentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// What makes a span or log record the same one in whatever batch it comes: 16 bytes, opaque here.
pub type Identity = [u8; 16];

/// A resource that took part: where telemetry came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// `service.name` of the resource.
    pub service: String,
    /// Deployment environment of the resource; empty when it names none.
    pub env: String,
}

/// The span a trace starts with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Root {
    /// Service of the root span.
    pub service: String,
    /// Name of the root span.
    pub name: String,
}

/// What a store has to know about a fragment without reading its payload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Spans with status ERROR, log records of severity ERROR and above.
    pub errors: u32,
    /// Earliest start of a span or time of a log record, to the microsecond.
    pub first_event: Option<DateTime<Utc>>,
    /// Latest end of a span or time of a log record, to the microsecond.
    pub last_event: Option<DateTime<Utc>>,
    /// The resources in the fragment, each once.
    pub origins: Vec<Origin>,
    /// The root span, if the fragment holds it.
    pub root: Option<Root>,
    /// Configured correlation keys found, as (name, value).
    pub keys: BTreeSet<(String, String)>,
}

/// The part of one OTLP request that belongs to one correlation. Immutable, cheap to clone.
///
/// Its serde form holds the payload as base64; the name is computed again when it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Parts", into = "Parts")]
pub struct Fragment {
    id: FragmentId,
    parts: Arc<Parts>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Parts {
    signal: Signal,
    facts: Facts,
    #[serde(with = "hex_list")]
    identities: Vec<Identity>,
    #[serde(with = "base64_bytes")]
    payload: Bytes,
}

impl From<Parts> for Fragment {
    fn from(parts: Parts) -> Self {
        let seed = match parts.signal {
            Signal::Traces => 0,
            Signal::Logs => 1,
        };
        let id = FragmentId(xxh3_128_with_seed(&parts.payload, seed).to_be_bytes());
        Self { id, parts: Arc::new(parts) }
    }
}

impl From<Fragment> for Parts {
    fn from(fragment: Fragment) -> Self {
        Arc::unwrap_or_clone(fragment.parts)
    }
}

impl Fragment {
    /// Names the fragment and takes it as it is.
    ///
    /// `identities` holds one for each span or log record in `payload`.
    pub fn new(signal: Signal, payload: Bytes, identities: Vec<Identity>, facts: Facts) -> Self {
        Parts { signal, facts, identities, payload }.into()
    }

    /// Its name.
    pub fn id(&self) -> FragmentId {
        self.id
    }

    /// Whether it holds spans or log records.
    pub fn signal(&self) -> Signal {
        self.parts.signal
    }

    /// What is known without reading the payload.
    pub fn facts(&self) -> &Facts {
        &self.parts.facts
    }

    /// Identities of its spans or log records.
    pub fn identities(&self) -> &[Identity] {
        &self.parts.identities
    }

    /// An encoded OTLP `TracesData` or `LogsData`.
    pub fn payload(&self) -> &Bytes {
        &self.parts.payload
    }

    /// Number of spans in it; 0 if it holds log records.
    pub fn spans(&self) -> u64 {
        self.items(Signal::Traces)
    }

    /// Number of log records in it; 0 if it holds spans.
    pub fn logs(&self) -> u64 {
        self.items(Signal::Logs)
    }

    fn items(&self, signal: Signal) -> u64 {
        if self.parts.signal == signal { self.parts.identities.len() as u64 } else { 0 }
    }
}

mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Bytes::from).map_err(Error::custom)
    }
}

mod hex_list {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::Identity;

    pub(super) fn serialize<S: Serializer>(list: &[Identity], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(|identity| format!("{:032x}", u128::from_be_bytes(*identity))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Identity>, D::Error> {
        Vec::<String>::deserialize(deserializer)?
            .iter()
            .map(|text| u128::from_str_radix(text, 16).map(u128::to_be_bytes).map_err(Error::custom))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_have_equal_names_and_signals_do_not_mix() {
        let name = |signal, payload: &'static [u8]| {
            Fragment::new(signal, Bytes::from_static(payload), vec![], Facts::default()).id()
        };
        assert_eq!(name(Signal::Traces, b"a"), name(Signal::Traces, b"a"));
        assert_ne!(name(Signal::Traces, b"a"), name(Signal::Traces, b"b"));
        assert_ne!(name(Signal::Traces, b"a"), name(Signal::Logs, b"a"));
    }
}
