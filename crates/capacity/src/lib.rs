//! How many engines, gateways and Redis servers a load needs, what they use and what they cost.
//!
//! A [`Demand`] is what comes; [`Costs`] are what a span of it takes, put together from measured
//! [`figures`] or from a report of `loadgen load` ([`Measured`]); a [`Plan`] is what has to be there for it,
//! with the reasons. Nothing here reads or writes: `engine capacity` does.

pub mod costs;
pub mod demand;
pub mod figures;
mod measured;
pub mod plan;
mod price;
mod table;
mod units;

pub use costs::Costs;
pub use demand::{Demand, Door};
pub use measured::{InvalidReport, Measured};
pub use plan::Plan;
pub use price::{Cost, Prices};
