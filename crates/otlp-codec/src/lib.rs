//! OTLP bytes taken apart and put together: pure functions, no I/O, no decoding into structs.
//!
//! * [`split_traces`] and [`split_logs`] cut an export request into one [`Part`] per trace or
//!   correlation key, with the [`Facts`] a store wants to know about it.
//! * [`partition_traces`] and [`partition_logs`] cut one into smaller requests for several places.
//! * [`select_traces`] and [`select_logs`] take some of the items out of a part.
//! * [`merge_traces`] and [`merge_logs`] read parts back as one message without duplicates.
//! * [`Structure`] tells whether a trace is whole, [`Outline`] where it begins and what it is linked with.
//! * [`forest`] puts spans under their parents, for people.
//! * [`json`] turns OTLP/JSON into protobuf and back.
//!
//! Spans and log records are copied byte for byte and never re-encoded: fields that this version
//! does not know survive. Every function is a pure function of its bytes, so a request that is sent
//! again is split the same way. No input makes it panic.

mod attributes;
mod envelope;
mod facts;
pub mod forest;
mod identity;
pub mod json;
mod log_record;
mod merge;
mod outline;
mod partition;
mod seeded;
mod select;
mod span;
mod split;
mod structure;
mod text;
mod text_patterns;
mod wire;

pub use attributes::SplitOptions;
pub use facts::{Facts, Origin, Root, UNKNOWN_SERVICE};
pub use merge::{Merged, merge_logs, merge_traces};
pub use outline::{Outline, Top};
pub use partition::{Share, partition_logs, partition_traces};
pub use select::{select_logs, select_traces};
pub use split::{PARTS_BYTES_MAX, Part, RejectReason, Rejected, Split, Subject, split_logs, split_traces};
pub use structure::Structure;
pub use text_patterns::InvalidPattern;
pub use wire::DecodeError;
