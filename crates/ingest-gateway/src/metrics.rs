//! The metrics of the gateway: one table, and what records them.

use metrics::{Unit, counter, gauge, histogram};
use service_lifecycle::{Kind, Metric};
use tokio::time::Instant;

use crate::receive::Signal;

const ACCEPTED: &str = "gateway_requests_accepted_total";
const REFUSED: &str = "gateway_requests_refused_total";
const RECEIVED_BYTES: &str = "gateway_received_bytes_total";
const IN_FLIGHT: &str = "gateway_requests_in_flight";
const DURATION: &str = "gateway_request_duration_seconds";
const QUERIES: &str = "gateway_queries_total";
const TRUNCATED_TREES: &str = "gateway_truncated_trees_total";
const ATTEMPTS: &str = "gateway_engine_attempts_total";
const HEDGES: &str = "gateway_hedges_total";
const BUDGET_EXHAUSTED: &str = "gateway_retry_budget_exhausted_total";
const ENGINES_KNOWN: &str = "gateway_engines_known";
const ENGINES_READY: &str = "gateway_engines_ready";
const POOL_REQUESTS: &str = "gateway_pool_requests_total";
const POOL_WEIGHT: &str = "gateway_pool_weight";
const POOL_STICKY: &str = "gateway_pool_sticky";
const EVENT_STREAMS: &str = "gateway_event_streams";
const EVENT_STREAMS_REFUSED: &str = "gateway_event_streams_refused_total";

/// Every metric of this crate.
pub const METRICS: &[Metric] = &[
    Metric {
        name: ACCEPTED,
        kind: Kind::Counter,
        unit: None,
        help: "OTLP requests that an engine has taken, by signal (traces, logs) and transport \
               (http_protobuf, http_json, grpc). An engine may have refused some items of a request.",
    },
    Metric {
        name: REFUSED,
        kind: Kind::Counter,
        unit: None,
        help: "OTLP requests answered with an error, by signal, transport (http_unknown when the \
               content type is neither) and reason: a gRPC code in lower case, or client_gone.",
    },
    Metric {
        name: RECEIVED_BYTES,
        kind: Kind::Counter,
        unit: Some(Unit::Bytes),
        help: "Bytes of OTLP received after decompression, by signal and transport.",
    },
    Metric {
        name: IN_FLIGHT,
        kind: Kind::Gauge,
        unit: None,
        help: "OTLP requests that have not been answered yet, by signal.",
    },
    Metric {
        name: DURATION,
        kind: Kind::Histogram,
        unit: Some(Unit::Seconds),
        help: "Time from the head of an OTLP request to its answer, by signal.",
    },
    Metric {
        name: QUERIES,
        kind: Kind::Counter,
        unit: None,
        help: "Answers to queries, by query (list, get, related, delete, ledger, stats, events, inject) and HTTP status code.",
    },
    Metric {
        name: TRUNCATED_TREES,
        kind: Kind::Counter,
        unit: None,
        help: "Answers about a correlation that say under truncated what was too much for them; with \
               view=full they hold all.",
    },
    Metric {
        name: ATTEMPTS,
        kind: Kind::Counter,
        unit: None,
        help: "Calls to engines, by result: answered, refused (a permanent error), retryable \
               (an error that another engine may not have), unreachable, timeout, abandoned (another \
               engine had answered before).",
    },
    Metric {
        name: HEDGES,
        kind: Kind::Counter,
        unit: None,
        help: "Requests sent to one more engine because the first took longer than engines.hedge_ms.",
    },
    Metric {
        name: BUDGET_EXHAUSTED,
        kind: Kind::Counter,
        unit: None,
        help: "Further attempts that were not made because engines.retry_percent and \
               engines.retries_per_second were used up; clients send these requests again.",
    },
    Metric {
        name: ENGINES_KNOWN,
        kind: Kind::Gauge,
        unit: None,
        help: "Engines that engines.urls or engines.pools leads to.",
    },
    Metric {
        name: ENGINES_READY,
        kind: Kind::Gauge,
        unit: None,
        help: "Engines that are ready to take requests.",
    },
    Metric {
        name: POOL_REQUESTS,
        kind: Kind::Counter,
        unit: None,
        help: "OTLP requests, or shares of them, sent to engines of a pool, by pool. Attempts at \
               further engines of the pool are not counted.",
    },
    Metric {
        name: POOL_WEIGHT,
        kind: Kind::Gauge,
        unit: None,
        help: "Part of the traces that a pool gets, in relation to the weights of the others, by pool.",
    },
    Metric {
        name: POOL_STICKY,
        kind: Kind::Gauge,
        unit: None,
        help: "1 while every trace goes to one engine of the pool, 0 while any engine takes any trace, by pool.",
    },
    Metric {
        name: EVENT_STREAMS,
        kind: Kind::Gauge,
        unit: None,
        help: "Streams of closes that are open, of at most events.streams_max.",
    },
    Metric {
        name: EVENT_STREAMS_REFUSED,
        kind: Kind::Counter,
        unit: None,
        help: "Streams of closes refused because events.streams_max was reached.",
    },
];

/// Follows one OTLP request; what is dropped before it has an outcome was given up by the client.
pub(crate) struct Observation {
    signal: Signal,
    transport: &'static str,
    started: Instant,
    /// `None` once recorded as accepted.
    refused_because: Option<&'static str>,
}

impl Observation {
    pub(crate) fn begin(signal: Signal, transport: &'static str) -> Self {
        gauge!(IN_FLIGHT, "signal" => signal.name()).increment(1.0);
        Self { signal, transport, started: Instant::now(), refused_because: Some("client_gone") }
    }

    pub(crate) fn received(&self, bytes: usize) {
        let signal = self.signal.name();
        counter!(RECEIVED_BYTES, "signal" => signal, "transport" => self.transport).increment(bytes as u64);
    }

    pub(crate) fn accepted(mut self) {
        self.refused_because = None;
    }

    pub(crate) fn refused(mut self, reason: &'static str) {
        self.refused_because = Some(reason);
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let (signal, transport) = (self.signal.name(), self.transport);
        gauge!(IN_FLIGHT, "signal" => signal).decrement(1.0);
        histogram!(DURATION, "signal" => signal).record(self.started.elapsed().as_secs_f64());
        match self.refused_because {
            None => counter!(ACCEPTED, "signal" => signal, "transport" => transport),
            Some(reason) => {
                counter!(REFUSED, "signal" => signal, "transport" => transport, "reason" => reason)
            }
        }
        .increment(1);
    }
}

/// Counts the answer to a query.
pub(crate) fn query_answered(query: &'static str, code: u16) {
    counter!(QUERIES, "query" => query, "code" => code.to_string()).increment(1);
}

/// Counts an answer that holds less than the correlation.
pub(crate) fn tree_truncated() {
    counter!(TRUNCATED_TREES).increment(1);
}

/// Counts one call to an engine.
pub(crate) fn attempt_ended(result: &'static str) {
    counter!(ATTEMPTS, "result" => result).increment(1);
}

/// Shows from the start what should stay at zero, so that an alert can see it rise.
pub(crate) fn begin_at_zero() {
    for name in [HEDGES, BUDGET_EXHAUSTED, EVENT_STREAMS_REFUSED, TRUNCATED_TREES] {
        counter!(name).absolute(0);
    }
    event_streams(0.0);
}

/// Counts a second attempt beside a first one that has not ended.
pub(crate) fn hedged() {
    counter!(HEDGES).increment(1);
}

/// Counts an attempt that there was no budget for.
pub(crate) fn retry_budget_exhausted() {
    counter!(BUDGET_EXHAUSTED).increment(1);
}

/// Counts what goes to a pool.
pub(crate) fn sent_to_pool(pool: Option<&str>) {
    if let Some(pool) = pool {
        counter!(POOL_REQUESTS, "pool" => pool.to_owned()).increment(1);
    }
}

/// Notes how a pool is used.
pub(crate) fn pool_seen(pool: &str, weight: u32, is_sticky: bool) {
    gauge!(POOL_WEIGHT, "pool" => pool.to_owned()).set(weight);
    gauge!(POOL_STICKY, "pool" => pool.to_owned()).set(f64::from(u8::from(is_sticky)));
}

/// Notes how many engines there are.
pub(crate) fn engines_seen(known: usize, ready: usize) {
    gauge!(ENGINES_KNOWN).set(known as f64);
    gauge!(ENGINES_READY).set(ready as f64);
}

/// Counts streams of events that begin and end.
pub(crate) fn event_streams(change: f64) {
    gauge!(EVENT_STREAMS).increment(change);
}

/// Counts a stream of events that there was no room for.
pub(crate) fn event_stream_refused() {
    counter!(EVENT_STREAMS_REFUSED).increment(1);
}
