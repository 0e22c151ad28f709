//! What an operator asks first of a gateway that has started, in one line of its log.

use service_lifecycle::{Tracer, config_value};
use tracing::info;

use crate::GatewayConfig;

/// Says which engines it sends to and how, what it takes on, where it listens, and where it traces to.
pub(crate) fn announce(config: &GatewayConfig, tracer: &Tracer) {
    let GatewayConfig { http, otlp_grpc, engines, admin, .. } = config;
    let has_pools = !engines.pools.is_empty();
    let urls: Vec<String> = engines.urls.iter().map(ToString::to_string).collect();
    info!(
        engines = (!has_pools).then(|| urls.join(" ")),
        pools = has_pools.then_some(&engines.pools),
        routing = config_value(&engines.routing),
        max_attempts = engines.max_attempts,
        hedge_ms = engines.hedge_ms,
        max_body_bytes = http.max_body_bytes,
        max_message_bytes = otlp_grpc.max_message_bytes,
        http_requests_in_flight_max = http.limits.requests_in_flight_max,
        http_bytes_in_flight_max = http.limits.bytes_in_flight_max,
        grpc_requests_in_flight_max = otlp_grpc.limits.requests_in_flight_max,
        grpc_bytes_in_flight_max = otlp_grpc.limits.bytes_in_flight_max,
        http = %http.listen,
        grpc = %otlp_grpc.listen,
        admin = %admin.listen,
        traces = %tracer,
        "engines and limits"
    );
}
