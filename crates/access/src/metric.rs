//! The metrics of doors: one table, and the functions that count.

use metrics::{counter, gauge};
use service_lifecycle::{Kind, Metric};

/// Every metric of this crate.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "door_connections",
        kind: Kind::Gauge,
        unit: None,
        help: "Open connections, by door (grpc, http).",
    },
    Metric {
        name: "door_refused_connections_total",
        kind: Kind::Counter,
        unit: None,
        help: "Connections closed at once, by door and reason: connections_max, handshake (TLS failed) or \
               silent (nothing was sent in time).",
    },
    Metric {
        name: "door_denied_requests_total",
        kind: Kind::Counter,
        unit: None,
        help: "Requests denied, by door and reason: unauthenticated (no or an unknown credential) or \
               forbidden (a tenant that the credential may not name).",
    },
];

pub(crate) fn opened(door: &'static str) {
    gauge!("door_connections", "door" => door).increment(1.0);
}

pub(crate) fn closed(door: &'static str) {
    gauge!("door_connections", "door" => door).decrement(1.0);
}

pub(crate) fn refused(door: &'static str, reason: &'static str) {
    counter!("door_refused_connections_total", "door" => door, "reason" => reason).increment(1);
}

pub(crate) fn denied(door: &'static str, reason: &'static str) {
    counter!("door_denied_requests_total", "door" => door, "reason" => reason).increment(1);
}
