//! Times, sizes and shares as people write and read them.

use std::time::Duration;

const SECONDS_MAX: f64 = 366.0 * 24.0 * 3_600.0;
const BYTES_MAX: f64 = (1_u64 << 53) as f64;

/// Reads `90s`, `15m`, `1h` or `7d`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let expected = "write a number with s, m, h or d, such as 1h, of at most a year";
    let (number, unit) = split(text).ok_or(expected)?;
    let seconds = match unit {
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3_600.0,
        "d" => number * 24.0 * 3_600.0,
        _ => return Err(expected.to_owned()),
    };
    let is_possible = (1.0..=SECONDS_MAX).contains(&seconds);
    if is_possible { Ok(Duration::from_secs_f64(seconds)) } else { Err(expected.to_owned()) }
}

/// Reads `450`, `450B`, `512MiB`, `16GiB` or `16GB`.
pub(crate) fn bytes(text: &str) -> Result<f64, String> {
    let expected = "write bytes, such as 450, 512MiB or 16GiB, at least 1";
    let (number, unit) = split(text).ok_or(expected)?;
    let size = match unit {
        "" | "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1_024.0,
        "MiB" => 1_024.0_f64.powi(2),
        "GiB" => 1_024.0_f64.powi(3),
        "TiB" => 1_024.0_f64.powi(4),
        _ => return Err(expected.to_owned()),
    };
    let bytes = number * size;
    if (1.0..=BYTES_MAX).contains(&bytes) { Ok(bytes) } else { Err(expected.to_owned()) }
}

/// Reads `20%` as 0.2.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let expected = "write a percentage from 0% to 90%, such as 20%";
    let (number, unit) = split(text).ok_or(expected)?;
    let is_possible = unit == "%" && number <= 90.0;
    if is_possible { Ok(number / 100.0) } else { Err(expected.to_owned()) }
}

/// Reads a number above 0.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| *number > 0.0 && *number <= 1e12);
    number.ok_or_else(|| "write a number above 0".to_owned())
}

/// Reads a price: a number that is not below 0.
pub(crate) fn price(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| (0.0..=1e12).contains(number));
    number.ok_or_else(|| "write a number that is not below 0".to_owned())
}

/// A number that is not below 0, and what follows it.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A time in the largest unit that it is a whole number of.
pub(crate) fn show_time(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(24 * 3_600, "d"), (3_600, "h"), (60, "m")];
    let unit = units.into_iter().find(|(size, _)| seconds.is_multiple_of(*size));
    unit.map_or_else(|| format!("{seconds}s"), |(size, name)| format!("{}{name}", seconds / size))
}

/// Bytes with three digits.
pub(crate) fn show_bytes(bytes: f64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(power, _)| bytes >= 2_f64.powi(*power));
    match unit {
        Some((power, name)) => format!("{} {name}", digits(bytes / 2_f64.powi(power))),
        None => format!("{bytes:.0} B"),
    }
}

/// A number of three digits, or whole with commas.
pub(crate) fn digits(number: f64) -> String {
    match number {
        number if number < 10.0 => format!("{number:.2}"),
        number if number < 100.0 => format!("{number:.1}"),
        number => thousands(number),
    }
}

/// A whole number with commas.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_with_their_units() {
        assert_eq!(time("1h"), Ok(Duration::from_secs(3_600)));
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("1.5d"), Ok(Duration::from_secs(129_600)));
        assert_eq!(bytes("450"), Ok(450.0));
        assert_eq!(bytes("16 GiB"), Ok(17_179_869_184.0));
        assert_eq!(share("20%"), Ok(0.2));
    }

    #[test]
    fn what_has_no_unit_or_another_one_is_refused() {
        for text in ["", "1", "h", "1 hour", "-1h", "0h", "9000d", "1e9h", "NaNs"] {
            assert!(time(text).is_err(), "{text}");
        }
        for text in ["", "GiB", "16G", "0", "-1GiB", "infGiB", "99999999TiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        for text in ["", "20", "0.2", "91%", "-1%", "%"] {
            assert!(share(text).is_err(), "{text}");
        }
        assert!(positive("0").is_err() && positive("NaN").is_err() && price("-1").is_err());
    }

    #[test]
    fn quantities_are_shown_in_the_unit_that_suits_them() {
        assert_eq!(show_time(Duration::from_secs(3_600)), "1h");
        assert_eq!(show_time(Duration::from_secs(90)), "90s");
        assert_eq!(show_bytes(450.0), "450 B");
        assert_eq!(show_bytes(17_179_869_184.0), "16.0 GiB");
        assert_eq!([1.0, 999.0, 1_234_567.0].map(thousands), ["1", "999", "1,234,567"]);
    }
}
