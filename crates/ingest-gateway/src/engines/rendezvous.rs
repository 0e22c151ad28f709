//! Which of several places a key belongs to: the same answer at every gateway, without talking.
//!
//! Rendezvous hashing with weights: each place has a score for the key, and the highest wins. When
//! a place comes, goes or changes its weight, only keys move that must.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A place that keys may belong to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The same at every gateway.
    pub(super) name: &'a str,
    /// Its part of all keys, in relation to the weights of the others. With 0 it gets none.
    pub(super) weight: u32,
}

/// Returns the index of the place; `None` when none has a weight.
pub(super) fn choose<'a>(key: u64, places: impl Iterator<Item = Place<'a>>) -> Option<usize> {
    let scores = places.map(|place| score(key, place)).enumerate().filter(|(_, score)| *score > 0.0);
    scores.max_by(|(_, left), (_, right)| left.total_cmp(right)).map(|(index, _)| index)
}

/// `-weight / ln(u)` for a random `u` between 0 and 1 wins with a probability of `weight` by the
/// sum of all weights.
fn score(key: u64, Place { name, weight }: Place<'_>) -> f64 {
    // 53 bits are what a double holds; the half keeps it off 0 and 1.
    let random = ((xxh3_64_with_seed(name.as_bytes(), key) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight) / random.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u64 = 20_000;

    fn place(name: &str, weight: u32) -> Place<'_> {
        Place { name, weight }
    }

    /// Keys spread over 64 bits, as hashes are.
    fn keys() -> impl Iterator<Item = u64> {
        (0..KEYS).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn chosen(key: u64, places: &[Place<'static>]) -> &'static str {
        places[choose(key, places.iter().copied()).unwrap()].name
    }

    #[test]
    fn every_place_gets_its_part() {
        let places = [place("stable", 90), place("canary", 10), place("off", 0)];
        let canary = keys().filter(|&key| chosen(key, &places) == "canary").count() as f64;
        let part = canary / KEYS as f64;
        assert!((0.09..0.11).contains(&part), "{part}");
        assert!(keys().all(|key| chosen(key, &places) != "off"));
    }

    #[test]
    fn the_order_of_places_does_not_matter() {
        let places = ["10.0.0.1:4317", "10.0.0.2:4317", "10.0.0.3:4317"].map(|name| place(name, 1));
        let reversed = [places[2], places[1], places[0]];
        assert!(keys().all(|key| chosen(key, &places) == chosen(key, &reversed)));
    }

    #[test]
    fn only_keys_of_the_place_that_is_gone_move() {
        let all = ["a", "b", "c"].map(|name| place(name, 1));
        for key in keys() {
            let (before, after) = (chosen(key, &all), chosen(key, &all[..2]));
            assert!(before == after || before == "c");
        }
    }

    #[test]
    fn a_greater_weight_takes_keys_and_gives_none() {
        let before = [place("stable", 90), place("canary", 10)];
        let after = [place("stable", 50), place("canary", 50)];
        for key in keys() {
            assert!(chosen(key, &before) == chosen(key, &after) || chosen(key, &after) == "canary");
        }
    }

    #[test]
    fn without_a_weight_there_is_no_place() {
        assert_eq!(choose(1, [place("a", 0)].into_iter()), None);
        assert_eq!(choose(1, std::iter::empty()), None);
    }
}
