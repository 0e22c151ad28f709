//! Delivers closed correlations to OTLP endpoints, at least once, with the store as the queue.
//!
//! A generation that was closed is an event in the outbox of the store until every endpoint has it.
//! Whoever closes it hands it over at once ([`Offer::hand_over`]) and has [`Offer::outbox`] to deliver it
//! from memory; what it does not deliver by then, any replica takes from the outbox. So there is no
//! queue on a disk and none that has to be drained: what is in memory here is only ahead of the store.
//!
//! Each signal of an endpoint is a lane of its own, with its own queue, requests and back-off: whatever
//! one of them does, the others go on.

#![warn(missing_docs)]

mod client;
mod config;
mod delivery;
mod endpoint;
mod in_flight;
mod lane;
mod lanes;
mod metric;
mod outbox;
mod outgoing;
mod roster;
#[cfg(test)]
mod sample;
mod settle;

pub use config::{DeliveryConfig, Protocol};
pub use delivery::{Delivery, Handle, Offer};
pub use endpoint::EndpointError;
pub use metric::METRICS;
