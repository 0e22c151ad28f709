//! What came out compared with what was sent, span by span: for proofs that break things on purpose.
//!
//! * [`recording`] and [`disguise`] make many copies of one recording, [`book`] knows which trace is which copy;
//! * [`plan`] says when what is sent through which door;
//! * [`cluster`] is what is put to the proof, [`sink`] the endpoint that it delivers to;
//! * [`apart`] recognises what comes out, [`delivered`] notes it, [`check`] compares it with what was sent,
//!   and [`arrival`] knows what can have been a generation of its own;
//! * [`store`] and [`readback`] ask what users would ask, [`redis`] what no API tells;
//! * [`mutation`] spoils a proof on purpose, [`sample`] is small telemetry by numbers.

pub mod apart;
pub mod arrival;
pub mod book;
pub mod check;
pub mod cluster;
pub mod delivered;
pub mod disguise;
pub mod mutation;
pub mod plan;
pub mod readback;
pub mod recording;
pub mod redis;
pub mod sample;
pub mod sink;
pub mod store;
