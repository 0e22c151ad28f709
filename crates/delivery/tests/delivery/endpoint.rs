//! An endpoint that answers as a test tells it to, over both protocols, and remembers what it was sent.

use std::{
    collections::BTreeMap,
    future::ready,
    io::{self, Read as _},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use futures::{Stream, stream};
use http::{HeaderMap, StatusCode, header::CONTENT_ENCODING};
use otlp_proto::{
    opentelemetry::proto::{
        collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse},
        logs::v1::LogsData,
        trace::v1::TracesData,
    },
    raw::{
        logs::logs_service_server::{LogsService, LogsServiceServer},
        trace::trace_service_server::{TraceService, TraceServiceServer},
    },
};
use prost::Message as _;
use testbed::ports::Port;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{self, Runtime},
};
use tokio_rustls::TlsAcceptor;
use tonic::{
    Code, Request, Response, Status,
    codec::CompressionEncoding::{Gzip, Zstd},
    service::Routes,
    transport::Server,
};

/// What the endpoint does with requests.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Take,
    TakeAfter(Duration),
    /// Takes all but so many items.
    TakeBut(i64),
    Refuse(Code),
    /// Never answers.
    Hang,
}

/// One request that came in, whatever was done with it.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: &'static str,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

/// A running endpoint; it ends when dropped.
pub(crate) struct Endpoint {
    port: Port,
    tls: Option<TlsAcceptor>,
    memory: Arc<Memory>,
    /// Its own, so that its end closes connections as the end of a process does.
    runtime: Option<Runtime>,
}

struct Memory {
    act: Mutex<Act>,
    received: Mutex<Vec<Received>>,
    taken: Mutex<Vec<Received>>,
}

impl Endpoint {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    pub(crate) async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let memory =
            Memory { act: Mutex::new(Act::Take), received: Mutex::default(), taken: Mutex::default() };
        let port = Port::free().unwrap();
        let mut endpoint = Self { port, tls, memory: Arc::new(memory), runtime: None };
        endpoint.go_on().await;
        endpoint
    }

    /// Listens again, at the same place.
    pub(crate) async fn go_on(&mut self) {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.spawn(TcpListener::bind(self.address())).await.unwrap().unwrap();
        let traces = TraceServiceServer::from_arc(Arc::clone(&self.memory));
        let logs = LogsServiceServer::from_arc(Arc::clone(&self.memory));
        let http = Router::new()
            .route("/v1/traces", post(http_traces))
            .route("/v1/logs", post(http_logs))
            .with_state(Arc::clone(&self.memory));
        let routes = Routes::from(http)
            .add_service(traces.accept_compressed(Gzip).accept_compressed(Zstd))
            .add_service(logs.accept_compressed(Gzip).accept_compressed(Zstd));
        let server = Server::builder().accept_http1(true).add_routes(routes);
        match self.tls.clone() {
            None => runtime.spawn(server.serve_with_incoming(connections(listener, |tcp| ready(Ok(tcp))))),
            Some(tls) => {
                let tls = Arc::new(tls);
                let accept = move |tcp| tls.accept(tcp);
                runtime.spawn(server.serve_with_incoming(connections(listener, accept)))
            }
        };
        self.runtime = Some(runtime);
    }

    /// Is away: nobody listens, and connections end.
    pub(crate) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) fn becomes(&self, act: Act) {
        *self.memory.act.lock().unwrap() = act;
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.address().port())
    }

    /// Every request, also those that were not taken.
    pub(crate) fn received(&self) -> MutexGuard<'_, Vec<Received>> {
        self.memory.received.lock().unwrap()
    }

    /// How often each span was taken, by the last byte of its trace id and its span id.
    pub(crate) fn spans(&self) -> BTreeMap<(u8, u64), usize> {
        let mut spans = BTreeMap::new();
        for request in self.taken("traces") {
            let data = TracesData::decode(request.payload).unwrap();
            let scopes = data.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            for span in scopes.flat_map(|scope| scope.spans) {
                let id = u64::from_be_bytes(span.span_id.try_into().unwrap());
                *spans.entry((*span.trace_id.last().unwrap(), id)).or_default() += 1;
            }
        }
        spans
    }

    /// Names of the log records that were taken, sorted.
    pub(crate) fn logs(&self) -> Vec<String> {
        let mut logs = Vec::new();
        for request in self.taken("logs") {
            let data = LogsData::decode(request.payload).unwrap();
            let scopes = data.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
            logs.extend(scopes.flat_map(|scope| scope.log_records).map(|log| log.event_name));
        }
        logs.sort();
        logs
    }

    fn taken(&self, signal: &str) -> Vec<Received> {
        let taken = self.memory.taken.lock().unwrap();
        taken.iter().filter(|request| request.path.contains(signal)).cloned().collect()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Memory {
    async fn receive(&self, received: Received) -> Result<Bytes, Code> {
        self.received.lock().unwrap().push(received.clone());
        let act = *self.act.lock().unwrap();
        let mut rejected = 0;
        match act {
            Act::Take => {}
            Act::TakeAfter(time) => tokio::time::sleep(time).await,
            Act::TakeBut(items) => rejected = items,
            Act::Refuse(code) => return Err(code),
            Act::Hang => std::future::pending().await,
        }
        self.taken.lock().unwrap().push(received);
        let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: "too old".into() };
        let partial_success = (rejected > 0).then_some(partial);
        Ok(ExportTraceServiceResponse { partial_success }.encode_to_vec().into())
    }

    async fn over_grpc(
        &self,
        path: &'static str,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, Status> {
        let (metadata, _, payload) = request.into_parts();
        let received = Received { path, headers: metadata.into_headers(), payload };
        self.receive(received).await.map(Response::new).map_err(|code| Status::new(code, "as told"))
    }

    async fn over_http(&self, path: &'static str, headers: HeaderMap, body: Bytes) -> (StatusCode, Bytes) {
        let payload = match headers.get(CONTENT_ENCODING).map(|coding| coding.to_str().unwrap()) {
            None => body,
            Some("gzip") => {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
                plain.into()
            }
            Some("zstd") => zstd::decode_all(&body[..]).unwrap().into(),
            Some(other) => panic!("unexpected coding {other}"),
        };
        match self.receive(Received { path, headers, payload }).await {
            Ok(response) => (StatusCode::OK, response),
            Err(Code::Unavailable) => (StatusCode::SERVICE_UNAVAILABLE, Bytes::new()),
            Err(_) => (StatusCode::BAD_REQUEST, Bytes::new()),
        }
    }
}

/// What is left of the connections that come in after the handshake.
fn connections<Handshake: Future<Output = io::Result<Connection>>, Connection>(
    listener: TcpListener,
    accept: impl Fn(TcpStream) -> Handshake,
) -> impl Stream<Item = io::Result<Connection>> {
    stream::unfold((listener, accept), async |(listener, accept)| {
        loop {
            let (tcp, _) = listener.accept().await.ok()?;
            if let Ok(connection) = accept(tcp).await {
                return Some((Ok(connection), (listener, accept)));
            }
        }
    })
}

#[tonic::async_trait]
impl TraceService for Memory {
    async fn export(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        self.over_grpc("grpc traces", request).await
    }
}

#[tonic::async_trait]
impl LogsService for Memory {
    async fn export(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        self.over_grpc("grpc logs", request).await
    }
}

async fn http_traces(memory: State<Arc<Memory>>, headers: HeaderMap, body: Bytes) -> (StatusCode, Bytes) {
    memory.over_http("http traces", headers, body).await
}

async fn http_logs(memory: State<Arc<Memory>>, headers: HeaderMap, body: Bytes) -> (StatusCode, Bytes) {
    memory.over_http("http logs", headers, body).await
}
