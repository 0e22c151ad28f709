//! What the benchmarks share: traffic, CPU accounting, medians, the machine they ran on.

pub mod cpu;
pub mod machine;
pub mod statistics;
pub mod text;
pub mod traffic;
