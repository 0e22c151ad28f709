//! Traces made from a seed, and how they are sent.

use std::time::Duration;

use anyhow::ensure;
use bench_kit::traffic::{Shape, Traffic};
use bytes::Bytes;
use otlp_proto::{
    opentelemetry::proto::trace::v1::TracesData, raw::trace::trace_service_client::TraceServiceClient,
};
use prost::Message as _;
use tokio::{
    task::JoinSet,
    time::{Instant, interval},
};
use tonic::transport::Endpoint;

/// A trace id.
pub(crate) type TraceId = [u8; 16];

/// Requests on their way at once at a steady pace; one more waits for an answer.
const AT_ONCE_MAX: usize = 64;
/// Connections that requests take turns on, as several clients would have.
const CONNECTIONS: usize = 4;
/// What an exporter waits: OpenTelemetry specification, `OTEL_EXPORTER_OTLP_TIMEOUT`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// When a request is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// As soon as less than so many are unanswered.
    AtOnce(usize),
    /// So many in a second.
    PerSecond(f64),
}

/// A request, encoded, and what is in it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) traces: Vec<TraceId>,
    pub(crate) spans: usize,
    body: Bytes,
}

/// Requests of whole traces with at least so many spans in all; the same ones for a seed.
pub(crate) fn whole(seed: u64, shape: Shape, spans: usize) -> Vec<Request> {
    let mut traffic = Traffic::new(seed);
    let groups = spans.div_ceil(shape.traces * shape.spans * shape.requests);
    (0..groups).flat_map(|_| traffic.group(shape)).map(|data| Request::new(&data)).collect()
}

/// Likewise of traces whose root never comes.
pub(crate) fn rootless(seed: u64, shape: Shape, spans: usize) -> Vec<Request> {
    let mut traffic = Traffic::new(seed);
    let groups = spans.div_ceil(shape.traces * shape.spans);
    // The first request of a group has the roots.
    let last = |_| traffic.group(Shape { requests: 2, ..shape }).pop();
    (0..groups).filter_map(last).map(|data| Request::new(&data)).collect()
}

impl Request {
    fn new(data: &TracesData) -> Self {
        let scopes = data.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let ids = scopes.flat_map(|scope| &scope.spans).map(|span| span.trace_id.as_slice());
        let mut traces: Vec<TraceId> = ids.filter_map(|id| id.try_into().ok()).collect();
        let spans = traces.len();
        // The spans of a trace lie side by side.
        traces.dedup();
        Self { traces, spans, body: data.encode_to_vec().into() }
    }
}

/// Sends requests; answers when each was sent.
///
/// # Errors
/// When anything but success is answered.
pub(crate) async fn send(url: &str, requests: &[Request], pace: Pace) -> anyhow::Result<Vec<Instant>> {
    let connect = || {
        let endpoint = Endpoint::from_shared(url.to_owned())?.timeout(TIMEOUT).tcp_nodelay(true);
        Ok(TraceServiceClient::new(endpoint.connect_lazy()))
    };
    let clients = (0..CONNECTIONS).map(|_| connect()).collect::<anyhow::Result<Vec<_>>>()?;
    let (at_once, mut ticks) = match pace {
        Pace::AtOnce(requests) => (requests, None),
        Pace::PerSecond(requests) => (AT_ONCE_MAX, Some(interval(Duration::from_secs_f64(1.0 / requests)))),
    };
    let (mut sent, mut unanswered) = (Vec::with_capacity(requests.len()), JoinSet::new());
    for (request, client) in requests.iter().zip(clients.iter().cycle()) {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let (body, mut client) = (request.body.clone(), client.clone());
        sent.push(Instant::now());
        unanswered.spawn(async move {
            let answer = client.export(body).await?.into_inner();
            ensure!(answer.is_empty(), "spans were refused");
            anyhow::Ok(())
        });
        while let Some(answer) = unanswered.try_join_next() {
            answer??;
        }
        if unanswered.len() >= at_once
            && let Some(answer) = unanswered.join_next().await
        {
            answer??;
        }
    }
    while let Some(answer) = unanswered.join_next().await {
        answer??;
    }
    Ok(sent)
}
