//! Hash maps over what clients send: fast, and seeded so that nobody can aim at one bucket.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A map with a random seed of its own. Never iterated: its order would not be reproducible.
pub(crate) type SeededMap<K, V> = HashMap<K, V, Seed>;

/// The seed, taken from the standard library's random source.
#[derive(Clone)]
pub(crate) struct Seed(u64);

impl Default for Seed {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0_u64))
    }
}

impl BuildHasher for Seed {
    type Hasher = Xxh3;

    fn build_hasher(&self) -> Xxh3 {
        Xxh3(self.0)
    }
}

/// XXH3, where the hash of one piece is the seed of the next.
pub(crate) struct Xxh3(u64);

impl Hasher for Xxh3 {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
