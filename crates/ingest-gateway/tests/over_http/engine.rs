//! An engine that answers as a test tells it to and remembers what it was sent.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use otlp_proto::{
    correlation::v1::{
        CleanUpCorrelationsRequest, CleanUpCorrelationsResponse, CorrelationSummary,
        CountCorrelationsRequest, CountCorrelationsResponse, DeleteCorrelationRequest,
        DeleteCorrelationResponse, DescribeStateRequest, DescribeStateResponse, GetCorrelationRequest,
        GetCorrelationResponse, GetLedgerRequest, GetLedgerResponse, LedgerAccount, ListCorrelationsRequest,
        ListCorrelationsResponse, ListRelatedRequest, ListRelatedResponse, RelatedCorrelation,
        RelatedDirection, StateBackend, WatchRequest, WatchResponse,
        correlation_service_server::{CorrelationService, CorrelationServiceServer},
        watch_response::Told,
        watch_service_server::{WatchService, WatchServiceServer},
    },
    raw::{
        logs::logs_service_server::{LogsService, LogsServiceServer},
        trace::trace_service_server::{TraceService, TraceServiceServer},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{self, Runtime},
    sync::{Notify, mpsc},
};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Code, Request, Response, Status, transport::Server};
use tonic_health::{ServingStatus, server::HealthReporter};

/// What the engine does with the next calls.
#[derive(Clone)]
pub(crate) enum Answer {
    Bytes(Bytes),
    Status(Status),
    /// An empty answer, after that time.
    After(Duration),
    /// Nothing until told, then an empty answer.
    When(Arc<Notify>),
}

/// A running engine; it ends when dropped.
pub(crate) struct FakeEngine {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    health: HealthReporter,
    /// Its own, so that its end closes connections as the end of a process does. `None` once dropped.
    runtime: Option<Runtime>,
}

struct State {
    answer: Mutex<Answer>,
    received: Mutex<Vec<(&'static str, Bytes)>>,
    timeouts: Mutex<Vec<String>>,
    state_id: Mutex<String>,
    listed: Mutex<Vec<ListCorrelationsRequest>>,
    watched: Mutex<Vec<WatchRequest>>,
    watchers: Mutex<Vec<mpsc::UnboundedSender<Result<WatchResponse, Status>>>>,
    /// Of what watchers were told, how much is on its way to them.
    taken: AtomicUsize,
    called: Notify,
}

impl FakeEngine {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let bound = runtime.spawn(TcpListener::bind(address));
        let listener = bound.await.unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            answer: Mutex::new(Answer::Bytes(Bytes::new())),
            received: Mutex::default(),
            timeouts: Mutex::default(),
            // One for all, until a test says otherwise.
            state_id: Mutex::new("shared".to_owned()),
            listed: Mutex::default(),
            watched: Mutex::default(),
            watchers: Mutex::default(),
            taken: AtomicUsize::new(0),
            called: Notify::new(),
        });
        let (health, health_service) = tonic_health::server::health_reporter();
        let service = Service(Arc::clone(&state));
        let server = Server::builder()
            .add_service(health_service)
            .add_service(TraceServiceServer::new(service.clone()).max_decoding_message_size(usize::MAX))
            .add_service(LogsServiceServer::new(service.clone()))
            .add_service(CorrelationServiceServer::new(service.clone()))
            .add_service(WatchServiceServer::new(service))
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(server);
        Self { address, state, health, runtime: Some(runtime) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn answers(&self, answer: Answer) {
        *self.state.answer.lock().unwrap() = answer;
    }

    pub(crate) fn fails(&self, code: Code) {
        self.answers(Answer::Status(Status::new(code, "said the engine")));
    }

    /// Keeps a state of its own from now on.
    pub(crate) fn has_state(&self, id: &str) {
        id.clone_into(&mut self.state.state_id.lock().unwrap());
    }

    /// Signal and message of every export so far.
    pub(crate) fn received(&self) -> Vec<(&'static str, Bytes)> {
        self.state.received.lock().unwrap().clone()
    }

    /// The header `grpc-timeout` of every export so far.
    pub(crate) fn timeouts(&self) -> Vec<String> {
        self.state.timeouts.lock().unwrap().clone()
    }

    pub(crate) fn listed(&self) -> Vec<ListCorrelationsRequest> {
        self.state.listed.lock().unwrap().clone()
    }

    /// Every call of Watch so far.
    pub(crate) fn watched(&self) -> Vec<WatchRequest> {
        self.state.watched.lock().unwrap().clone()
    }

    /// Tells everybody who watches.
    pub(crate) fn tells(&self, told: Told) {
        let response = WatchResponse { told: Some(told) };
        for watcher in &*self.state.watchers.lock().unwrap() {
            let _gone_already = watcher.send(Ok(response.clone()));
        }
    }

    /// How much of that is on its way to them. What they do not read stays here sooner or later.
    pub(crate) fn taken(&self) -> usize {
        self.state.taken.load(Ordering::Relaxed)
    }

    /// Ends the answers to everybody who watches.
    pub(crate) fn sends_watchers_away(&self, status: Status) {
        for watcher in self.state.watchers.lock().unwrap().drain(..) {
            let _gone_already = watcher.send(Err(status.clone()));
        }
    }

    /// Resolves with the next export, or at once when one came unnoticed.
    pub(crate) async fn called(&self) {
        self.state.called.notified().await;
    }

    pub(crate) async fn set_serving(&self, is_serving: bool) {
        let status = match is_serving {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        self.health.set_service_status("", status).await;
    }

    /// Ends at once, connections included, as when the process is killed.
    pub(crate) async fn kill(self) {
        let address = self.address;
        drop(self);
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Clone)]
struct Service(Arc<State>);

impl Service {
    async fn export(&self, signal: &'static str, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        let answer = self.0.answer.lock().unwrap().clone();
        let timeout = request.metadata().get("grpc-timeout").map(|value| value.to_str().unwrap().to_owned());
        self.0.timeouts.lock().unwrap().extend(timeout);
        self.0.received.lock().unwrap().push((signal, request.into_inner()));
        self.0.called.notify_one();
        match answer {
            Answer::Bytes(bytes) => Ok(Response::new(bytes)),
            Answer::Status(status) => Err(status),
            Answer::After(time) => {
                tokio::time::sleep(time).await;
                Ok(Response::new(Bytes::new()))
            }
            Answer::When(told) => {
                told.notified().await;
                Ok(Response::new(Bytes::new()))
            }
        }
    }

    fn fail(&self) -> Result<(), Status> {
        match &*self.0.answer.lock().unwrap() {
            Answer::Status(status) => Err(status.clone()),
            _ => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        Service::export(self, "traces", request).await
    }
}

#[tonic::async_trait]
impl LogsService for Service {
    async fn export(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        Service::export(self, "logs", request).await
    }
}

/// Knows one correlation, `order=4/2`, and answers the rest with what the real one would say.
#[tonic::async_trait]
impl CorrelationService for Service {
    async fn get_correlation(
        &self,
        request: Request<GetCorrelationRequest>,
    ) -> Result<Response<GetCorrelationResponse>, Status> {
        self.fail()?;
        let request = request.into_inner();
        if request.correlation_id != "order=4/2" {
            return Err(Status::not_found(format!("no correlation {}", request.correlation_id)));
        }
        Ok(Response::new(GetCorrelationResponse {
            summary: Some(summary()),
            // One empty ResourceSpans and one empty ResourceLogs.
            traces_data: Bytes::from_static(&[0x0a, 0]),
            logs_data: Bytes::from_static(&[0x0a, 0]),
        }))
    }

    async fn list_correlations(
        &self,
        request: Request<ListCorrelationsRequest>,
    ) -> Result<Response<ListCorrelationsResponse>, Status> {
        self.fail()?;
        self.0.listed.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ListCorrelationsResponse {
            correlations: vec![summary()],
            next_page_token: "next".to_owned(),
            stopped_early: true,
        }))
    }

    async fn list_related(
        &self,
        request: Request<ListRelatedRequest>,
    ) -> Result<Response<ListRelatedResponse>, Status> {
        self.fail()?;
        let request = request.into_inner();
        if request.correlation_id != "order=4/2" {
            return Err(Status::not_found(format!("no correlation {}", request.correlation_id)));
        }
        let related = RelatedCorrelation {
            depth: request.depth_max,
            direction: RelatedDirection::Down.into(),
            from: request.correlation_id,
            to: format!("limit={}", request.limit),
            confidence: 0.75,
            keys: vec!["order=4/2".to_owned()],
            synthetic: true,
            summary: None,
        };
        Ok(Response::new(ListRelatedResponse { related: vec![related], truncated: true }))
    }

    async fn delete_correlation(
        &self,
        request: Request<DeleteCorrelationRequest>,
    ) -> Result<Response<DeleteCorrelationResponse>, Status> {
        self.fail()?;
        match request.into_inner().correlation_id.as_str() {
            "order=4/2" => Ok(Response::new(DeleteCorrelationResponse {})),
            id => Err(Status::not_found(format!("no correlation {id}"))),
        }
    }

    async fn count_correlations(
        &self,
        _request: Request<CountCorrelationsRequest>,
    ) -> Result<Response<CountCorrelationsResponse>, Status> {
        self.fail()?;
        Ok(Response::new(CountCorrelationsResponse {
            correlations: 7,
            state: StateBackend::RedisCluster.into(),
        }))
    }

    async fn get_ledger(
        &self,
        _request: Request<GetLedgerRequest>,
    ) -> Result<Response<GetLedgerResponse>, Status> {
        self.fail()?;
        let spans = LedgerAccount {
            received: 9,
            kept: 5,
            duplicate: 1,
            refused: [("spans_max".to_owned(), 3)].into(),
            delivered: 3,
            expired: [("undelivered".to_owned(), 2)].into(),
            ..Default::default()
        };
        Ok(Response::new(GetLedgerResponse { spans: Some(spans), logs: Some(LedgerAccount::default()) }))
    }

    async fn describe_state(
        &self,
        _request: Request<DescribeStateRequest>,
    ) -> Result<Response<DescribeStateResponse>, Status> {
        let state_id = self.0.state_id.lock().unwrap().clone();
        let correlation_keys = ["order.id", "user.id"].map(str::to_owned).into();
        let state = StateBackend::RedisCluster.into();
        Ok(Response::new(DescribeStateResponse { state, state_id, correlation_keys, former: None }))
    }

    async fn clean_up_correlations(
        &self,
        _request: Request<CleanUpCorrelationsRequest>,
    ) -> Result<Response<CleanUpCorrelationsResponse>, Status> {
        Err(Status::unimplemented("the gateway does not clean up"))
    }
}

#[tonic::async_trait]
impl WatchService for Service {
    type WatchStream = BoxStream<'static, Result<WatchResponse, Status>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.fail()?;
        let (watcher, told) = mpsc::unbounded_channel();
        self.0.watchers.lock().unwrap().push(watcher);
        self.0.watched.lock().unwrap().push(request.into_inner());
        let state = Arc::clone(&self.0);
        let told = UnboundedReceiverStream::new(told).inspect(move |_| {
            state.taken.fetch_add(1, Ordering::Relaxed);
        });
        Ok(Response::new(told.boxed()))
    }
}

pub(crate) fn summary() -> CorrelationSummary {
    CorrelationSummary {
        correlation_id: "order=4/2".to_owned(),
        service: "cart".to_owned(),
        services: vec!["cart".to_owned(), "pay".to_owned()],
        first_seen: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5_000_000 }),
        spans: 3,
        logs: 1,
        metadata: [("order".to_owned(), "4/2".to_owned())].into(),
        ..CorrelationSummary::default()
    }
}
