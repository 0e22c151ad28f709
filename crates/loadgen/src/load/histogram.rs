//! Times counted in buckets that are at most 1 % wide, so that any number of them takes 60 KiB.

use std::time::Duration;

/// Buckets between a power of two and the next.
const STEPS: u64 = 128;
const STEPS_LOG2: u32 = STEPS.ilog2();

/// Counts times of up to 584 years in nanoseconds.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = bucket(u64::MAX) + 1;
        Self { buckets: vec![0; buckets].into(), count: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts a time.
    pub fn add(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    /// The time that a share of all did not exceed; zero when there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (self.count as f64 * share).ceil() as u64;
        let mut counted = 0;
        let reaches = |(_, bucket): &(usize, &u64)| {
            counted += **bucket;
            counted >= rank.max(1)
        };
        let found = self.buckets.iter().enumerate().find(reaches);
        Duration::from_nanos(found.map_or(0, |(bucket, _)| highest(bucket).min(self.max)))
    }

    /// The longest time.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }
}

fn bucket(nanos: u64) -> usize {
    let shift = nanos.checked_ilog2().unwrap_or(0).saturating_sub(STEPS_LOG2);
    // What is shifted lies between STEPS and twice as much, except for the smallest, which have
    // buckets of their own.
    (u64::from(shift) * STEPS + (nanos >> shift)) as usize
}

/// The longest time of a bucket.
fn highest(bucket: usize) -> u64 {
    let shift = (bucket as u64 / STEPS).saturating_sub(1);
    let step = bucket as u64 - shift * STEPS;
    // Of the last bucket it is the greatest number there is.
    ((u128::from(step) + 1) << shift).saturating_sub(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_one_percent_too_high() {
        let mut histogram = Histogram::default();
        (1..=100_000_u64).for_each(|micros| histogram.add(Duration::from_micros(micros)));
        for (share, exact) in [(0.5, 50_000.0), (0.9, 90_000.0), (0.99, 99_000.0), (0.999, 99_900.0)] {
            let micros = histogram.quantile(share).as_secs_f64() * 1e6;
            assert!((exact..exact * 1.01).contains(&micros), "{micros} for {exact}");
        }
        assert_eq!(histogram.max(), Duration::from_millis(100));
    }

    #[test]
    fn a_time_lies_in_its_bucket_and_in_no_other() {
        let powers = (0..64).flat_map(|power| [(1_u64 << power) - 1, 1 << power, (1 << power) + 1]);
        for nanos in powers.chain([u64::MAX]) {
            let bucket = bucket(nanos);
            assert!(highest(bucket) >= nanos, "{nanos}");
            assert!(bucket == 0 || highest(bucket - 1) < nanos, "{nanos}");
        }
    }

    #[test]
    fn nothing_counted_is_no_time() {
        assert_eq!(Histogram::default().quantile(0.99), Duration::ZERO);
    }
}
