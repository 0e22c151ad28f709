//! Assembles the gRPC server and runs it until the process drains.

use std::{sync::Arc, time::Duration};

use access::{Admission, Door, EntranceLayer, Guard, OversizeLayer, incoming};
use anyhow::Context as _;
use otlp_proto::{
    FILE_DESCRIPTOR_SET,
    correlation::v1::correlation_service_server::CorrelationServiceServer,
    raw::{logs::logs_service_server::LogsServiceServer, trace::trace_service_server::TraceServiceServer},
};
use service_lifecycle::{Listener, Process, Tls, bind};
use state_core::{Backend, StateManager};
use tokio::{sync::watch, task::JoinSet};
use tonic::{
    codec::CompressionEncoding::{Gzip, Zstd},
    server::NamedService,
    service::{Routes, RoutesBuilder},
    transport::Server,
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{info, warn};

use crate::{
    close::Closer,
    config::{Config, GrpcConfig},
    maintain,
    measured::Measured,
    query::Query,
    receive::Receiver,
};

/// What the gRPC port is called in metrics, and its section in the configuration.
const DOOR: &str = "grpc";
/// A client that went away without a word is noticed by then.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Window of a stream: a request of a thousand spans goes out without waiting.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Window of a connection, over all its streams.
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// A request of a thousand spans comes in a few frames instead of dozens.
const FRAME_BYTES_MAX: u32 = 256 << 10;

type Traces = TraceServiceServer<Receiver>;
type Logs = LogsServiceServer<Receiver>;
type Correlations = CorrelationServiceServer<Query>;

/// Serves until the process drains, and closes the store.
///
/// # Errors
/// A port that cannot be used, a store that can never serve as it is configured.
pub async fn serve(process: Process<Config>, store: Arc<dyn StateManager>) -> anyhow::Result<()> {
    let Process { config, readiness, shutdown, files } = process;
    let store: Arc<dyn StateManager> = Arc::new(Measured::new(store));
    let check = readiness.check("state");
    announce(&config, store.backend());

    let listener = bind(config.grpc.listen, "grpc.listen").await?;
    let tls = Tls::open(&files, &config.grpc.tls, &["h2"])?;
    let guard = Guard::open(&files, &config.auth)?;
    let listener = Listener::new(listener, DOOR, config.grpc.limits.connections_max, tls);
    let (reporter, health) = tonic_health::server::health_reporter();
    let receiver = Receiver::new(Arc::clone(&store), config.correlation.keys.clone());
    let mut routes = routes(&config.grpc, receiver, Query::new(Arc::clone(&store)))?;
    routes.add_service(health);

    // All of these end with the set, that is with this function.
    let mut background = JoinSet::new();
    background.spawn(report_health(reporter, readiness.subscribe()));
    background.spawn(maintain::expire(Arc::clone(&store)));
    background.spawn(Closer::new(Arc::clone(&store), config.rules()).run());
    let mut watch_store = Box::pin(maintain::watch_store(Arc::clone(&store), check));

    let server = Server::builder()
        .timeout(Duration::from_millis(config.grpc.timeout_ms))
        .http2_keepalive_interval(Some(KEEPALIVE))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .layer(EntranceLayer(Door::new(guard, Admission::new(&config.grpc.limits, DOOR, DOOR))))
        .layer(OversizeLayer { section: DOOR })
        .add_routes(routes.routes())
        .serve_with_incoming_shutdown(incoming(listener), shutdown.draining());
    tokio::select! {
        served = server => served.context("the gRPC server failed")?,
        failed = &mut watch_store => return failed,
    }

    if store.backend() == Backend::Memory {
        let correlations = store.get_correlation_count().await.unwrap_or_default();
        if correlations > 0 {
            warn!(correlations, "state in memory ends with this process");
        }
    }
    store.close().await.context("failed to close the state")
}

fn announce(config: &Config, state: Backend) {
    let Config { correlation, redis, grpc, .. } = config;
    info!(
        %state,
        ttl_seconds = correlation.ttl_seconds,
        spans_max = correlation.spans_max,
        bytes_max = correlation.bytes_max,
        max_message_bytes = grpc.max_message_bytes,
        redis = service_lifecycle::mask_password(&redis.url),
        "state and limits"
    );
    if state == Backend::Memory && !redis.url.is_empty() {
        info!("redis.url is set but not used: state is in memory until use_redis_state is true");
    }
}

fn routes(config: &GrpcConfig, receiver: Receiver, query: Query) -> anyhow::Result<RoutesBuilder> {
    let limit = config.max_message_bytes;
    let traces = Traces::new(receiver.clone()).max_decoding_message_size(limit);
    let logs = Logs::new(receiver).max_decoding_message_size(limit);
    let correlations = Correlations::new(query);
    let mut routes = Routes::builder();
    routes
        .add_service(traces.accept_compressed(Gzip).accept_compressed(Zstd).send_compressed(Gzip))
        .add_service(logs.accept_compressed(Gzip).accept_compressed(Zstd).send_compressed(Gzip))
        .add_service(
            correlations
                .accept_compressed(Gzip)
                .accept_compressed(Zstd)
                .send_compressed(Gzip)
                .send_compressed(Zstd),
        );
    if config.reflection {
        let describe = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        // Older grpcurl asks for v1alpha.
        routes.add_service(describe().build_v1().context("failed to describe the services")?);
        routes.add_service(describe().build_v1alpha().context("failed to describe the services")?);
    }
    Ok(routes)
}

/// Says over gRPC what the readiness checks say: of the server as a whole and of each service.
async fn report_health(reporter: HealthReporter, mut ready: watch::Receiver<bool>) {
    loop {
        let status =
            if *ready.borrow_and_update() { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["", Traces::NAME, Logs::NAME, Correlations::NAME] {
            reporter.set_service_status(service, status).await;
        }
        if ready.changed().await.is_err() {
            return;
        }
    }
}
