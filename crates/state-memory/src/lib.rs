//! Correlation state in the memory of one process.
