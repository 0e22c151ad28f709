//! Traces made from a seed, and how they are sent.

use std::time::Duration;

use anyhow::anyhow;
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

use crate::traffic::{Shape, Traffic};

/// A trace id.
pub type TraceId = [u8; 16];

/// Requests on their way at once at a steady pace; one more waits for an answer.
const AT_ONCE_MAX: usize = 64;
/// Connections that requests take turns on, as several clients would have.
const CONNECTIONS: usize = 4;
/// What an exporter waits: OpenTelemetry specification, `OTEL_EXPORTER_OTLP_TIMEOUT`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// When a request is sent.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// As soon as less than so many are unanswered.
    AtOnce(usize),
    /// So many in a second.
    PerSecond(f64),
}

/// A request, encoded, and what is in it.
#[derive(Debug)]
pub struct Request {
    pub traces: Vec<TraceId>,
    pub spans: usize,
    body: Bytes,
}

/// Requests of whole traces with at least so many spans in all; the same ones for a seed.
pub fn whole(seed: u64, shape: Shape, spans: usize) -> Vec<Request> {
    let mut traffic = Traffic::new(seed);
    let groups = spans.div_ceil(shape.traces * shape.spans * shape.requests);
    (0..groups).flat_map(|_| traffic.group(shape)).map(|data| Request::new(&data)).collect()
}

/// Likewise of traces whose root never comes.
pub fn rootless(seed: u64, shape: Shape, spans: usize) -> Vec<Request> {
    let mut traffic = Traffic::new(seed);
    let groups = spans.div_ceil(shape.traces * shape.spans);
    // The first request of a group has the roots.
    let last = |_| traffic.group(Shape { requests: 2, ..shape }).pop();
    (0..groups).filter_map(last).map(|data| Request::new(&data)).collect()
}

/// What became of a request.
#[derive(Debug)]
pub struct Sent {
    pub at: Instant,
    /// An error unless all of it was accepted.
    pub answer: anyhow::Result<()>,
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
/// When anything but success was answered to one.
pub async fn send(url: &str, requests: &[Request], pace: Pace) -> anyhow::Result<Vec<Instant>> {
    let sent = offer(url, requests, pace).await?;
    sent.into_iter().map(|Sent { at, answer }| answer.map(|()| at)).collect()
}

/// Sends requests, whatever is answered to those before; answers in their order what became of each.
///
/// # Errors
/// When the URL is none.
pub async fn offer(url: &str, requests: &[Request], pace: Pace) -> anyhow::Result<Vec<Sent>> {
    let connect = || {
        let endpoint = Endpoint::from_shared(url.to_owned())?.timeout(TIMEOUT).tcp_nodelay(true);
        Ok(TraceServiceClient::new(endpoint.connect_lazy()))
    };
    let clients = (0..CONNECTIONS).map(|_| connect()).collect::<anyhow::Result<Vec<_>>>()?;
    let (at_once, mut ticks) = match pace {
        Pace::AtOnce(requests) => (requests, None),
        Pace::PerSecond(requests) => (AT_ONCE_MAX, Some(interval(Duration::from_secs_f64(1.0 / requests)))),
    };
    let (mut answered, mut unanswered) = (Vec::with_capacity(requests.len()), JoinSet::new());
    for (index, (request, client)) in requests.iter().zip(clients.iter().cycle()).enumerate() {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let (body, mut client) = (request.body.clone(), client.clone());
        unanswered.spawn(async move {
            let at = Instant::now();
            let answer = match client.export(body).await {
                Ok(answer) if answer.get_ref().is_empty() => Ok(()),
                Ok(_) => Err(anyhow!("spans were refused")),
                Err(error) => Err(error.into()),
            };
            (index, Sent { at, answer })
        });
        while let Some(answer) = unanswered.try_join_next() {
            answered.push(answer?);
        }
        if unanswered.len() >= at_once
            && let Some(answer) = unanswered.join_next().await
        {
            answered.push(answer?);
        }
    }
    while let Some(answer) = unanswered.join_next().await {
        answered.push(answer?);
    }
    answered.sort_unstable_by_key(|(index, _)| *index);
    Ok(answered.into_iter().map(|(_, sent)| sent).collect())
}
