//! When each request is due: at its place in a steady rate of spans, or as soon as there is somebody to
//! send it.

use std::{fmt, str::FromStr, time::Duration};

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::traffic::Size;

/// How many spans are sent in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// So many, whether answers come or not.
    Spans(f64),
    /// As many as are answered.
    Max,
}

/// Hands out requests in the order of their numbers until the load ends.
#[derive(Debug)]
pub(super) struct Schedule {
    rate: Rate,
    begin: Instant,
    limits: Limits,
    next: Mutex<Next>,
}

/// When a load ends, and from when on it counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Before it counts.
    pub(super) warmup: Duration,
    /// While it counts.
    pub(super) time: Duration,
    /// Spans that count; all when `None`.
    pub(super) spans: Option<u64>,
}

#[derive(Debug, Default)]
struct Next {
    number: u64,
    spans: u64,
    counted: u64,
}

/// A request to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) number: u64,
    /// When it should be sent; `None` means at once.
    pub(super) due: Option<Instant>,
    /// Whether it counts.
    pub(super) is_measured: bool,
}

impl Schedule {
    pub(super) fn new(rate: Rate, limits: Limits, begin: Instant) -> Self {
        Self { rate, begin, limits, next: Mutex::default() }
    }

    /// The next request, and when it is due; `None` at the end.
    ///
    /// A request is due when those before it are sent at the rate, also if they were not: whoever comes
    /// too late finds out how late from when it was due.
    pub(super) fn take(&self, size: impl FnOnce(u64) -> Size) -> Option<Ticket> {
        let mut next = self.next.lock();
        let now = Instant::now();
        let due = match self.rate {
            Rate::Max => None,
            Rate::Spans(rate) => Some(self.due(&next, rate)),
        };
        let time = due.unwrap_or(now);
        let is_measured = time >= self.counts_from();
        let is_enough = self.limits.spans.is_some_and(|spans| next.counted >= spans);
        if is_enough || time.max(now) >= self.end() {
            return None;
        }
        let ticket = Ticket { number: next.number, due, is_measured };
        let Size { spans, .. } = size(next.number);
        next.number += 1;
        next.spans += spans;
        next.counted += if is_measured { spans } else { 0 };
        Some(ticket)
    }

    /// From when on requests count.
    pub(super) fn counts_from(&self) -> Instant {
        self.begin + self.limits.warmup
    }

    /// When the next request would be due, were it not for the end: a load of one request a second that
    /// ends with the third has lasted for three seconds. At the maximum that is now.
    pub(super) fn is_over_at(&self) -> Instant {
        match self.rate {
            Rate::Max => Instant::now(),
            Rate::Spans(rate) => self.due(&self.next.lock(), rate).min(self.end()),
        }
    }

    fn due(&self, next: &Next, rate: f64) -> Instant {
        self.begin + Duration::from_secs_f64(next.spans as f64 / rate)
    }

    /// When the last request is sent at the latest.
    pub(super) fn end(&self) -> Instant {
        self.counts_from() + self.limits.time
    }
}

impl Rate {
    /// Spans in a second, unless it is what is to be found out.
    #[must_use]
    pub fn offered(self) -> Option<f64> {
        match self {
            Self::Spans(rate) => Some(rate),
            Self::Max => None,
        }
    }
}

impl FromStr for Rate {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.001);
        rate.map(Self::Spans).context("neither a number of spans in a second nor: max")
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spans(rate) => rate.fmt(formatter),
            Self::Max => formatter.write_str("max"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LIMITS: Limits =
        Limits { warmup: Duration::from_secs(1), time: Duration::from_secs(2), spans: None };

    fn size(_: u64) -> Size {
        Size { spans: 100, ..Size::default() }
    }

    fn all(schedule: &Schedule) -> Vec<Ticket> {
        std::iter::from_fn(|| schedule.take(size)).take(10_000).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_due_at_the_rate_whenever_they_are_taken() {
        let begin = Instant::now();
        let schedule = Schedule::new(Rate::Spans(1_000.0), LIMITS, begin);
        assert_eq!(schedule.take(size).unwrap().due, Some(begin));
        advance(Duration::from_millis(900)).await;
        let tickets = all(&schedule);
        assert_eq!(tickets[0].due, Some(begin + Duration::from_millis(100)), "late, and due when it was");
        assert_eq!(tickets.len(), 29, "30 in 3 s");
        let measured = tickets.iter().filter(|ticket| ticket.is_measured).count();
        assert_eq!(measured, 20, "those of the last 2 s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_overdue_at_the_end_is_not_sent() {
        let schedule = Schedule::new(Rate::Spans(1_000.0), LIMITS, Instant::now());
        advance(Duration::from_secs(3)).await;
        assert_eq!(schedule.take(size), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_number_of_spans_ends_the_load_too_and_does_not_count_the_warm_up() {
        let limits = Limits { spans: Some(450), ..LIMITS };
        let tickets = all(&Schedule::new(Rate::Spans(1_000.0), limits, Instant::now()));
        assert_eq!(tickets.len(), 10 + 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_is_over_when_the_next_request_would_be_due() {
        let (begin, limits) = (Instant::now(), Limits { warmup: Duration::ZERO, ..LIMITS });
        for (spans, over) in [(Some(450), 500), (None, 2_000)] {
            let schedule = Schedule::new(Rate::Spans(1_000.0), Limits { spans, ..limits }, begin);
            all(&schedule);
            assert_eq!(schedule.is_over_at(), begin + Duration::from_millis(over));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_maximum_is_due_at_once_until_the_end() {
        let schedule = Schedule::new(Rate::Max, LIMITS, Instant::now());
        let ticket = schedule.take(size).unwrap();
        assert_eq!((ticket.due, ticket.is_measured), (None, false));
        advance(Duration::from_secs(1)).await;
        assert!(schedule.take(size).unwrap().is_measured);
        advance(Duration::from_secs(2)).await;
        assert_eq!(schedule.take(size), None);
    }

    #[test]
    fn a_rate_is_a_positive_number_or_max() {
        assert_eq!("max".parse::<Rate>().unwrap(), Rate::Max);
        assert_eq!("2500.5".parse::<Rate>().unwrap(), Rate::Spans(2_500.5));
        for text in ["0", "-1", "NaN", "inf", "fast"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
