//! Rules at a quicker pace: everything in them that is a time is divided, so that five minutes pass in ten
//! seconds. Numbers of events in a second stay as they are, and so do other numbers, also those of seconds.

use std::time::Duration;

use anyhow::Context as _;
use regex::{Captures, Regex};

/// `for: 5m`, `[5m]` and `offset 15m` become so many times shorter.
pub(super) const FACTOR: u32 = 30;
/// Engines count their state every 15 s: a window of 10 s would miss that, and see no growth.
const FACTOR_OF_COUNTS: u32 = 10;
/// The gauge that is told so seldom.
const COUNT: &str = "correlation_count";

/// The same rules with every time divided.
///
/// # Errors
/// When there is a time that is not understood.
pub(super) fn quicken(rules: &str) -> anyhow::Result<String> {
    let times = Regex::new(r"(for: |offset |\w*\[)(\d+)([a-z]+)\b").context("a pattern is wrong")?;
    let mut wrong = None;
    let quickened = times.replace_all(rules, |found: &Captures<'_>| {
        let (before, unit) = (&found[1], &found[3]);
        let factor = if before.strip_suffix('[') == Some(COUNT) { FACTOR_OF_COUNTS } else { FACTOR };
        match time(&found[2], unit) {
            Some(time) => format!("{before}{}ms", (time / factor).as_millis()),
            None => {
                wrong = Some(found[0].to_owned());
                String::new()
            }
        }
    });
    match wrong {
        None => Ok(quickened.into_owned()),
        Some(wrong) => anyhow::bail!("failed to understand the time in {wrong:?}"),
    }
}

fn time(number: &str, unit: &str) -> Option<Duration> {
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    Some(Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_divided_and_nothing_else() {
        for (given, expected) in [
            ("for: 5m", "for: 10000ms"),
            ("for: 30s", "for: 1000ms"),
            ("expr: rate(x_total[5m]) > 1", "expr: rate(x_total[10000ms]) > 1"),
            ("rate(x{a=\"b\"}[1h])", "rate(x{a=\"b\"}[120000ms])"),
            ("max (x offset 15m) >= 0", "max (x offset 30000ms) >= 0"),
            ("rate(correlation_count[5m]) > 1000", "rate(correlation_count[30000ms]) > 1000"),
            ("record: signal:x:ratio_rate5m", "record: signal:x:ratio_rate5m"),
            (
                "expr: signal:delivery_lag_seconds:p95_5m > 60",
                "expr: signal:delivery_lag_seconds:p95_5m > 60",
            ),
            ("description: For five minutes, 15 minutes", "description: For five minutes, 15 minutes"),
        ] {
            assert_eq!(quicken(given).unwrap(), expected);
        }
    }

    #[test]
    fn a_time_of_another_unit_is_an_error() {
        let error = quicken("for: 1d").unwrap_err().to_string();
        assert!(error.contains("for: 1d"), "{error}");
    }
}
