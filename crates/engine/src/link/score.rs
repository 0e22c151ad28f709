//! How likely it is that one trace led to another: arithmetic over what is known of both, nothing else.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use state_core::{CorrelationId, Summary};

/// A correlation key that a trace carries: name and value.
pub(crate) type Key = (String, String);

/// What counts, and how much.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rules {
    /// Least confidence.
    pub(crate) threshold: f64,
    /// How long before a trace the other one may have begun.
    pub(crate) window: Duration,
    /// What a key that both carry adds, unless it has a weight of its own.
    pub(crate) key_weight: f64,
    /// Keys with a weight of their own.
    pub(crate) weights: BTreeMap<String, f64>,
    /// What nearness in time adds at most.
    pub(crate) time_weight: f64,
    /// What a known flow adds.
    pub(crate) flow_weight: f64,
    /// Services that are known to lead to others.
    pub(crate) flows: BTreeSet<(String, String)>,
}

/// A trace for which the one is looked for that led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) id: CorrelationId,
    /// Service of its root.
    pub(crate) service: String,
    pub(crate) first_event: DateTime<Utc>,
    /// What it is found by.
    pub(crate) keys: Vec<Key>,
}

/// The trace that probably led to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    pub(crate) parent: CorrelationId,
    /// 0 to 1, to the thousandth.
    pub(crate) confidence: f64,
    /// What both carry, sorted.
    pub(crate) keys: Vec<Key>,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missed {
    /// No trace of another service with the same key began before it within the window.
    NoCandidate,
    /// The best one is not likely enough.
    BelowThreshold,
}

impl Rules {
    /// What a key of this name adds.
    pub(crate) fn weight(&self, name: &str) -> f64 {
        self.weights.get(name).copied().unwrap_or(self.key_weight)
    }

    /// Chooses among traces that carry keys of the child, each with the key it was found by. The order in which
    /// they come is no matter: of equally likely ones it is the nearest, then the one with the lowest id.
    ///
    /// # Errors
    /// None is likely enough.
    pub(crate) fn choose<'a>(
        &self,
        child: &Child,
        found: impl IntoIterator<Item = (&'a Key, &'a Summary)>,
    ) -> Result<Choice, Missed> {
        let mut candidates = BTreeMap::<_, (&Summary, BTreeSet<&Key>)>::new();
        for (key, summary) in found {
            let candidate = candidates.entry(&summary.correlation_id).or_insert((summary, BTreeSet::new()));
            candidate.1.insert(key);
        }
        let judged = candidates.into_iter().filter_map(|(id, (summary, keys))| {
            let distance = self.distance(child, summary)?;
            Some((self.thousandths(child, summary, &keys, distance), Reverse(distance), Reverse(id), keys))
        });
        let best = judged.max_by(|one, other| (one.0, one.1, one.2).cmp(&(other.0, other.1, other.2)));
        let (thousandths, _, Reverse(parent), keys) = best.ok_or(Missed::NoCandidate)?;
        let confidence = f64::from(thousandths) / 1_000.0;
        if confidence < self.threshold {
            return Err(Missed::BelowThreshold);
        }
        Ok(Choice { parent: parent.clone(), confidence, keys: keys.into_iter().cloned().collect() })
    }

    /// How long before the child this trace began; `None` when it cannot have led to it.
    fn distance(&self, child: &Child, summary: &Summary) -> Option<Duration> {
        let is_other = summary.correlation_id != child.id && summary.service != child.service;
        // What holds no span has nothing to link to.
        let is_trace = summary.correlation_id.trace_id().is_some() && summary.counts.spans > 0;
        let distance = (child.first_event - summary.counts.first_event?).to_std().ok()?;
        (is_other && is_trace && !distance.is_zero() && distance <= self.window).then_some(distance)
    }

    fn thousandths(
        &self,
        child: &Child,
        summary: &Summary,
        keys: &BTreeSet<&Key>,
        distance: Duration,
    ) -> u16 {
        let by_keys: f64 = keys.iter().map(|(name, _)| self.weight(name)).sum();
        let nearness = 1.0 - distance.as_secs_f64() / self.window.as_secs_f64();
        let is_flow =
            self.flows.iter().any(|(from, to)| *to == child.service && summary.involves(from.as_str()));
        let by_flow = if is_flow { self.flow_weight } else { 0.0 };
        let confidence = (by_keys + nearness * self.time_weight + by_flow).clamp(0.0, 1.0);
        (confidence * 1_000.0).round() as u16
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use state_core::{Counts, Labels, Origin, Overrides, Root, TraceId};

    use super::*;

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn id(number: u8) -> CorrelationId {
        CorrelationId::trace(TraceId::new([number; 16]).unwrap())
    }

    fn key(name: &str) -> Key {
        (name.to_owned(), "7".to_owned())
    }

    /// Only the key counts, and one is enough.
    fn rules() -> Rules {
        Rules {
            threshold: 0.5,
            window: Duration::from_secs(10),
            key_weight: 0.5,
            weights: BTreeMap::new(),
            time_weight: 0.0,
            flow_weight: 0.0,
            flows: BTreeSet::new(),
        }
    }

    fn child() -> Child {
        Child { id: id(9), service: "pay".into(), first_event: start(), keys: vec![key("order.id")] }
    }

    /// A trace that began so many milliseconds before the child, in this service and with another one.
    fn summary(number: u8, service: &str, before_ms: i64) -> Summary {
        let first_event = start() - TimeDelta::milliseconds(before_ms);
        let counts = Counts { spans: 1, first_event: Some(first_event), ..Counts::default() };
        let origin = |service: &str| Origin { service: service.into(), env: String::new() };
        let root = Root { service: service.into(), name: "GET /".into() };
        let labels = Labels { origins: vec![origin("queue"), origin(service)], roots: vec![root] };
        Summary::fold(id(number), start(), start(), counts, &labels, &Overrides::default())
    }

    fn choose(rules: &Rules, found: &[(&str, &Summary)]) -> Result<(u8, f64), Missed> {
        let found: Vec<_> = found.iter().map(|(name, summary)| (key(name), *summary)).collect();
        let found = || found.iter().map(|(key, summary)| (key, *summary));
        let choice = rules.choose(&child(), found());
        assert_eq!(choice, rules.choose(&child(), found().rev()), "the order is no matter");
        choice.map(|choice| (choice.parent.trace_id().unwrap().bytes()[0], choice.confidence))
    }

    #[test]
    fn every_key_that_both_carry_adds_its_weight() {
        let rules = Rules { weights: BTreeMap::from([("user.id".into(), 0.2)]), ..rules() };
        let shop = summary(1, "shop", 100);
        assert_eq!(choose(&rules, &[("order.id", &shop)]), Ok((1, 0.5)));
        assert_eq!(choose(&rules, &[("user.id", &shop)]), Err(Missed::BelowThreshold));
        assert_eq!(choose(&rules, &[("order.id", &shop), ("user.id", &shop)]), Ok((1, 0.7)));
        let all = [("order.id", &shop), ("user.id", &shop), ("a", &shop), ("b", &shop)];
        assert_eq!(choose(&rules, &all), Ok((1, 1.0)), "never more than certain");
    }

    #[test]
    fn nearness_in_time_adds_up_to_its_weight() {
        let rules = Rules { key_weight: 0.4, time_weight: 0.2, ..rules() };
        let confidence = |before_ms| choose(&rules, &[("order.id", &summary(1, "shop", before_ms))]);
        assert_eq!(confidence(2_000), Ok((1, 0.56)));
        assert_eq!(confidence(5_000), Ok((1, 0.5)), "the threshold itself is enough");
        assert_eq!(confidence(5_100), Err(Missed::BelowThreshold));
    }

    #[test]
    fn a_known_flow_adds_its_weight_from_any_service_of_the_first_trace_to_the_root_of_the_second() {
        let known = |from: &str, to: &str| Rules {
            flow_weight: 0.3,
            flows: [(from.into(), to.into())].into(),
            ..rules()
        };
        let shop = summary(1, "shop", 100);
        for (from, to, confidence) in [("shop", "pay", 0.8), ("queue", "pay", 0.8), ("pay", "shop", 0.5)] {
            assert_eq!(choose(&known(from, to), &[("order.id", &shop)]), Ok((1, confidence)), "{from}>{to}");
        }
    }

    #[test]
    fn only_what_began_before_and_within_the_window_can_have_led_to_it() {
        let choice = |before_ms| choose(&rules(), &[("order.id", &summary(1, "shop", before_ms))]).is_ok();
        assert!(choice(1) && choice(10_000));
        assert!(!choice(10_001), "too early");
        assert!(!choice(0) && !choice(-1), "not before");
    }

    #[test]
    fn neither_itself_nor_its_own_service_nor_what_is_no_trace_can_have_led_to_it() {
        let none = Err(Missed::NoCandidate);
        assert_eq!(choose(&rules(), &[("order.id", &summary(1, "pay", 100))]), none);
        assert_eq!(choose(&rules(), &[("order.id", &summary(9, "shop", 100))]), none);
        let mut logs = summary(1, "shop", 100);
        logs.counts.spans = 0;
        assert_eq!(choose(&rules(), &[("order.id", &logs)]), none);
        let keyed = Summary { correlation_id: "order.id=7".parse().unwrap(), ..summary(1, "shop", 100) };
        assert_eq!(choose(&rules(), &[("order.id", &keyed)]), none);
        assert_eq!(choose(&rules(), &[]), none);
    }

    #[test]
    fn the_most_likely_wins_then_the_nearest_then_the_lowest_id() {
        let (far, near, twin) = (summary(1, "shop", 200), summary(3, "shop", 100), summary(2, "cart", 100));
        assert_eq!(choose(&rules(), &[("order.id", &far), ("order.id", &near)]), Ok((3, 0.5)));
        assert_eq!(choose(&rules(), &[("order.id", &near), ("order.id", &twin)]), Ok((2, 0.5)));
        let likely = [("order.id", &far), ("user.id", &far), ("order.id", &near)];
        assert_eq!(choose(&rules(), &likely), Ok((1, 1.0)));
    }
}
