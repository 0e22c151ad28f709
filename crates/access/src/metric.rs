//! What doors let in and what not: one table, and the functions that count.

use metrics::{Unit, counter, gauge};
use service_lifecycle::{Kind, Metric};

/// Every metric of this crate.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "door_denied_requests_total",
        kind: Kind::Counter,
        unit: None,
        help: "Requests denied, by door and reason: unauthenticated (no or an unknown credential), \
               forbidden (a tenant that the credential may not name), invalid (a tenant that is none).",
    },
    Metric {
        name: "door_requests_in_flight",
        kind: Kind::Gauge,
        unit: None,
        help: "Requests that have not been answered, by door; at most limits.requests_in_flight_max.",
    },
    Metric {
        name: "door_in_flight_bytes",
        kind: Kind::Gauge,
        unit: Some(Unit::Bytes),
        help: "Bytes of requests that have not been answered, by door; at most limits.bytes_in_flight_max.",
    },
    Metric {
        name: "door_overloads_total",
        kind: Kind::Counter,
        unit: None,
        help: "Requests refused as unavailable, by door and limit: requests_in_flight_max or bytes_in_flight_max.",
    },
];

pub(crate) fn denied(door: &'static str, reason: &'static str) {
    counter!("door_denied_requests_total", "door" => door, "reason" => reason).increment(1);
}

pub(crate) fn requests_in_flight(door: &'static str, change: f64) {
    gauge!("door_requests_in_flight", "door" => door).increment(change);
}

pub(crate) fn bytes_in_flight(door: &'static str, change: f64) {
    gauge!("door_in_flight_bytes", "door" => door).increment(change);
}

pub(crate) fn overloaded(door: &'static str, limit: &'static str) {
    counter!("door_overloads_total", "door" => door, "limit" => limit).increment(1);
}
