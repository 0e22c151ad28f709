//! A fragment as it is stored: LZ4 of its signal, facts, identities and payload.
//!
//! The length before compression (4 bytes) stands before it.
//!
//! | part | form |
//! |---|---|
//! | signal | 1 byte: 0 spans, 1 log records |
//! | facts | errors (4 bytes), first and last event (8 bytes each, microseconds since 1970, -1 for none), then counted lists of texts: origins in pairs, root as at most one pair, keys in pairs |
//! | identities | their number (4 bytes), 16 bytes each |
//! | payload | the rest |
//!
//! Numbers are little-endian; a count and a text's length take 4 bytes. Compression finds the span
//! ids of the identities again in the payload.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use state_core::{Facts, Fragment, FragmentId, Origin, Root, Signal};

use crate::field::{NO_EVENT, Unreadable};

/// Packs fragments one after the other, with the same memory to work in.
pub(crate) struct Packer {
    plain: Vec<u8>,
    packed: Vec<u8>,
    table: CompressTable,
}

impl Packer {
    pub(crate) fn new() -> Self {
        Self { plain: Vec::new(), packed: Vec::new(), table: CompressTable::large() }
    }

    /// Packs a fragment, and writes it behind what is there.
    pub(crate) fn pack(&mut self, fragment: &Fragment, out: &mut Vec<u8>) {
        let (facts, plain) = (fragment.facts(), &mut self.plain);
        plain.clear();
        plain.push(match fragment.signal() {
            Signal::Traces => 0,
            Signal::Logs => 1,
        });
        plain.extend_from_slice(&facts.errors.to_le_bytes());
        for event in [facts.first_event, facts.last_event] {
            let micros = event.map_or(NO_EVENT, |time| time.timestamp_micros());
            plain.extend_from_slice(&micros.to_le_bytes());
        }
        put_pairs(plain, facts.origins.len(), origins(facts));
        put_pairs(plain, usize::from(facts.root.is_some()), roots(facts));
        put_pairs(plain, facts.keys.len(), keys(facts));
        put_count(plain, fragment.identities().len());
        plain.extend_from_slice(fragment.identities().as_flattened());
        plain.extend_from_slice(fragment.payload());
        put_count(out, plain.len());
        let most = get_maximum_output_size(plain.len());
        if self.packed.len() < most {
            self.packed.resize(most, 0);
        }
        let written = compress_into_with_table(plain, &mut self.packed, &mut self.table)
            .expect("there is room for the largest output");
        out.extend_from_slice(&self.packed[..written]);
    }
}

fn origins(facts: &Facts) -> impl Iterator<Item = (&str, &str)> {
    facts.origins.iter().map(|origin| (origin.service.as_str(), origin.env.as_str()))
}

fn roots(facts: &Facts) -> impl Iterator<Item = (&str, &str)> {
    facts.root.iter().map(|root| (root.service.as_str(), root.name.as_str()))
}

fn keys(facts: &Facts) -> impl Iterator<Item = (&str, &str)> {
    facts.keys.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

fn put_count(plain: &mut Vec<u8>, count: usize) {
    plain.extend_from_slice(&(count as u32).to_le_bytes());
}

fn put_pairs<'a>(plain: &mut Vec<u8>, count: usize, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    put_count(plain, count);
    for text in pairs.flat_map(|(one, other)| [one, other]) {
        put_count(plain, text.len());
        plain.extend_from_slice(text.as_bytes());
    }
}

/// Reads the field of the fragment with a name.
pub(crate) fn unpack(name: [u8; 16], packed: &[u8]) -> Result<Fragment, Unreadable> {
    let plain = lz4_flex::block::decompress_size_prepended(packed);
    let mut plain = Plain(plain.map_err(|_| Unreadable("a fragment cannot be decompressed"))?.into());
    let signal = match plain.number()? {
        [0] => Signal::Traces,
        [1] => Signal::Logs,
        _ => return Err(Unreadable("a fragment is of no known signal")),
    };
    let facts = Facts {
        errors: u32::from_le_bytes(plain.number()?),
        first_event: plain.event()?,
        last_event: plain.event()?,
        origins: plain.pairs()?.into_iter().map(|(service, env)| Origin { service, env }).collect(),
        root: plain.pairs()?.pop().map(|(service, name)| Root { service, name }),
        keys: plain.pairs()?.into_iter().collect(),
    };
    let count = plain.count()?;
    let identities = plain.take(count.saturating_mul(16))?;
    let identities = identities.as_chunks().0.to_vec();
    let fragment = Fragment::new(signal, plain.0, identities, facts);
    if fragment.id() != FragmentId::from_bytes(name) {
        return Err(Unreadable("a fragment's bytes do not have its name"));
    }
    Ok(fragment)
}

const CUT_SHORT: Unreadable = Unreadable("a fragment is cut short");

/// What is left to read of a fragment.
struct Plain(Bytes);

impl Plain {
    fn take(&mut self, length: usize) -> Result<Bytes, Unreadable> {
        if self.0.len() < length {
            return Err(CUT_SHORT);
        }
        Ok(self.0.split_to(length))
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let number = *self.0.first_chunk().ok_or(CUT_SHORT)?;
        bytes::Buf::advance(&mut self.0, N);
        Ok(number)
    }

    fn count(&mut self) -> Result<usize, Unreadable> {
        self.number().map(|count| u32::from_le_bytes(count) as usize)
    }

    fn event(&mut self) -> Result<Option<DateTime<Utc>>, Unreadable> {
        match i64::from_le_bytes(self.number()?) {
            NO_EVENT => Ok(None),
            micros => DateTime::from_timestamp_micros(micros)
                .map(Some)
                .ok_or(Unreadable("an event of a fragment has no time")),
        }
    }

    fn text(&mut self) -> Result<String, Unreadable> {
        let length = self.count()?;
        let bytes = self.take(length)?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| Unreadable("a text of a fragment is not UTF-8"))?;
        Ok(text.to_owned())
    }

    fn pairs(&mut self) -> Result<Vec<(String, String)>, Unreadable> {
        let count = self.count()?;
        (0..count).map(|_| Ok((self.text()?, self.text()?))).collect()
    }
}
