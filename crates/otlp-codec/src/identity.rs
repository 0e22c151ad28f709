//! The 128-bit names by which a span or log record is recognised when it arrives again.

use xxhash_rust::xxh3::Xxh3;

/// Names a span within its trace: span id, four zero bytes, kind (big-endian).
///
/// The kind belongs to it because client and server may share one span id (Zipkin's model).
pub(crate) fn of_span(span_id: [u8; 8], kind: u32) -> [u8; 16] {
    let mut identity = [0; 16];
    identity[..8].copy_from_slice(&span_id);
    identity[12..].copy_from_slice(&kind.to_be_bytes());
    identity
}

/// Names log records, which have no id of their own, by their content.
///
/// XXH3-128 of resource head, scope head and record, each preceded by its length (64-bit,
/// little-endian), plus the ordinal among equal records of one request, big-endian.
#[derive(Clone)]
pub(crate) struct LogHasher {
    /// The state after what is common: hashed once, however many scopes and records follow.
    heads: Xxh3,
}

impl LogHasher {
    pub(crate) fn of_resource(head: &[u8]) -> Self {
        let mut heads = Xxh3::new();
        update(&mut heads, head);
        Self { heads }
    }

    pub(crate) fn with_scope(&self, head: &[u8]) -> Self {
        let mut hasher = self.clone();
        update(&mut hasher.heads, head);
        hasher
    }

    pub(crate) fn hash(&self, record: &[u8]) -> u128 {
        let mut state = self.heads.clone();
        update(&mut state, record);
        state.digest128()
    }
}

/// Names the record with that hash; `ordinal` counts the equal ones before it in the request.
pub(crate) fn of_log(hash: u128, ordinal: u32) -> [u8; 16] {
    hash.wrapping_add(u128::from(ordinal)).to_be_bytes()
}

fn update(state: &mut Xxh3, piece: &[u8]) {
    state.update(&(piece.len() as u64).to_le_bytes());
    state.update(piece);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(resource_head: &[u8], scope_head: &[u8]) -> LogHasher {
        LogHasher::of_resource(resource_head).with_scope(scope_head)
    }

    #[test]
    fn a_span_is_named_by_its_id_and_kind() {
        assert_eq!(of_span([1, 2, 3, 4, 5, 6, 7, 8], 3), [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 3]);
    }

    #[test]
    fn the_borders_between_the_hashed_pieces_count() {
        let hash = hasher(b"ab", b"c").hash(b"d");
        assert_eq!(hash, hasher(b"ab", b"c").hash(b"d"));
        assert_ne!(hash, hasher(b"a", b"bc").hash(b"d"));
        assert_ne!(hash, hasher(b"ab", b"").hash(b"cd"));
    }

    /// Stored identities must stay valid across versions.
    #[test]
    fn a_log_keeps_its_name_across_versions() {
        let hash = hasher(b"resource", b"scope").hash(b"record");
        // Computed with Python's xxhash.
        assert_eq!(hash, 0x6bd2_9cdf_cac4_51f8_b15c_88ad_263d_4f24);
        assert_eq!(of_log(u128::MAX, 1), [0; 16]);
    }
}
