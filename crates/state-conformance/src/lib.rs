//! The contract of `StateManager` as named cases that every backend runs.
