//! How often an engine looks for what is due: more seldom where others look too.

use std::time::Duration;

/// How often it looks when nobody else does, after it has taken something in lately. A close is later by half of it on
/// average.
const ALONE: Duration = Duration::from_millis(300);
/// How often at least: when the others are gone, what is due waits no longer than this for the first look.
const AMONG_MANY: Duration = Duration::from_secs(1);
/// What has been due for less was found early enough.
const EARLY: Duration = Duration::from_millis(100);
/// What has been due for longer says nothing of how often is looked: it was put back, or there is too much of it.
const UNRELATED: Duration = Duration::from_secs(2);

/// The pace of one engine.
///
/// Ten engines that look three times a second each find a tenth each time, at ten times the calls. What they find tells
/// them that others look: it has hardly been due.
#[derive(Debug)]
pub(super) struct Pace {
    tick: Duration,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { tick: ALONE }
    }

    /// Time between two looks.
    pub(super) fn tick(&self) -> Duration {
        self.tick
    }

    /// Takes how long after the look before this engine has looked, and for how long each of what it found had been
    /// due.
    pub(super) fn found(&mut self, elapsed: Duration, late: impl Iterator<Item = Duration>) {
        // How long nobody has looked, about.
        let Some(since) = late.filter(|late| *late < UNRELATED).max() else { return };
        let tick = match since {
            _ if since < EARLY && since < elapsed / 2 => self.tick.mul_f64(1.1),
            _ if since < ALONE => self.tick.mul_f64(0.9),
            _ => self.tick / 2,
        };
        self.tick = tick.clamp(ALONE, AMONG_MANY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets so many engines look for a minute at what becomes due every millisecond; answers how often one of them
    /// looks in a second, and the longest time between two looks, both after the first twenty seconds.
    fn simulate(engines: u32) -> (f64, Duration) {
        let end = Duration::from_secs(60);
        let mut paces: Vec<_> =
            (0..engines).map(|number| (Pace::new(), ALONE, ALONE * number / engines)).collect();
        let (mut looked, mut looks, mut longest) = (Duration::ZERO, 0_u32, Duration::ZERO);
        let mut number = 0_u32;
        loop {
            let (pace, elapsed, at) = paces.iter_mut().min_by_key(|(_, _, at)| *at).unwrap();
            if *at >= end {
                return (f64::from(looks) / 40.0, longest);
            }
            let since = *at - looked;
            looked = *at;
            if looked > Duration::from_secs(20) {
                (looks, longest) = (looks + 1, longest.max(since));
            }
            pace.found(*elapsed, [since.saturating_sub(Duration::from_millis(1))].into_iter());
            // Spread as the closer spreads them, the same in every run.
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *elapsed = pace.tick().mul_f64(0.8 + 0.4 * f64::from(number >> 8) / f64::from(1_u32 << 24));
            *at += *elapsed;
        }
    }

    #[test]
    fn more_engines_look_hardly_more_often_together() {
        let (alone, longest) = simulate(1);
        assert!((3.0..4.0).contains(&alone) && longest < ALONE.mul_f64(1.21), "{alone} {longest:?}");
        for engines in [3, 10] {
            let (together, longest) = simulate(engines);
            assert!((3.0..16.0).contains(&together), "{engines} engines look {together} times a second");
            assert!(longest < AMONG_MANY, "{engines} engines: {longest:?}");
        }
    }

    #[test]
    fn one_that_is_left_alone_is_soon_as_quick_as_before() {
        let mut pace = Pace::new();
        for _ in 0..100 {
            pace.found(pace.tick(), [Duration::from_millis(30)].into_iter());
        }
        assert_eq!(pace.tick(), AMONG_MANY);
        pace.found(AMONG_MANY, [Duration::from_secs(60)].into_iter());
        assert_eq!(pace.tick(), AMONG_MANY, "that was put back");
        for _ in 0..2 {
            pace.found(pace.tick(), [pace.tick()].into_iter());
        }
        assert_eq!(pace.tick(), ALONE);
    }

    #[test]
    fn one_that_looks_often_because_there_is_much_is_not_among_others() {
        let (mut pace, busy) = (Pace::new(), Duration::from_millis(50));
        for _ in 0..100 {
            pace.found(busy, [busy.mul_f64(0.9)].into_iter());
        }
        assert_eq!(pace.tick(), ALONE);
    }
}
