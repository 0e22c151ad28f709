//! Fields of a correlation's HASH, and the bytes in them.
//!
//! | field | holds |
//! |---|---|
//! | `m` | numbers, little-endian, in the order of [`Meta`]; written by every append |
//! | `l` | labels: the distinct label texts of the fragments, each ended by 0x1e |
//! | `u` | JSON of what a user has set; only after `set` |
//! | 16 bytes: the fragment's name | order of arrival (4 bytes, little-endian), then the packed fragment |
//!
//! A packed fragment is LZ4 of: signal, facts as JSON with its length, number of identities, the
//! identities, the payload. Compression finds the span ids of the identities again in the payload.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use fred::prelude::Value;
use state_core::{
    CorrelationEntry, CorrelationId, Counts, Facts, Fragment, FragmentId, Labels, Origin, Overrides, Root,
    Signal, Summary,
};

/// Numbers of a correlation.
pub(crate) const META: &str = "m";
/// Labels of a correlation.
pub(crate) const LABELS: &str = "l";
/// What a user has set.
pub(crate) const OVERRIDES: &str = "u";

/// Stands for no event time: a microsecond before 1970, which OTLP cannot express.
const NO_EVENT: i64 = -1;

/// Ends a label text. Cut out of names, where it has no business.
const LABEL_END: char = '\u{1e}';
/// Stands between the parts of a label.
const PART_END: char = '\u{1f}';

/// What could not be read back.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(&'static str);

/// The numbers in field `m`. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) first_seen: i64,
    pub(crate) last_updated: i64,
    /// When the correlation is gone, unless something arrives before.
    pub(crate) expires: i64,
    pub(crate) counts: Counts,
}

/// Bytes of field `m`: thirteen numbers of 8 bytes.
const META_BYTES: usize = 13 * 8;

impl Meta {
    /// Reads field `m`. The order is the one in `scripts/meta.lua`.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        if bytes.len() != META_BYTES {
            return Err(Unreadable("field m has another length"));
        }
        let mut numbers = bytes
            .chunks_exact(8)
            .map(|number| i64::from_le_bytes(number.try_into().expect("a chunk of 8 bytes is 8 bytes long")));
        let mut next = || numbers.next().expect("the length was checked");
        let (first_seen, last_updated, expires) = (next(), next(), next());
        // TTL, last index time, guard and number of fragments are the scripts' own.
        let _own = (next(), next(), next(), next());
        let (spans, logs, errors, bytes) = (next(), next(), next(), next());
        let (first_event, last_event) = (next(), next());
        let event = |micros| if micros == NO_EVENT { None } else { DateTime::from_timestamp_micros(micros) };
        let counts = Counts {
            spans: spans as u64,
            logs: logs as u64,
            errors: errors as u64,
            bytes: bytes as u64,
            first_event: event(first_event),
            last_event: event(last_event),
        };
        Ok(Self { first_seen, last_updated, expires, counts })
    }

    pub(crate) fn first_seen(&self) -> Result<DateTime<Utc>, Unreadable> {
        DateTime::from_timestamp_micros(self.first_seen).ok_or(Unreadable("first_seen is no time"))
    }

    pub(crate) fn last_updated(&self) -> Result<DateTime<Utc>, Unreadable> {
        DateTime::from_timestamp_micros(self.last_updated).ok_or(Unreadable("last_updated is no time"))
    }
}

/// The numbers of which the scripts keep sums and extremes, in their order.
pub(crate) fn numbers(counts: &Counts) -> [i64; 6] {
    let event = |time: Option<DateTime<Utc>>| time.map_or(NO_EVENT, |time| time.timestamp_micros());
    let Counts { spans, logs, errors, bytes, first_event, last_event } = counts;
    let counts = [spans, logs, errors, bytes].map(|count| *count as i64);
    [counts[0], counts[1], counts[2], counts[3], event(*first_event), event(*last_event)]
}

/// The numbers of one fragment, as `scripts/append.lua` reads them.
pub(crate) fn facts(fragment: &Fragment) -> Bytes {
    let mut counts = Counts::default();
    counts.absorb(fragment);
    numbers(&counts).iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>().into()
}

/// The label texts of a fragment, each ended, as they are searched for and stored.
pub(crate) fn labels(fragment: &Fragment) -> String {
    let mut text = String::new();
    let mut label = |kind: char, first: &str, second: &str| {
        text.push(kind);
        text.extend(first.chars().filter(printable));
        text.push(PART_END);
        text.extend(second.chars().filter(printable));
        text.push(LABEL_END);
    };
    for origin in &fragment.facts().origins {
        label('o', &origin.service, &origin.env);
    }
    if let Some(root) = &fragment.facts().root {
        label('r', &root.service, &root.name);
    }
    text
}

/// Adds the label texts of a fragment that are not there yet, as `scripts/append.lua` does.
pub(crate) fn add_labels(known: &mut String, fragment: &Fragment) {
    for label in labels(fragment).split_inclusive(LABEL_END) {
        if !known.split_inclusive(LABEL_END).any(|known| known == label) {
            known.push_str(label);
        }
    }
}

fn printable(character: &char) -> bool {
    !matches!(*character, LABEL_END | PART_END)
}

fn read_labels(bytes: &[u8]) -> Result<Labels, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable("field l is not UTF-8"))?;
    let mut labels = Labels::default();
    for label in text.split_terminator(LABEL_END) {
        let mut characters = label.chars();
        let kind = characters.next();
        let parts = characters.as_str().split_once(PART_END);
        let (first, second) = parts.ok_or(Unreadable("a label in field l has no parts"))?;
        match kind {
            Some('o') => labels.absorb_origin(&Origin { service: first.into(), env: second.into() }),
            Some('r') => labels.absorb_root(&Root { service: first.into(), name: second.into() }),
            _ => return Err(Unreadable("a label in field l is of no known kind")),
        }
    }
    Ok(labels)
}

pub(crate) fn write_overrides(overrides: &Overrides) -> String {
    serde_json::to_string(overrides).expect("a map of texts has a JSON form")
}

pub(crate) fn read_overrides(bytes: Option<&[u8]>) -> Result<Overrides, Unreadable> {
    let Some(bytes) = bytes else { return Ok(Overrides::default()) };
    serde_json::from_slice(bytes).map_err(|_| Unreadable("field u is not the JSON of overrides"))
}

/// Reads a summary from fields `m`, `l` and `u`.
pub(crate) fn summary(
    id: CorrelationId,
    meta: &Meta,
    labels: Option<&[u8]>,
    overrides: Option<&[u8]>,
) -> Result<Summary, Unreadable> {
    let labels = read_labels(labels.unwrap_or_default())?;
    let overrides = read_overrides(overrides)?;
    let counts = meta.counts.clone();
    Ok(Summary::fold(id, meta.first_seen()?, meta.last_updated()?, counts, &labels, &overrides))
}

/// Reads a correlation from all its fields, names and values in turn; `None` if it is not there or
/// has expired.
pub(crate) fn read_entry(
    id: &CorrelationId,
    fields: Vec<Value>,
    now: i64,
) -> Result<Option<CorrelationEntry>, Unreadable> {
    let (mut meta, mut overrides, mut fragments) = (None, None, Vec::new());
    let mut fields = fields.into_iter().filter_map(Value::into_bytes);
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        if let Ok(name) = <[u8; 16]>::try_from(&name[..]) {
            fragments.push(unpack(name, &value)?);
        } else if name == META {
            meta = Some(Meta::read(&value)?);
        } else if name == OVERRIDES {
            overrides = Some(value);
        }
    }
    let Some(meta) = meta.filter(|meta| meta.expires > now) else { return Ok(None) };
    fragments.sort_by_key(|(order, _)| *order);
    let fragments = fragments.into_iter().map(|(_, fragment)| fragment).collect();
    let overrides = read_overrides(overrides.as_deref())?;
    let (first_seen, last_updated) = (meta.first_seen()?, meta.last_updated()?);
    Ok(Some(CorrelationEntry::fold(id.clone(), first_seen, last_updated, fragments, overrides)))
}

/// Packs a fragment; the script puts its order of arrival before it.
pub(crate) fn pack(fragment: &Fragment) -> Bytes {
    let facts = serde_json::to_vec(fragment.facts()).expect("facts have a JSON form");
    let (identities, payload) = (fragment.identities(), fragment.payload());
    let mut plain = Vec::with_capacity(16 + facts.len() + 16 * identities.len() + payload.len());
    plain.push(match fragment.signal() {
        Signal::Traces => 0,
        Signal::Logs => 1,
    });
    plain.extend_from_slice(&(facts.len() as u32).to_le_bytes());
    plain.extend_from_slice(&facts);
    plain.extend_from_slice(&(identities.len() as u32).to_le_bytes());
    identities.iter().for_each(|identity| plain.extend_from_slice(identity));
    plain.extend_from_slice(payload);
    lz4_flex::block::compress_prepend_size(&plain).into()
}

/// Reads a fragment's field; answers its order of arrival too.
pub(crate) fn unpack(name: [u8; 16], value: &[u8]) -> Result<(u32, Fragment), Unreadable> {
    let (order, packed) = value.split_at_checked(4).ok_or(Unreadable("a fragment is cut short"))?;
    let order = u32::from_le_bytes(order.try_into().expect("split at 4 bytes"));
    let plain = lz4_flex::block::decompress_size_prepended(packed);
    let mut plain = Bytes::from(plain.map_err(|_| Unreadable("a fragment cannot be decompressed"))?);
    let signal = match take(&mut plain, 1)?[0] {
        0 => Signal::Traces,
        1 => Signal::Logs,
        _ => return Err(Unreadable("a fragment is of no known signal")),
    };
    let length = take_length(&mut plain)?;
    let facts: Facts = serde_json::from_slice(&take(&mut plain, length)?)
        .map_err(|_| Unreadable("a fragment has no facts"))?;
    let length = take_length(&mut plain)?;
    let identities = take(&mut plain, length.saturating_mul(16))?;
    let identities =
        identities.chunks_exact(16).map(|chunk| chunk.try_into().expect("a chunk of 16 bytes")).collect();
    let fragment = Fragment::new(signal, plain, identities, facts);
    if fragment.id() != FragmentId::from_bytes(name) {
        return Err(Unreadable("a fragment's bytes do not have its name"));
    }
    Ok((order, fragment))
}

fn take(bytes: &mut Bytes, length: usize) -> Result<Bytes, Unreadable> {
    if bytes.len() < length {
        return Err(Unreadable("a fragment is cut short"));
    }
    Ok(bytes.split_to(length))
}

fn take_length(bytes: &mut Bytes) -> Result<usize, Unreadable> {
    let length = take(bytes, 4)?;
    Ok(u32::from_le_bytes(length[..].try_into().expect("4 bytes were taken")) as usize)
}
