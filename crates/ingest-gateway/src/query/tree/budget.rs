//! How much an answer may still take.

/// Room for so many entries of so many bytes together, before they are escaped for JSON.
pub(super) struct Budget {
    entries: usize,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(entries: usize, bytes: usize) -> Self {
        Self { entries, bytes }
    }

    /// Takes room for one more entry, if there is some.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let is_left = self.entries > 0 && bytes <= self.bytes;
        if is_left {
            self.entries -= 1;
            self.bytes -= bytes;
        }
        is_left
    }
}
