//! What the benchmarks share: traffic, CPU and memory accounting, medians, the machine they ran on,
//! figures with marks and how they are told.

pub mod cores;
pub mod cpu;
pub mod figure;
pub mod machine;
pub mod memory;
pub mod report;
pub mod run;
pub mod statistics;
pub mod text;
pub mod traffic;
