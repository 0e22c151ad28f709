//! Figures as people read them.

/// Microseconds in the unit that suits them.
pub fn duration(us: f64) -> String {
    match us {
        0.0 => "0".into(),
        us if us < 1.0 => format!("{:.0} ns", us * 1_000.0),
        us if us < 100.0 => format!("{us:.2} µs"),
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us => format!("{:.2} ms", us / 1_000.0),
    }
}

/// Units in a second.
pub fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate < 1_000.0 => format!("{rate:.0}"),
        rate if rate < 1e5 => format!("{:.1} k", rate / 1e3),
        rate if rate < 1e6 => format!("{:.0} k", rate / 1e3),
        rate => format!("{:.2} M", rate / 1e6),
    }
}

/// Bytes in the unit that suits them.
pub fn bytes(bytes: f64) -> String {
    match bytes {
        bytes if bytes < f64::from(1 << 20) => format!("{} B", thousands(bytes as usize)),
        bytes => format!("{:.0} MiB", bytes / f64::from(1 << 20)),
    }
}

/// Three significant digits.
pub fn significant(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".into(),
        size if size < 0.1 => format!("{figure:.4}"),
        size if size < 1.0 => format!("{figure:.3}"),
        size if size < 10.0 => format!("{figure:.2}"),
        size if size < 100.0 => format!("{figure:.1}"),
        _ => thousands(figure.round() as usize),
    }
}

/// A number with commas.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
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
    fn numbers_have_a_comma_every_three_digits() {
        assert_eq!([1, 999, 1_000, 1_234_567].map(thousands), ["1", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn rates_and_bytes_keep_three_digits() {
        assert_eq!([940.0, 19_460.0, 194_600.0, 1_946_000.0].map(rate), ["940", "19.5 k", "195 k", "1.95 M"]);
        assert_eq!([450.0, 3_095.0, 210_763_776.0].map(bytes), ["450 B", "3,095 B", "201 MiB"]);
    }

    #[test]
    fn times_come_in_the_unit_that_suits_them() {
        assert_eq!(
            [0.0, 0.25, 2.5, 250.0, 2_500.0].map(duration),
            ["0", "250 ns", "2.50 µs", "250 µs", "2.50 ms"]
        );
    }
}
