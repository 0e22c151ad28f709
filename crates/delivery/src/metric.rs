//! The metrics of delivery: one table, and the functions that count.

use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};
use service_lifecycle::{Kind, Metric};
use state_core::Signal;

/// Every metric of this crate. `endpoint` is a configured name, `signal` is `traces` or `logs`.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "delivery_events_total",
        kind: Kind::Counter,
        unit: None,
        help: "Closed generations of correlations that an endpoint has, by endpoint, signal and result: delivered, \
               or rejected when it will never take them. One without spans or without logs does not count for them.",
    },
    Metric {
        name: "delivery_items_total",
        kind: Kind::Counter,
        unit: None,
        help: "Spans or log records in them, by endpoint, signal and result.",
    },
    Metric {
        name: "delivery_failures_total",
        kind: Kind::Counter,
        unit: None,
        help: "Requests that an endpoint did not take, by endpoint, signal and reason: connect, transport, timeout, \
               a gRPC status such as unavailable, or an HTTP status such as http_503.",
    },
    Metric {
        name: "delivery_lag_seconds",
        kind: Kind::Histogram,
        unit: Some(Unit::Seconds),
        help: "Time from the close of a generation to its delivery, by endpoint and signal.",
    },
    Metric {
        name: "delivery_endpoint_up",
        kind: Kind::Gauge,
        unit: None,
        help: "Whether the last request was answered with a yes or no (1) or failed (0), by endpoint and signal.",
    },
    Metric {
        name: "delivery_queued_bytes",
        kind: Kind::Gauge,
        unit: Some(Unit::Bytes),
        help: "Telemetry in memory on its way to an endpoint, by endpoint and signal; at most 32 MiB.",
    },
    Metric {
        name: "delivery_in_flight_events",
        kind: Kind::Gauge,
        unit: None,
        help: "Events in memory that are being delivered or noted as delivered; at most 16384.",
    },
    Metric {
        name: "delivery_left_events_total",
        kind: Kind::Counter,
        unit: None,
        help: "Events left to the outbox by the engine that closed them, by reason: away (no endpoint is up) or \
               full (there is no room to deliver them at once).",
    },
    Metric {
        name: "delivery_claimed_events_total",
        kind: Kind::Counter,
        unit: None,
        help: "Events taken from the outbox.",
    },
    Metric {
        name: "delivery_put_back_events_total",
        kind: Kind::Counter,
        unit: None,
        help: "Events given back to the outbox because an endpoint lacks them.",
    },
    Metric {
        name: "delivery_endpoints_changes_total",
        kind: Kind::Counter,
        unit: None,
        help: "Changes of the file of endpoints, by result: used, or refused when it is wrong and the endpoints before \
               stay in use.",
    },
    Metric {
        name: "delivery_unsettled_events_total",
        kind: Kind::Counter,
        unit: None,
        help: "Events whose delivery could not be noted in the store; they are delivered once more.",
    },
];

/// The metrics of one signal of one endpoint.
pub(crate) struct LaneMetrics {
    endpoint: String,
    signal: &'static str,
    pub(crate) delivered: Results,
    pub(crate) rejected: Results,
    pub(crate) lag: Histogram,
    pub(crate) up: Gauge,
    pub(crate) queued: Gauge,
}

/// Events, and items in them, with one result.
pub(crate) struct Results {
    pub(crate) events: Counter,
    pub(crate) items: Counter,
}

impl LaneMetrics {
    pub(crate) fn new(endpoint: &str, signal: Signal) -> Self {
        let (endpoint, signal) = (endpoint.to_owned(), label(signal));
        let name = || endpoint.clone();
        let results = |result: &'static str| Results {
            events: counter!("delivery_events_total", "endpoint" => name(), "signal" => signal, "result" => result),
            items: counter!("delivery_items_total", "endpoint" => name(), "signal" => signal, "result" => result),
        };
        let metrics = Self {
            delivered: results("delivered"),
            rejected: results("rejected"),
            lag: histogram!("delivery_lag_seconds", "endpoint" => name(), "signal" => signal),
            up: gauge!("delivery_endpoint_up", "endpoint" => name(), "signal" => signal),
            queued: gauge!("delivery_queued_bytes", "endpoint" => name(), "signal" => signal),
            endpoint: name(),
            signal,
        };
        // Until a request says otherwise.
        metrics.up.set(1.0);
        metrics
    }

    pub(crate) fn not_taken(&self, reason: &'static str) {
        let endpoint = self.endpoint.clone();
        counter!("delivery_failures_total", "endpoint" => endpoint, "signal" => self.signal, "reason" => reason)
            .increment(1);
    }
}

/// The value of the label `signal`.
pub(crate) fn label(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "traces",
        Signal::Logs => "logs",
    }
}

pub(crate) fn in_flight() -> Gauge {
    gauge!("delivery_in_flight_events")
}

pub(crate) fn left(reason: &'static str) {
    counter!("delivery_left_events_total", "reason" => reason).increment(1);
}

pub(crate) fn claimed(events: usize) {
    counter!("delivery_claimed_events_total").increment(events as u64);
}

pub(crate) fn put_back(events: usize) {
    counter!("delivery_put_back_events_total").increment(events as u64);
}

pub(crate) fn endpoints_changed(result: &'static str) {
    counter!("delivery_endpoints_changes_total", "result" => result).increment(1);
}

pub(crate) fn unsettled(events: usize) {
    counter!("delivery_unsettled_events_total").increment(events as u64);
}
