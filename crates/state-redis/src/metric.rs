//! What this backend counts, beside what is counted of any store.

use metrics::{counter, gauge};

/// Bytes of appends that are on their way; refused beyond `in_flight_bytes_max`.
pub(crate) fn in_flight(bytes: usize) {
    gauge!("state_redis_in_flight_bytes").set(bytes as f64);
}

/// An append was refused because too much was on its way.
pub(crate) fn in_flight_refused() {
    counter!("state_redis_in_flight_refusals_total").increment(1);
}

/// A server did not answer, or the connection to it was lost.
pub(crate) fn connection_error() {
    counter!("redis_connection_errors_total").increment(1);
}

/// A write was not received by enough replicas in time, and is repeated or refused.
pub(crate) fn unconfirmed() {
    counter!("state_redis_unconfirmed_writes_total").increment(1);
}
