//! The engine's metrics: one table, and the functions that count.

use metrics::{Unit, counter, gauge, histogram};
use service_lifecycle::{Kind, Metric};
use state_core::{Account, Ledger, Outcome, Signal};

/// Every metric of an engine. `signal` is `traces` or `logs`; items are spans or log records.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "engine_received_items_total",
        kind: Kind::Counter,
        unit: None,
        help: "Items in requests that could be read, by signal.",
    },
    Metric {
        name: "engine_accepted_items_total",
        kind: Kind::Counter,
        unit: None,
        help: "Items acknowledged, duplicates included, by signal.",
    },
    Metric {
        name: "engine_duplicate_items_total",
        kind: Kind::Counter,
        unit: None,
        help: "Items acknowledged in fragments that were kept before, by signal.",
    },
    Metric {
        name: "engine_refused_items_total",
        kind: Kind::Counter,
        unit: None,
        help: "Items not kept, by signal and reason: an invalid id or a limit for good, unavailable until a retry.",
    },
    Metric {
        name: "engine_uncorrelated_items_total",
        kind: Kind::Counter,
        unit: None,
        help: "Log records with neither a trace id nor a correlation key; each request's are kept on their own.",
    },
    Metric {
        name: "engine_items_named_in_text_total",
        kind: Kind::Counter,
        unit: None,
        help: "Log records whose trace id or correlation key was found in the text of their body alone, by \
               correlation.text_patterns.",
    },
    Metric {
        name: "engine_refused_requests_total",
        kind: Kind::Counter,
        unit: None,
        help: "Requests not acknowledged, by signal and reason: undecodable or unavailable.",
    },
    Metric {
        name: "engine_request_duration_seconds",
        kind: Kind::Histogram,
        unit: Some(Unit::Seconds),
        help: "Time from the whole request to its answer, by signal.",
    },
    Metric {
        name: "engine_request_size_bytes",
        kind: Kind::Histogram,
        unit: Some(Unit::Bytes),
        help: "Size of requests after decompression, by signal.",
    },
    Metric {
        name: "state_manager_operations_total",
        kind: Kind::Counter,
        unit: None,
        help: "Calls of the state, by type (memory, redis, redis-cluster) and operation. A call may be about many \
               correlations; those are counted by correlation_operations_total.",
    },
    Metric {
        name: "state_manager_errors_total",
        kind: Kind::Counter,
        unit: None,
        help: "Operations on the state that failed, by type and operation.",
    },
    Metric {
        name: "state_manager_duration_seconds",
        kind: Kind::Histogram,
        unit: Some(Unit::Seconds),
        help: "Time of operations on the state, by type and operation.",
    },
    Metric {
        name: "correlation_operations_total",
        kind: Kind::Counter,
        unit: None,
        help: "Correlations that this engine appended to, read, replaced, deleted or closed: each one of a call \
               counts, whatever came of it.",
    },
    Metric {
        name: "state_ledger_items",
        kind: Kind::Gauge,
        unit: None,
        help: "Items in the ledger of the whole state, by signal and account: received, kept, duplicate; delivered, stored, pending, deleted.",
    },
    Metric {
        name: "state_ledger_refused_items",
        kind: Kind::Gauge,
        unit: None,
        help: "Items that the ledger of the whole state has as refused, by signal and reason.",
    },
    Metric {
        name: "state_ledger_expired_items",
        kind: Kind::Gauge,
        unit: None,
        help: "Items that the ledger of the whole state has as expired, by signal and reason: pending, undelivered, stored or unseen.",
    },
    Metric {
        name: "state_ledger_balanced",
        kind: Kind::Gauge,
        unit: None,
        help: "1 if nothing in the ledger of the whole state is unaccounted for, else 0.",
    },
    Metric {
        name: "active_correlations_total",
        kind: Kind::Gauge,
        unit: None,
        help: "Correlations in the whole state that have not expired, counted every fifteen seconds. Several \
               engines of one state tell the same.",
    },
    Metric {
        name: "correlation_count",
        kind: Kind::Gauge,
        unit: None,
        help: "active_correlations_total as one that seldom falls: it rises at once, and falls once in fifteen \
               minutes at most. So rate() of it is the growth of the state, which it is not of a gauge that \
               goes up and down.",
    },
    Metric {
        name: "engine_closed_correlations_total",
        kind: Kind::Counter,
        unit: None,
        help: "Generations of correlations that this engine closed, by cause: complete, idle, max_age, full, or \
               no_news when everything in it was only resent.",
    },
    Metric {
        name: "engine_linked_traces_total",
        kind: Kind::Counter,
        unit: None,
        help: "Traces that were linked to the trace that led to them when this engine closed them.",
    },
    Metric {
        name: "engine_unlinked_traces_total",
        kind: Kind::Counter,
        unit: None,
        help: "Traces with correlation keys that were closed without a link, by reason: no_candidate, \
               below_threshold, linked when they say themselves what they follow from, unavailable when the state \
               did not answer in time, unreadable, or the limit of the trace that a bridge would exceed.",
    },
    Metric {
        name: "engine_unlinkable_keys_total",
        kind: Kind::Counter,
        unit: None,
        help: "Correlation keys by which nothing was looked for, by reason: common when more than \
               links.candidates_max carry it, keys_max when the trace carries many.",
    },
    Metric {
        name: "engine_watchers",
        kind: Kind::Gauge,
        unit: None,
        help: "Callers of Watch, of at most watch.watchers_max.",
    },
    Metric {
        name: "engine_watch_refusals_total",
        kind: Kind::Counter,
        unit: None,
        help: "Calls of Watch refused because watch.watchers_max was reached.",
    },
    Metric {
        name: "engine_watch_missed_events_total",
        kind: Kind::Counter,
        unit: None,
        help: "Closes that a watcher was not told of, but of their number, because watch.queue_bytes_max was reached.",
    },
    Metric {
        name: "engine_expired_correlations_total",
        kind: Kind::Counter,
        unit: None,
        help: "Correlations that this engine freed after their TTL.",
    },
    Metric {
        name: "former_state_correlations",
        kind: Kind::Gauge,
        unit: None,
        help: "Correlations in Redis of an engine whose state is in memory and redis.url is set, counted every fifteen \
               seconds: served until their TTL. At 0 redis.url may be unset. Several engines tell the same.",
    },
    Metric {
        name: "former_state_unfinished_items",
        kind: Kind::Gauge,
        unit: None,
        help: "Items in them that are not closed, or not delivered where there are endpoints.",
    },
    Metric {
        name: "state_memory_used_bytes",
        kind: Kind::Gauge,
        unit: Some(Unit::Bytes),
        help: "Estimated memory of the state in this process, of at most memory.bytes_max.",
    },
    Metric {
        name: "state_memory_refusals_total",
        kind: Kind::Counter,
        unit: None,
        help: "Calls refused as unavailable because memory.bytes_max was reached.",
    },
    Metric {
        name: "state_redis_in_flight_bytes",
        kind: Kind::Gauge,
        unit: Some(Unit::Bytes),
        help: "Bytes of appends on their way to Redis, of at most redis.in_flight_bytes_max.",
    },
    Metric {
        name: "state_redis_in_flight_refusals_total",
        kind: Kind::Counter,
        unit: None,
        help: "Appends refused as unavailable because redis.in_flight_bytes_max was reached.",
    },
    Metric {
        name: "state_redis_unconfirmed_writes_total",
        kind: Kind::Counter,
        unit: None,
        help: "Attempts to write that too few replicas had received in time; repeated, or refused as unavailable.",
    },
    Metric {
        name: "redis_connection_errors_total",
        kind: Kind::Counter,
        unit: None,
        help: "Attempts that failed because a Redis server did not answer, was lost, or could not serve.",
    },
    Metric {
        name: "redis_up",
        kind: Kind::Gauge,
        unit: None,
        help: "1 if every primary could keep the state when it was last asked, every two seconds, else 0. \
               Only with state in Redis, or a former state there, which is asked more seldom while it does not answer.",
    },
    Metric {
        name: "redis_clock_skew_seconds",
        kind: Kind::Gauge,
        unit: Some(Unit::Seconds),
        help: "How far the clock of the primary that differs most is ahead (positive) or behind (negative) of this \
               engine's; 0 as long as they may show the same. Looked at every two seconds.",
    },
    Metric {
        name: "redis_duration_seconds",
        kind: Kind::Histogram,
        unit: Some(Unit::Seconds),
        help: "Time of one pipeline of commands to one Redis server until its answer or until it was given up, \
               its wait for replicas included. An operation of state_manager_duration_seconds may take several.",
    },
];

/// The value of the label `signal`.
pub(crate) fn label(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "traces",
        Signal::Logs => "logs",
    }
}

pub(crate) fn request(signal: Signal, bytes: usize) {
    histogram!("engine_request_size_bytes", "signal" => label(signal)).record(bytes as f64);
}

pub(crate) fn request_took(signal: Signal, seconds: f64) {
    histogram!("engine_request_duration_seconds", "signal" => label(signal)).record(seconds);
}

pub(crate) fn request_refused(signal: Signal, reason: &'static str) {
    counter!("engine_refused_requests_total", "signal" => label(signal), "reason" => reason).increment(1);
}

pub(crate) fn received(signal: Signal, items: u64) {
    counter!("engine_received_items_total", "signal" => label(signal)).increment(items);
}

pub(crate) fn settled(signal: Signal, outcome: Outcome, items: u64) {
    match outcome {
        Outcome::Added => {}
        Outcome::Duplicate => {
            counter!("engine_duplicate_items_total", "signal" => label(signal)).increment(items);
        }
        Outcome::Refused(refusal) => return refused(signal, refusal.as_str(), items),
    }
    counter!("engine_accepted_items_total", "signal" => label(signal)).increment(items);
}

pub(crate) fn refused(signal: Signal, reason: &'static str, items: u64) {
    counter!("engine_refused_items_total", "signal" => label(signal), "reason" => reason).increment(items);
}

pub(crate) fn uncorrelated(items: u64) {
    counter!("engine_uncorrelated_items_total").increment(items);
}

pub(crate) fn named_in_text(items: u64) {
    counter!("engine_items_named_in_text_total").increment(items);
}

/// How many correlations there are, and lately were.
pub(crate) fn correlations(count: u64, lately: u64) {
    gauge!("active_correlations_total").set(count as f64);
    gauge!("correlation_count").set(lately as f64);
}

/// What the former state holds.
pub(crate) fn former_state(correlations: u64, unfinished_items: u64) {
    gauge!("former_state_correlations").set(correlations as f64);
    gauge!("former_state_unfinished_items").set(unfinished_items as f64);
}

/// A call was about so many correlations.
pub(crate) fn correlation_operations(correlations: usize) {
    counter!("correlation_operations_total").increment(correlations as u64);
}

/// What the ledger says now. Several engines of one state tell the same.
pub(crate) fn ledger(ledger: &Ledger) {
    gauge!("state_ledger_balanced").set(if ledger.is_balanced() { 1.0 } else { 0.0 });
    for signal in [Signal::Traces, Signal::Logs] {
        let Account { received, kept, duplicate, refused, delivered, stored, pending, expired, deleted } =
            ledger.of(signal);
        let accounts = [
            ("received", received),
            ("kept", kept),
            ("duplicate", duplicate),
            ("delivered", delivered),
            ("stored", stored),
            ("pending", pending),
            ("deleted", deleted),
        ];
        let signal = label(signal);
        for (account, items) in accounts {
            gauge!("state_ledger_items", "signal" => signal, "account" => account).set(*items as f64);
        }
        for (name, reasons) in
            [("state_ledger_refused_items", refused), ("state_ledger_expired_items", expired)]
        {
            for (reason, items) in reasons {
                gauge!(name, "signal" => signal, "reason" => reason.clone()).set(*items as f64);
            }
        }
    }
}

pub(crate) fn closed(cause: &'static str) {
    counter!("engine_closed_correlations_total", "cause" => cause).increment(1);
}

pub(crate) fn linked() {
    counter!("engine_linked_traces_total").increment(1);
}

pub(crate) fn not_linked(reason: &'static str) {
    counter!("engine_unlinked_traces_total", "reason" => reason).increment(1);
}

pub(crate) fn link_keys_left_out(reason: &'static str, keys: usize) {
    if keys > 0 {
        counter!("engine_unlinkable_keys_total", "reason" => reason).increment(keys as u64);
    }
}

pub(crate) fn watchers(change: f64) {
    gauge!("engine_watchers").increment(change);
}

pub(crate) fn watcher_refused() {
    counter!("engine_watch_refusals_total").increment(1);
}

pub(crate) fn watch_missed() {
    counter!("engine_watch_missed_events_total").increment(1);
}

pub(crate) fn expired(count: u64) {
    counter!("engine_expired_correlations_total").increment(count);
}
