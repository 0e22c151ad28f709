//! Fields of a correlation's HASH, and the bytes in them.
//!
//! | field | holds |
//! |---|---|
//! | `m` | numbers, little-endian, in the order of [`Meta`]; written by every append |
//! | `l` | labels: the distinct label texts of the fragments, each between two bytes 0x1e |
//! | `s` | where it stands between creation and close, in the order of [`State`]; only once it was claimed, set or full |
//! | `e` | events that nobody has removed: for each its generation, the numbers of fragments of earlier generations and of this one with them (4 bytes each), when it was closed (8 bytes), how many spans and log records it is about, the lengths of what follows (4 bytes each): who has it (8 bytes each), its note |
//! | `u` | JSON of what a user has set; only after `set` |
//! | `o0`, `o1`, … | names of the fragments in order of arrival, 16 bytes each, 64 in each field |
//! | 16 bytes: the fragment's name | the packed fragment (`packed.rs`) |

use chrono::{DateTime, Utc};
use state_core::{
    CorrelationId, Counts, Fragment, Labels, Origin, Overrides, Receiver, Root, Status, Summary,
};

/// Numbers of a correlation.
pub(crate) const META: &str = "m";
/// Labels of a correlation.
pub(crate) const LABELS: &str = "l";
/// Where it stands between creation and close.
pub(crate) const STATE: &str = "s";
/// Events that nobody has removed.
pub(crate) const EVENTS: &str = "e";
/// Begins the names of the fields that hold the order of arrival.
pub(crate) const ORDER: &str = "o";
/// Fragments of which one such field holds the names: few enough that adding one costs little, and as
/// many as in `scripts/meta.lua`.
pub(crate) const CHUNK: usize = 64;
/// What a user has set.
pub(crate) const OVERRIDES: &str = "u";

/// Stands for no event time: a microsecond before 1970, which OTLP cannot express.
pub(crate) const NO_EVENT: i64 = -1;

/// Begins and ends a label text, so that one is found as a whole. Cut out of names, where it has no
/// business.
const LABEL_END: u8 = 0x1e;
/// Stands between the parts of a label.
const PART_END: u8 = 0x1f;

/// What could not be read back.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(pub(crate) &'static str);

/// The numbers in field `m`. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) first_seen: i64,
    pub(crate) last_updated: i64,
    /// When the correlation is gone, unless something arrives before.
    pub(crate) expires: i64,
    pub(crate) counts: Counts,
}

/// Bytes of field `m`: four counts of 4 bytes, nine numbers of 8 bytes.
const META_BYTES: usize = 4 * 4 + 9 * 8;

impl Meta {
    /// Reads field `m`. The order is the one in `scripts/meta.lua`: first_seen, last_updated, expires,
    /// and the scripts' own TTL, index time and guard; fragments, spans, logs and errors as counts;
    /// bytes, first and last event.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let bytes: &[u8; META_BYTES] =
            bytes.try_into().map_err(|_| Unreadable("field m has another length"))?;
        let number = |at: usize| number(bytes, at);
        let (first_seen, last_updated, expires) = (number(0), number(8), number(16));
        let [spans, logs, errors] = [52, 56, 60].map(|at| u64::from(count(bytes, at)));
        let (bytes, first_event, last_event) = (number(64) as u64, number(72), number(80));
        let event = |micros| if micros == NO_EVENT { None } else { DateTime::from_timestamp_micros(micros) };
        let counts = Counts {
            spans,
            logs,
            errors,
            bytes,
            first_event: event(first_event),
            last_event: event(last_event),
        };
        Ok(Self { first_seen, last_updated, expires, counts })
    }

    pub(crate) fn first_seen(&self) -> Result<DateTime<Utc>, Unreadable> {
        time(self.first_seen)
    }

    pub(crate) fn last_updated(&self) -> Result<DateTime<Utc>, Unreadable> {
        time(self.last_updated)
    }
}

/// The little-endian number of 8 bytes at a place that is known to be there.
fn number(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(*bytes[at..].first_chunk().expect("the length was checked"))
}

/// The count of 4 bytes at such a place.
fn count(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the length was checked"))
}

/// A stored time.
pub(crate) fn time(micros: i64) -> Result<DateTime<Utc>, Unreadable> {
    DateTime::from_timestamp_micros(micros).ok_or(Unreadable("what should be a time is none"))
}

/// What a claim or a summary needs of field `s`: the scripts keep the rest for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// Arrival of the first fragment of this generation, in microseconds since 1970.
    pub(crate) opened: i64,
    /// Of the claim that holds it.
    pub(crate) fence: i64,
    /// Generations closed with an event.
    pub(crate) generation: u32,
    /// Fragments that earlier generations held.
    pub(crate) earlier: u32,
    is_closed: bool,
    pub(crate) is_full: bool,
}

impl State {
    /// Reads field `s`. The order is the one in `scripts/meta.lua`: opened, look, lease, fence and
    /// finished (8 bytes each); generation, earlier, and spans and log records that were settled and
    /// that are stored without an event (4 bytes each); closed and full (1 byte each).
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let bytes: &[u8; 66] = bytes.try_into().map_err(|_| Unreadable("field s has another length"))?;
        Ok(Self {
            opened: number(bytes, 0),
            fence: number(bytes, 24),
            generation: count(bytes, 40),
            earlier: count(bytes, 44),
            is_closed: bytes[64] == 1,
            is_full: bytes[65] == 1,
        })
    }
}

/// A closed generation, as field `e` keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) generation: u32,
    /// Fragments of earlier generations.
    pub(crate) from: u32,
    /// Those of this one with them.
    pub(crate) to: u32,
    pub(crate) closed: i64,
    pub(crate) delivered: Vec<Receiver>,
    pub(crate) note: String,
}

/// Reads field `e`.
pub(crate) fn read_records(mut bytes: &[u8]) -> Result<Vec<Record>, Unreadable> {
    const CUT_SHORT: Unreadable = Unreadable("field e is cut short");
    fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Unreadable> {
        let (taken, rest) = bytes.split_first_chunk().ok_or(CUT_SHORT)?;
        *bytes = rest;
        Ok(*taken)
    }
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let [generation, from, to] =
            [take(&mut bytes)?, take(&mut bytes)?, take(&mut bytes)?].map(u32::from_le_bytes);
        let closed = i64::from_le_bytes(take(&mut bytes)?);
        // How many items it is about is the ledger's.
        let [_spans, _logs, receivers, length] =
            [take(&mut bytes)?, take(&mut bytes)?, take(&mut bytes)?, take(&mut bytes)?]
                .map(|number| u32::from_le_bytes(number) as usize);
        let (receivers, rest) = bytes.split_at_checked(receivers).ok_or(CUT_SHORT)?;
        let delivered = receivers.as_chunks().0.iter().map(|bytes| Receiver::from_bytes(*bytes)).collect();
        let (note, rest) = rest.split_at_checked(length).ok_or(CUT_SHORT)?;
        let note =
            std::str::from_utf8(note).map_err(|_| Unreadable("a note in field e is not UTF-8"))?.to_owned();
        records.push(Record { generation, from, to, closed, delivered, note });
        bytes = rest;
    }
    Ok(records)
}

/// The numbers of which the scripts keep sums and extremes, in their order.
pub(crate) fn numbers(counts: &Counts) -> [i64; 6] {
    let event = |time: Option<DateTime<Utc>>| time.map_or(NO_EVENT, |time| time.timestamp_micros());
    let Counts { spans, logs, errors, bytes, first_event, last_event } = counts;
    let counts = [spans, logs, errors, bytes].map(|count| *count as i64);
    [counts[0], counts[1], counts[2], counts[3], event(*first_event), event(*last_event)]
}

/// Writes the numbers and labels of one fragment, as `scripts/append.lua` reads them.
pub(crate) fn put_facts(out: &mut Vec<u8>, fragment: &Fragment) {
    let mut counts = Counts::default();
    counts.absorb(fragment);
    let [spans, logs, errors, bytes, first_event, last_event] = numbers(&counts);
    // A request is far below 4 GiB.
    let counts = [spans, logs, errors, bytes].map(|count| (count as u32).to_le_bytes());
    out.extend_from_slice(counts.as_flattened());
    out.extend_from_slice([first_event, last_event].map(i64::to_le_bytes).as_flattened());
    put_labels(out, fragment);
}

/// Names and values of the fields that hold the order of arrival.
pub(crate) fn order(names: &[[u8; 16]]) -> impl Iterator<Item = (String, &[u8])> {
    let chunks = names.chunks(CHUNK).enumerate();
    chunks.map(|(number, names)| (format!("{ORDER}{number}"), names.as_flattened()))
}

/// Writes the label texts of a fragment as they are searched for and stored.
fn put_labels(text: &mut Vec<u8>, fragment: &Fragment) {
    let mut label = |kind: u8, first: &str, second: &str| {
        text.extend([LABEL_END, kind]);
        text.extend(first.bytes().filter(printable));
        text.push(PART_END);
        text.extend(second.bytes().filter(printable));
        text.push(LABEL_END);
    };
    for origin in &fragment.facts().origins {
        label(b'o', &origin.service, &origin.env);
    }
    if let Some(root) = &fragment.facts().root {
        label(b'r', &root.service, &root.name);
    }
}

/// Which part of the order of arrival a field holds, if it does.
pub(crate) fn chunk_number(name: &[u8]) -> Option<u32> {
    std::str::from_utf8(name).ok()?.strip_prefix(ORDER)?.parse().ok()
}

/// Adds the label texts of a fragment that are not there yet, as `scripts/append.lua` does.
pub(crate) fn add_labels(known: &mut Vec<u8>, fragment: &Fragment) {
    let mut new = Vec::new();
    put_labels(&mut new, fragment);
    let texts = |labels: &[u8]| -> Vec<Vec<u8>> {
        let texts = labels.split(|byte| *byte == LABEL_END).filter(|text| !text.is_empty());
        texts.map(<[u8]>::to_vec).collect()
    };
    let there = texts(known);
    for text in texts(&new).into_iter().filter(|text| !there.contains(text)) {
        known.push(LABEL_END);
        known.extend(text);
        known.push(LABEL_END);
    }
}

fn printable(byte: &u8) -> bool {
    !matches!(*byte, LABEL_END | PART_END)
}

fn read_labels(bytes: &[u8]) -> Result<Labels, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable("field l is not UTF-8"))?;
    let mut labels = Labels::default();
    for label in text.split(char::from(LABEL_END)).filter(|label| !label.is_empty()) {
        let mut characters = label.chars();
        let kind = characters.next();
        let parts = characters.as_str().split_once(char::from(PART_END));
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

/// Reads a summary from fields `m`, `l`, `u` and `s`.
pub(crate) fn summary(
    id: CorrelationId,
    meta: &Meta,
    labels: Option<&[u8]>,
    overrides: Option<&[u8]>,
    state: Option<&[u8]>,
) -> Result<Summary, Unreadable> {
    let labels = read_labels(labels.unwrap_or_default())?;
    let overrides = read_overrides(overrides)?;
    let counts = meta.counts.clone();
    let is_closed = state.map(State::read).transpose()?.is_some_and(|state| state.is_closed);
    let status = if is_closed { Status::Closed } else { Status::Active };
    let summary = Summary::fold(id, meta.first_seen()?, meta.last_updated()?, counts, &labels, &overrides);
    Ok(Summary { status: Some(status), ..summary })
}
