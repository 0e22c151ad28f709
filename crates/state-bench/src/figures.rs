//! Figures of a row: medians over its repetitions.

use std::time::Duration;

use bench_kit::statistics::{median, micros, quantile};
use serde::Serialize;

use crate::cost::Cost;

/// What one repetition took.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    /// Of every call.
    pub(crate) latencies: Vec<Duration>,
    /// Of all calls together.
    pub(crate) cost: Cost,
    /// What the cost is divided by: calls, spans or correlations.
    pub(crate) units: u64,
}

impl Sample {
    /// Adds what a further part of the same repetition took.
    pub(crate) fn extend(&mut self, latencies: Vec<Duration>, cost: Cost, units: u64) {
        self.latencies.extend(latencies);
        self.cost += cost;
        self.units += units;
    }
}

/// Medians over repetitions. Times are microseconds; CPU is per unit.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Figures {
    /// Of a call.
    pub(crate) p50_us: f64,
    /// Likewise; `None` where calls are few.
    pub(crate) p99_us: Option<f64>,
    pub(crate) client_us: f64,
    pub(crate) primaries_us: f64,
    pub(crate) replicas_us: f64,
    /// Of client and all servers.
    pub(crate) cpu_us: f64,
    /// Units in a second of wall time.
    pub(crate) per_second: f64,
    /// Commands that Redis primaries processed, per unit.
    pub(crate) commands: f64,
}

/// Calls that make a p99 worth telling.
const CALLS_FOR_P99: usize = 100;

impl Figures {
    pub(crate) fn of(samples: Vec<Sample>) -> Self {
        let each: Vec<Self> = samples.into_iter().map(Self::of_one).collect();
        let median = |figure: fn(&Self) -> f64| median(each.iter().map(figure).collect());
        let p99s: Option<Vec<f64>> = each.iter().map(|figures| figures.p99_us).collect();
        Self {
            p50_us: median(|figures| figures.p50_us),
            p99_us: p99s.map(bench_kit::statistics::median),
            client_us: median(|figures| figures.client_us),
            primaries_us: median(|figures| figures.primaries_us),
            replicas_us: median(|figures| figures.replicas_us),
            cpu_us: median(|figures| figures.cpu_us),
            per_second: median(|figures| figures.per_second),
            commands: median(|figures| figures.commands),
        }
    }

    /// Latencies alone.
    pub(crate) fn of_calls(latencies: Vec<Duration>) -> Self {
        let units = latencies.len() as u64;
        Self::of_one(Sample { latencies, cost: Cost::default(), units })
    }

    fn of_one(sample: Sample) -> Self {
        let Sample { mut latencies, cost, units } = sample;
        latencies.sort_unstable();
        let units = units as f64;
        let each = |total: Duration| micros(total) / units;
        Self {
            p50_us: quantile(&latencies, 0.5),
            p99_us: (latencies.len() >= CALLS_FOR_P99).then(|| quantile(&latencies, 0.99)),
            client_us: each(cost.client),
            primaries_us: each(cost.primaries),
            replicas_us: each(cost.replicas),
            cpu_us: each(cost.client + cost.primaries + cost.replicas),
            per_second: units / cost.wall.as_secs_f64(),
            commands: cost.commands as f64 / units,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_medians_of_what_each_repetition_took_per_unit() {
        let sample = |micros: u64| Sample {
            latencies: (1..=100).map(|call| Duration::from_micros(call * micros)).collect(),
            cost: Cost {
                wall: Duration::from_millis(1),
                client: Duration::from_micros(100 * micros),
                ..Cost::default()
            },
            units: 100,
        };
        let figures = Figures::of(vec![sample(1), sample(7), sample(2)]);
        assert!((figures.p50_us - 102.0).abs() < 1e-6);
        assert!((figures.p99_us.unwrap() - 200.0).abs() < 1e-6);
        assert!((figures.cpu_us - 2.0).abs() < 1e-6);
        assert!((figures.per_second - 100_000.0).abs() < 1e-6);
    }

    #[test]
    fn few_calls_have_no_p99() {
        let sample = Sample { latencies: vec![Duration::from_micros(1)], units: 1, ..Sample::default() };
        assert!(Figures::of(vec![sample]).p99_us.is_none());
    }
}
