//! What the benchmarks share: traffic, CPU and memory accounting, medians, the machine they ran on.

pub mod cores;
pub mod cpu;
pub mod machine;
pub mod memory;
pub mod statistics;
pub mod text;
pub mod traffic;
