//! A metric of a process, looked at again and again.

use std::{net::SocketAddr, time::Duration};

use anyhow::bail;
use tokio::time::{Instant, sleep};

/// Time between two looks: what is found is later than the truth by this at most.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// A process that does not tell in this time is looked at again.
const ANSWER_TIME: Duration = Duration::from_millis(500);
/// In which requests are counted to see whether an engine gets its share.
pub const WINDOW: Duration = Duration::from_millis(250);

/// The sum of some lines in `/metrics` of a process.
pub struct Metric {
    client: reqwest::Client,
    url: String,
    /// How they begin.
    lines: &'static [&'static str],
}

impl Metric {
    pub fn new(admin: SocketAddr, lines: &'static [&'static str]) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_TIME).build()?;
        Ok(Self { client, url: format!("http://{admin}/metrics"), lines })
    }

    /// Waits until it has grown by so much in [`WINDOW`], and returns what was seen.
    ///
    /// # Errors
    /// When it has not after `patience`, or the process does not tell.
    pub async fn until_it_grows_by(&self, much: f64, patience: Duration) -> anyhow::Result<Samples> {
        let (begin, mut samples) = (Instant::now(), Samples::default());
        while begin.elapsed() < patience {
            samples.look(self).await?;
            if growth(&samples.0) >= much {
                return Ok(samples);
            }
        }
        bail!("{:?} at {} did not grow by {much} in {WINDOW:?}", self.lines, self.url)
    }

    async fn value(&self) -> anyhow::Result<f64> {
        let text = self.client.get(&self.url).send().await?.error_for_status()?.text().await?;
        let is_meant = |line: &&str| self.lines.iter().any(|begin| line.starts_with(begin));
        let values =
            text.lines().filter(is_meant).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum())
    }
}

/// What was seen, and when.
#[derive(Debug, Default)]
pub struct Samples(Vec<(Instant, f64)>);

impl Samples {
    /// Looks for a time.
    ///
    /// # Errors
    /// When the process does not tell.
    pub async fn follow(&mut self, metric: &Metric, time: Duration) -> anyhow::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.look(metric).await?;
        }
        Ok(())
    }

    async fn look(&mut self, metric: &Metric) -> anyhow::Result<()> {
        sleep(LOOK_INTERVAL).await;
        let value = metric.value().await?;
        self.0.push((Instant::now(), value));
        Ok(())
    }

    /// When it was seen to be less, and stayed so.
    pub fn less_for_good_than(&self, value: f64) -> Option<Instant> {
        let since = self.0.iter().rposition(|(_, seen)| *seen >= value).map_or(0, |last| last + 1);
        self.0.get(since).map(|(at, _)| *at)
    }

    /// The last time at which it grew while it grew by so much in [`WINDOW`].
    pub fn last_growth(&self, much: f64) -> Option<Instant> {
        let (mut grew, mut last) = (None, None);
        for end in 2..=self.0.len() {
            let seen = &self.0[..end];
            if seen[end - 1].1 > seen[end - 2].1 {
                grew = Some(seen[end - 1].0);
            }
            if growth(seen) >= much {
                last = grew;
            }
        }
        last
    }
}

/// By how much it has grown in the last [`WINDOW`].
fn growth(samples: &[(Instant, f64)]) -> f64 {
    let Some(&(now, value)) = samples.last() else { return 0.0 };
    let first = samples.iter().find(|(at, _)| now.duration_since(*at) <= WINDOW);
    first.map_or(0.0, |(_, before)| value - before)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One look every 10 ms.
    fn samples(values: impl IntoIterator<Item = f64>) -> (Instant, Samples) {
        let begin = Instant::now();
        let at = |index: usize| begin + LOOK_INTERVAL * index as u32;
        (begin, Samples(values.into_iter().enumerate().map(|(index, value)| (at(index), value)).collect()))
    }

    #[test]
    fn the_last_growth_is_that_of_the_last_window_with_so_much() {
        // One in each of the first 40 looks, then one every 300 ms.
        let arrivals = (0..200).map(|look: u32| f64::from(look.min(40) + look.saturating_sub(40) / 30));
        let (begin, samples) = samples(arrivals);
        assert_eq!(samples.last_growth(5.0), Some(begin + LOOK_INTERVAL * 40));
        assert_eq!(samples.last_growth(26.0), None);
    }

    #[test]
    fn a_value_that_comes_back_was_not_less_for_good() {
        let (begin, samples) = samples([3.0, 3.0, 2.0, 3.0, 2.0, 2.0]);
        assert_eq!(samples.less_for_good_than(3.0), Some(begin + LOOK_INTERVAL * 4));
        assert_eq!(samples.less_for_good_than(4.0), Some(begin));
        assert_eq!(samples.less_for_good_than(2.0), None);
    }
}
