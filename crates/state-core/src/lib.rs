//! The contract of correlation state: `StateManager`, its types and its errors.
