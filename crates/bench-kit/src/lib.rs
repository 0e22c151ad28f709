//! What the benchmarks share: traffic and what is measured with it, as real processes; CPU and memory
//! accounting, medians, the machine they ran on, figures with marks and how they are told.

pub mod cores;
pub mod cpu;
pub mod deployment;
pub mod figure;
pub mod load;
pub mod machine;
pub mod memory;
pub mod pypi;
pub mod report;
pub mod rotel;
pub mod run;
pub mod samples;
pub mod sink;
pub mod statistics;
pub mod text;
pub mod traffic;
