//! What a request holds, without its bytes.

use super::part::{Key, Part};
use crate::{
    load::profile::{Fixed, Profile},
    request::Signal,
};

pub(super) use realistic::Realistic;

mod realistic;

/// Names of the services that send traffic.
pub(super) const SERVICES: [&str; 30] = [
    "frontend",
    "gateway",
    "accounts",
    "sessions",
    "cart",
    "catalog",
    "search",
    "pricing",
    "promotions",
    "recommendation",
    "inventory",
    "warehouse",
    "checkout",
    "orders",
    "payment",
    "fraud",
    "invoices",
    "tax",
    "currency",
    "shipping",
    "tracking",
    "returns",
    "reviews",
    "images",
    "mail",
    "notifications",
    "loyalty",
    "audit",
    "configuration",
    "assistant",
];

/// What a request holds.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) signal: Signal,
    /// Who sends it, among [`SERVICES`].
    pub(super) service: usize,
    pub(super) parts: Vec<Part>,
    /// Sent before, under an earlier number.
    pub(super) is_repeated: bool,
}

/// Knows what every request of a profile holds.
#[derive(Debug)]
pub(super) enum Contents {
    Realistic(Box<Realistic>),
    Fixed(Fixed),
}

impl Contents {
    pub(super) fn new(profile: Profile) -> Self {
        match profile {
            Profile::Realistic => Self::Realistic(Box::default()),
            Profile::Fixed(fixed) => Self::Fixed(fixed),
        }
    }

    /// What request `number` holds.
    pub(super) fn get(&self, key: Key, number: u64) -> Content {
        match self {
            Self::Realistic(realistic) => realistic.content(key, number),
            Self::Fixed(fixed) => fixed.content(number),
        }
    }
}

impl Fixed {
    fn content(self, number: u64) -> Content {
        let (group, signal) = match self.logs_per_trace {
            0 => (number, Signal::Traces),
            _ if number.is_multiple_of(2) => (number / 2, Signal::Traces),
            _ => (number / 2, Signal::Logs),
        };
        let first = group * u64::from(self.traces_per_request);
        let part = |trace| Part {
            trace,
            first: 0,
            spans: self.spans_per_trace,
            logs: self.logs_per_trace,
            caller: None,
        };
        Content {
            signal,
            service: (group % SERVICES.len() as u64) as usize,
            parts: (first..first + u64::from(self.traces_per_request)).map(part).collect(),
            is_repeated: false,
        }
    }
}
