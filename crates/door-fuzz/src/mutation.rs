//! Changes that parsers are known to trip over: bits, borders, repetitions, words of the format.

use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};

/// Most bytes of an input: enough to cross every border that a parser has, and still quick.
const BYTES_MAX: usize = 64 << 10;
/// Most changes to one input.
const CHANGES_MAX: usize = 8;
/// Bytes at the borders of varints, lengths, ASCII and UTF-8.
const BORDERS: [u8; 12] = [0, 1, 8, 0x0a, 0x12, 0x22, 0x7f, 0x80, 0xc0, 0xed, 0xfe, 0xff];

/// An input of the corpus with a few changes.
pub(crate) fn mutate(corpus: &[Vec<u8>], words: &[&str], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = corpus.choose(random).cloned().unwrap_or_default();
    for _ in 0..random.random_range(1..=CHANGES_MAX) {
        change(&mut bytes, corpus, words, random);
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&str], random: &mut StdRng) {
    let place = random.random_range(0..=bytes.len());
    // Mostly short pieces, sometimes the whole rest.
    let length_max = if random.random_ratio(1, 8) { bytes.len() } else { 16 };
    let end = bytes.len().min(place + random.random_range(0..=length_max));
    match random.random_range(0..9_u8) {
        0 => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << random.random_range(0..8_u8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = BORDERS.choose(random).copied().unwrap_or_default();
            }
        }
        2 => bytes.insert(place, random.random()),
        3 => drop(bytes.drain(place..end)),
        4 => bytes.truncate(place),
        5 => {
            let piece = bytes[place..end].repeat(random.random_range(1..=32));
            bytes.splice(place..place, piece);
        }
        6 => {
            // A length that is not true.
            let length = [0xff, 0xff, 0xff, 0xff, random.random_range(0..=0x1f)];
            bytes.splice(place..end.min(place + 1), length);
        }
        7 => {
            if let Some(word) = words.choose(random) {
                let is_many = random.random_ratio(1, 16);
                let count = if is_many { random.random_range(1..2_000) } else { 1 };
                bytes.splice(place..end, word.repeat(count).into_bytes());
            }
        }
        _ => {
            if let Some(other) = corpus.choose(random) {
                let from = random.random_range(0..=other.len());
                bytes.splice(place.., other[from..].iter().copied());
            }
        }
    }
}
