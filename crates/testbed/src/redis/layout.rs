//! How many replicas the primaries of a cluster have.

use clap::ValueEnum;
use serde::Serialize;

/// Three primaries, and replicas of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
pub enum Layout {
    /// One replica for each primary.
    #[value(name = "3+3")]
    #[serde(rename = "3+3")]
    OneReplica,
    /// Two replicas for each primary.
    #[value(name = "3x(1+2)", alias = "3x2")]
    #[serde(rename = "3x(1+2)")]
    TwoReplicas,
}

impl Layout {
    /// Of each primary.
    #[must_use]
    pub fn replicas(self) -> usize {
        match self {
            Self::OneReplica => 1,
            Self::TwoReplicas => 2,
        }
    }

    /// As it is written on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OneReplica => "3+3",
            Self::TwoReplicas => "3x(1+2)",
        }
    }
}
