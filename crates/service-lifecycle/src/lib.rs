//! Boot, ready, drain and exit, the same for every process.
