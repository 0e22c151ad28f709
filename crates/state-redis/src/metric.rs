//! What this backend counts, beside what is counted of any store.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

/// Bytes of appends that are on their way; refused beyond `in_flight_bytes_max`.
pub(crate) fn in_flight(bytes: usize) {
    gauge!("state_redis_in_flight_bytes").set(bytes as f64);
}

/// An append was refused because too much was on its way.
pub(crate) fn in_flight_refused() {
    counter!("state_redis_in_flight_refusals_total").increment(1);
}

/// Whether every primary could keep state when it was last asked.
pub(crate) fn up(is_up: bool) {
    gauge!("redis_up").set(if is_up { 1.0 } else { 0.0 });
}

/// How far the clock of the primary that differs most is from this machine's.
pub(crate) fn clock_skew(micros: i64) {
    gauge!("redis_clock_skew_seconds").set(micros as f64 / 1e6);
}

/// A pipeline was answered, or was given up.
pub(crate) fn took(time: Duration) {
    histogram!("redis_duration_seconds").record(time.as_secs_f64());
}

/// A server did not answer, or the connection to it was lost.
pub(crate) fn connection_error() {
    counter!("redis_connection_errors_total").increment(1);
}

/// A write was not received by enough replicas in time, and is repeated or refused.
pub(crate) fn unconfirmed() {
    counter!("state_redis_unconfirmed_writes_total").increment(1);
}
