//! What it costs in a month, from prices that are given.

use clap::Args;
use serde::Serialize;

use crate::units;

/// Hours of a month.
const HOURS: f64 = 730.0;
pub(crate) const SECONDS_PER_MONTH: f64 = HOURS * 3_600.0;

/// Prices; without one, what it is for costs nothing.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct Prices {
    /// Price of a core for a month
    #[arg(long, value_name = "PRICE", value_parser = units::price)]
    pub price_core_month: Option<f64>,
    /// Price of a GiB of memory for a month
    #[arg(long, value_name = "PRICE", value_parser = units::price)]
    pub price_gib_month: Option<f64>,
    /// Price of a GiB over the network, for all traffic of all parts
    #[arg(long, value_name = "PRICE", value_parser = units::price)]
    pub price_gib_network: Option<f64>,
    /// What prices are in
    #[arg(long, value_name = "NAME", default_value = "USD")]
    pub currency: String,
}

/// The cost of a month.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// What it is in.
    pub currency: String,
    /// Of all cores that are provided.
    pub cores: f64,
    /// Of all memory that is provided.
    pub memory: f64,
    /// Of everything that goes over the network.
    pub network: f64,
    /// Of all this.
    pub total: f64,
}

impl Prices {
    /// The cost of what is provided; `None` without any price.
    pub fn cost(&self, cores: f64, gib: f64, network_gib: f64) -> Option<Cost> {
        let Self { price_core_month, price_gib_month, price_gib_network, currency } = self;
        let prices = [*price_core_month, *price_gib_month, *price_gib_network];
        if prices.iter().all(Option::is_none) {
            return None;
        }
        let [core, memory, network] = prices.map(Option::unwrap_or_default);
        let (cores, memory, network) = (cores * core, gib * memory, network_gib * network);
        Some(Cost { currency: currency.clone(), cores, memory, network, total: cores + memory + network })
    }
}
