//! Assembles the gRPC server and runs it until the process drains.

use std::{sync::Arc, time::Duration};

use access::{Admission, Door, GrpcServer, Guard};
use anyhow::Context as _;
use delivery::Delivery;
use futures::FutureExt as _;
use otlp_proto::{
    FILE_DESCRIPTOR_SET,
    correlation::v1::{
        correlation_service_server::CorrelationServiceServer, watch_service_server::WatchServiceServer,
    },
    raw::{logs::logs_service_server::LogsServiceServer, trace::trace_service_server::TraceServiceServer},
};
use service_lifecycle::{Listener, Process, Tls, bind};
use state_core::{Backend, StateManager};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    codec::CompressionEncoding::{Gzip, Zstd},
    server::NamedService,
    service::{Routes, RoutesBuilder},
};
use tracing::{info, warn};

use crate::{
    activity::Activity,
    close::Closer,
    config::{Config, GrpcConfig},
    end,
    former::Former,
    link::Linker,
    maintain,
    measured::Measured,
    query::Query,
    receive::Receiver,
    unkept::Unkept,
    watch::{Watch, Watchers},
};

/// What the gRPC port is called in metrics, and its section in the configuration.
const DOOR: &str = "grpc";
/// Of the time for draining, what is left for the store when nothing more is delivered.
const RESERVE: Duration = Duration::from_secs(5);

type Traces = TraceServiceServer<Receiver>;
type Logs = LogsServiceServer<Receiver>;
type Correlations = CorrelationServiceServer<Query>;
type Watches = WatchServiceServer<Watch>;

/// Serves until the process drains, and closes the store. A former state is emptied besides.
///
/// # Errors
/// A port that cannot be used, a store that can never serve as it is configured.
pub async fn serve(
    process: Process<Config>,
    store: Arc<dyn StateManager>,
    former: Option<Arc<dyn StateManager>>,
) -> anyhow::Result<()> {
    let Process { config, readiness, shutdown, files } = process;
    let store: Arc<dyn StateManager> = Arc::new(Measured::new(store));
    let former = former.map(|store| Former::new(Arc::new(Measured::new(store))));
    let check = readiness.check("state");
    announce(&config, store.backend());

    let listener = bind(config.grpc.listen, "grpc.listen").await?;
    let tls = Tls::open(&files, &config.grpc.tls, &["h2"])?;
    let guard = Guard::open(&files, &config.auth)?;
    let mut delivery = Delivery::start(&config.delivery, &files)?;
    let listener = Listener::new(listener, DOOR, config.grpc.limits.connections_max, tls);
    let unkept = Arc::<Unkept>::default();
    let activity = Activity::new();
    let options = config.correlation.split_options()?;
    let receiver = Receiver::new(Arc::clone(&store), options, Arc::clone(&unkept), activity.clone());
    let query = Query::new(Arc::clone(&store), former.clone(), config.correlation.keys.clone());
    let watchers = Watchers::new(&config.watch);
    let watch = Watch::new(watchers.clone(), shutdown.clone());
    let server = GrpcServer {
        door: Door::new(guard, Admission::new(&config.grpc.limits, DOOR, DOOR)),
        routes: routes(&config.grpc, receiver, query, watch)?,
        names: &[Traces::NAME, Logs::NAME, Correlations::NAME, Watches::NAME],
        timeout: Some(Duration::from_millis(config.grpc.timeout_ms)),
    };

    // Ends with the set, that is with this function.
    let mut background = JoinSet::new();
    background.spawn(maintain::expire(Arc::clone(&store)));
    background.spawn(maintain::count(Arc::clone(&store), Arc::clone(&unkept)));
    let mut closer = |store: &Arc<dyn StateManager>, activity| {
        let handle = delivery.as_mut().map(|delivery| delivery.of_store(Arc::clone(store)));
        let linker = Linker::new(&config.links, Arc::clone(store));
        Closer::new(Arc::clone(store), config.rules(), handle, linker, watchers.clone(), activity)
    };
    // They end when nothing comes in any more, and in good order.
    let (mut closing, mut closing_former) = (JoinSet::new(), JoinSet::new());
    let stopped = CancellationToken::new();
    closing.spawn(closer(&store, activity).run(stopped.clone()));
    if let Some(former) = &former {
        let activity = Activity::new();
        closing_former.spawn(closer(former.store(), activity.clone()).run(stopped.clone()));
        background.spawn(maintain::expire(Arc::clone(former.store())));
        background.spawn(former.clone().follow(activity, delivery.is_some()));
    }
    let grace = Duration::from_millis(config.shutdown.grace_ms);
    let deadline =
        shutdown.draining().map(move |()| Instant::now() + grace - RESERVE.min(grace / 2)).shared();
    let mut watch_store = Box::pin(maintain::watch_store(Arc::clone(&store), check));
    let serving = server.serve(listener, readiness.subscribe(), deadline.clone().map(drop));
    let unread = shutdown.draining().then(|()| sleep(grace / 2));
    tokio::select! {
        served = serving => served.context("the gRPC server failed")?,
        // A watcher, above all: its stream ends only when it reads. What is closed has to be delivered yet.
        () = unread => warn!("clients that do not read their answers are not waited for"),
        failed = &mut watch_store => return failed,
    }

    stopped.cancel();
    let deadline = deadline.await;
    for mut closer in closing.join_all().await {
        if store.backend() == Backend::Memory {
            end::close_and_deliver(&*store, &mut closer, delivery.is_some(), deadline).await;
        }
    }
    // What it has not finished of the former state, others do, or this engine when it runs again.
    let _ = timeout_at(deadline, closing_former.join_all()).await;
    if let Some(delivery) = delivery {
        delivery.drain(deadline).await;
    }
    if let Err(error) = unkept.enter(async |refused| store.note_refused(refused).await).await {
        warn!(error = &error as &dyn std::error::Error, "the latest refusals are missing in the ledger");
    }
    drop(background);
    if let Some(former) = former {
        former.store().close().await.context("failed to leave the former state")?;
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
    if config.has_former_state() {
        let redis = service_lifecycle::mask_password(&redis.url);
        info!(%state, redis, "what this Redis holds is closed, delivered and served until it is empty; nothing new goes there");
    }
}

fn routes(
    config: &GrpcConfig,
    receiver: Receiver,
    query: Query,
    watch: Watch,
) -> anyhow::Result<RoutesBuilder> {
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
        )
        .add_service(Watches::new(watch));
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
