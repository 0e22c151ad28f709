//! What an operator asks first of an engine that has started, in one line of its log.

use service_lifecycle::{Tracer, config_value, mask_password};
use state_core::Backend;
use tracing::info;

use crate::config::Config;

/// Says which state it has, for how long and how much of it, what it takes on, where it listens, and where
/// it delivers and traces to.
pub(crate) fn announce(config: &Config, state: Backend, tracer: &Tracer) {
    let Config { correlation, delivery, memory, redis, grpc, admin, .. } = config;
    let is_redis = state != Backend::Memory;
    let delivery = match (delivery.url.as_str(), delivery.endpoints.as_str()) {
        ("", "") => "off".to_owned(),
        ("", file) => file.to_owned(),
        (url, _) => mask_password(url),
    };
    info!(
        %state,
        redis = is_redis.then(|| mask_password(&redis.url)),
        redis_key_prefix = is_redis.then_some(&redis.key_prefix),
        redis_buckets = is_redis.then_some(redis.buckets),
        redis_acknowledge = is_redis.then(|| config_value(&redis.acknowledge)),
        memory_bytes_max = (!is_redis).then_some(memory.bytes_max),
        ttl_seconds = correlation.ttl_seconds,
        grace_ms = correlation.grace_ms,
        window_seconds = correlation.window_seconds,
        age_max_seconds = correlation.age_max_seconds,
        spans_max = correlation.spans_max,
        bytes_max = correlation.bytes_max,
        max_message_bytes = grpc.max_message_bytes,
        requests_in_flight_max = grpc.limits.requests_in_flight_max,
        bytes_in_flight_max = grpc.limits.bytes_in_flight_max,
        grpc = %grpc.listen,
        admin = %admin.listen,
        delivery,
        traces = %tracer,
        "state and limits"
    );
    if config.has_former_state() {
        let redis = mask_password(&redis.url);
        info!(%state, redis, "what this Redis holds is closed, delivered and served until it is empty; nothing new goes there");
    }
}
