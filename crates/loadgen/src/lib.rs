//! Seeded OTLP traffic: what is sent, what must come out of it, and whether it did.
//!
//! * [`traffic`] makes requests from a seed, [`dataset`] reads recorded ones;
//! * [`plan`] decides who sends what where, [`sender`] does it;
//! * [`store`] reads correlations back, [`expectation`] compares them with what was sent,
//!   [`tree`] shows one to people;
//! * [`load`] is traffic for sizing, which costs next to nothing to make;
//! * [`replay`], [`send`], [`demo`] and [`load`] are the commands.

pub mod answer;
pub mod content;
pub mod dataset;
pub mod demo;
pub mod expectation;
pub mod load;
pub mod otlp_json;
pub mod output;
pub mod plan;
pub mod replay;
pub mod request;
pub mod send;
pub mod sender;
pub mod store;
pub mod targets;
pub mod traffic;
pub mod tree;
