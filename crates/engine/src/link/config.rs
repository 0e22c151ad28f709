//! `[links]`: which traces are linked when they close.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use service_lifecycle::Violation;

use super::score::Rules;

/// Most traces of one key that a trace may be compared with.
const CANDIDATES_MAX: usize = 1_000;

/// `[links]`: links between traces whose context was not propagated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinksConfig {
    /// Whether traces are linked when they close. Only those that carry one of `correlation.keys` can be.
    /// Default true.
    pub enabled: bool,
    /// Least confidence of a link, 0 to 1. Default 0.5.
    pub threshold: f64,
    /// How long before a trace the one that led to it may have begun. Default 60000.
    pub window_ms: u64,
    /// What a key that both carry adds to the confidence. Default 0.4.
    pub key_weight: f64,
    /// Keys that add something else, as `name=weight`; with 0 a key links nothing. Default none.
    pub weights: Vec<String>,
    /// What it adds when both begin at the same time; less and less up to the window. Default 0.3.
    pub time_weight: f64,
    /// What a known flow adds. Default 0.3.
    pub flow_weight: f64,
    /// Services that are known to lead to others, as `from>to`: `from` takes part in the first trace, the
    /// second one begins in `to`. Default none.
    pub flows: Vec<String>,
    /// Most traces that may carry a key: one that more of them carry does not tell which of them led to
    /// another, and links nothing. Default 100.
    pub candidates_max: usize,
}

impl Default for LinksConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            threshold: 0.5,
            window_ms: 60_000,
            key_weight: 0.4,
            weights: Vec::new(),
            time_weight: 0.3,
            flow_weight: 0.3,
            flows: Vec::new(),
            candidates_max: 100,
        }
    }
}

impl LinksConfig {
    /// How links are judged.
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            threshold: self.threshold,
            window: Duration::from_millis(self.window_ms),
            key_weight: self.key_weight,
            weights: self.weights.iter().filter_map(|text| weight(text)).collect(),
            time_weight: self.time_weight,
            flow_weight: self.flow_weight,
            flows: self.flows.iter().filter_map(|text| flow(text)).collect(),
        }
    }

    /// What the types alone cannot rule out.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut require = |holds: bool, key, allowed: &str| {
            if !holds {
                violations.push(Violation::new(key, allowed));
            }
        };
        for (key, share) in [
            ("links.threshold", self.threshold),
            ("links.key_weight", self.key_weight),
            ("links.time_weight", self.time_weight),
            ("links.flow_weight", self.flow_weight),
        ] {
            require(is_share(share), key, "expected a number from 0 to 1");
        }
        let day_ms = 24 * 3600 * 1000;
        require((1..=day_ms).contains(&self.window_ms), "links.window_ms", "expected 1 to 86400000, a day");
        let weights: BTreeMap<_, _> = self.weights.iter().filter_map(|text| weight(text)).collect();
        let allowed = "expected name=weight, the weight from 0 to 1, each name once";
        require(weights.len() == self.weights.len(), "links.weights", allowed);
        let are_flows = self.flows.iter().all(|text| flow(text).is_some());
        require(are_flows, "links.flows", "expected from>to, two names of services");
        let candidates = (1..=CANDIDATES_MAX).contains(&self.candidates_max);
        require(candidates, "links.candidates_max", "expected 1 to 1000");
        violations
    }
}

fn is_share(number: f64) -> bool {
    (0.0..=1.0).contains(&number)
}

/// Reads `name=weight`; a name may hold `=`.
fn weight(text: &str) -> Option<(String, f64)> {
    let (name, weight) = text.rsplit_once('=')?;
    let weight = weight.trim().parse().ok().filter(|weight| is_share(*weight))?;
    (!name.trim().is_empty()).then(|| (name.trim().to_owned(), weight))
}

/// Reads `from>to`.
fn flow(text: &str) -> Option<(String, String)> {
    let (from, to) = text.split_once('>')?;
    let (from, to) = (from.trim(), to.trim());
    (!from.is_empty() && !to.is_empty()).then(|| (from.to_owned(), to.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(change: impl FnOnce(&mut LinksConfig)) -> Vec<&'static str> {
        let mut config = LinksConfig::default();
        change(&mut config);
        config.violations().into_iter().flat_map(|violation| violation.keys).collect()
    }

    #[test]
    fn what_is_out_of_range_is_named_by_its_key() {
        assert_eq!(wrong(|_| {}), [""; 0]);
        assert_eq!(wrong(|links| links.threshold = 1.1), ["links.threshold"]);
        assert_eq!(wrong(|links| links.time_weight = f64::NAN), ["links.time_weight"]);
        assert_eq!(wrong(|links| links.window_ms = 0), ["links.window_ms"]);
        assert_eq!(wrong(|links| links.candidates_max = 1_001), ["links.candidates_max"]);
        for text in ["user.id", "=0.5", "user.id=2", "user.id=much"] {
            assert_eq!(wrong(|links| links.weights = vec![text.into()]), ["links.weights"], "{text}");
        }
        assert_eq!(wrong(|links| links.weights = vec!["a=0".into(), "a=1".into()]), ["links.weights"]);
        for text in ["shop", ">cart", "shop> "] {
            assert_eq!(wrong(|links| links.flows = vec![text.into()]), ["links.flows"], "{text}");
        }
    }

    #[test]
    fn weights_and_flows_are_read_from_text() {
        let config = LinksConfig {
            weights: vec!["user.id = 0.1".into(), "a=b=1".into()],
            flows: vec!["shop > cart".into()],
            ..LinksConfig::default()
        };
        assert_eq!(config.violations(), []);
        let rules = config.rules();
        let weights = ["user.id", "a=b", "order.id"].map(|name| rules.weight(name));
        assert_eq!(weights, [0.1, 1.0, 0.4]);
        assert!(rules.flows.contains(&("shop".into(), "cart".into())));
    }
}
