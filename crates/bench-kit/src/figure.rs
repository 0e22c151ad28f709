//! One figure of a row, and the mark that it may have to meet.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::text::{bytes, duration, rate, significant, thousands};

/// A median over repetitions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    pub name: Cow<'static, str>,
    pub unit: Unit,
    pub value: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

/// What the value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Microseconds,
    Times,
    /// A part of one.
    Share,
    PerSecond,
    Count,
    /// With a fraction.
    Number,
    Bytes,
}

/// What the value may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    AtMost(f64),
    AtLeast(f64),
}

impl Figure {
    pub fn new(name: impl Into<Cow<'static, str>>, unit: Unit, value: f64) -> Self {
        Self { name: name.into(), unit, value, mark: None }
    }

    pub fn with_mark(self, mark: Mark) -> Self {
        Self { mark: Some(mark), ..self }
    }

    /// Whether it meets its mark; `None` without one.
    pub fn is_met(&self) -> Option<bool> {
        self.mark.map(|mark| match mark {
            Mark::AtMost(most) => self.value <= most,
            Mark::AtLeast(least) => self.value >= least,
        })
    }
}

impl Unit {
    /// A value as people read it.
    pub fn describe(self, value: f64) -> String {
        match self {
            Self::Microseconds if value < 0.0 => format!("−{}", duration(-value)),
            Self::Microseconds => duration(value),
            Self::Times => format!("{value:.1} ×"),
            Self::Share if value < 0.1 => format!("{:.1} %", value * 100.0),
            Self::Share => format!("{:.0} %", value * 100.0),
            Self::PerSecond => rate(value),
            Self::Count => thousands(value as usize),
            Self::Number => significant(value),
            Self::Bytes => bytes(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_limit_from_above_or_from_below() {
        let figure = |value, mark| Figure::new("probe", Unit::Times, value).with_mark(mark).is_met();
        assert_eq!(figure(2.0, Mark::AtMost(2.0)), Some(true));
        assert_eq!(figure(2.1, Mark::AtMost(2.0)), Some(false));
        assert_eq!(figure(5.0, Mark::AtLeast(5.0)), Some(true));
        assert_eq!(figure(4.9, Mark::AtLeast(5.0)), Some(false));
        assert_eq!(Figure::new("probe", Unit::Times, 1.0).is_met(), None);
    }
}
