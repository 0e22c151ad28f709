//! A client that sends requests compressed before, and knows a correct refusal from any other answer.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use prost::Message as _;
use reqwest::{
    StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER},
};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tonic::{Code, Status};
use tonic_types::{StatusExt as _, pb};

use crate::client::EXPORT;

const PROTOBUF: &str = "application/x-protobuf";
/// gRPC connections that requests take turns on, as several clients would.
const CONNECTIONS: usize = 4;
/// Answers are small, but h2 lets only so many of them wait to be read as suit the window.
const WINDOW_BYTES: u32 = 8 << 20;
/// What an exporter waits: OpenTelemetry specification, `OTEL_EXPORTER_OTLP_TIMEOUT`.
const TIMEOUT: Duration = Duration::from_secs(10);
/// An answer without partial success is an empty message.
const SUCCESS: &[u8] = &[0; 5];

/// A correct answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    /// To be sent again, and the client was told when.
    Refused,
}

/// Sends prepared requests: what it costs this process is next to nothing.
pub(super) enum Client {
    /// HTTP/2 as it is: no library of gRPC sends a message that is compressed already.
    Grpc {
        connections: Vec<SendRequest<Bytes>>,
        next: AtomicUsize,
        _drivers: JoinSet<()>,
    },
    Http {
        client: reqwest::Client,
        url: String,
    },
}

impl Client {
    /// Connects to the gRPC port of an engine or a gateway.
    pub(super) async fn grpc(address: SocketAddr) -> anyhow::Result<Self> {
        let (mut connections, mut drivers) = (Vec::new(), JoinSet::new());
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let mut handshake = h2::client::Builder::new();
            handshake.initial_connection_window_size(WINDOW_BYTES);
            let (requests, connection) = handshake.handshake(stream).await?;
            drivers.spawn(async move {
                // A connection that fails fails its requests, and those are told.
                let _ = connection.await;
            });
            connections.push(requests);
        }
        Ok(Self::Grpc { connections, next: AtomicUsize::new(0), _drivers: drivers })
    }

    /// The HTTP port of a gateway; there are as many connections as requests at once.
    pub(super) fn http(url: &str) -> anyhow::Result<Self> {
        // A proxy of the environment cannot know our loopback.
        let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
        Ok(Self::Http { client, url: format!("{url}/v1/traces") })
    }

    /// A message in gzip as this client sends it.
    pub(super) fn prepare(&self, compressed: &[u8]) -> Bytes {
        match self {
            Self::Grpc { .. } => {
                let length = u32::try_from(compressed.len()).expect("a message is shorter than 4 GiB");
                [&[1], &length.to_be_bytes()[..], compressed].concat().into()
            }
            Self::Http { .. } => Bytes::copy_from_slice(compressed),
        }
    }

    /// Sends what was prepared.
    ///
    /// # Errors
    /// Any answer but success and a correct refusal.
    pub(super) async fn send(&self, prepared: Bytes) -> anyhow::Result<Answer> {
        let answer = async {
            match self {
                Self::Grpc { connections, next, .. } => {
                    let turn = next.fetch_add(1, Ordering::Relaxed) % connections.len();
                    over_grpc(connections[turn].clone(), prepared).await
                }
                Self::Http { client, url } => over_http(client.post(url), prepared).await,
            }
        };
        timeout(TIMEOUT, answer).await.context("there was no answer in time")?
    }
}

async fn over_grpc(connection: SendRequest<Bytes>, prepared: Bytes) -> anyhow::Result<Answer> {
    let mut connection = connection.ready().await.context("the connection has failed")?;
    let request = Request::post(format!("http://engine{EXPORT}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", "gzip")
        .body(())?;
    let (answer, mut body) = connection.send_request(request, false)?;
    // Queued as a whole; it goes out as far as the server lets it.
    body.send_data(prepared, true).context("the body was not taken")?;
    let (head, mut body) = answer.await.context("there was no answer")?.into_parts();
    ensure!(head.status == StatusCode::OK, "it answered {}", head.status);
    if let Some(status) = Status::from_header_map(&head.headers) {
        return refusal(&status);
    }
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.context("the answer broke off")?;
        body.flow_control().release_capacity(data.len())?;
        message.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?.context("there are no trailers")?;
    let status = Status::from_header_map(&trailers).context("there is no status")?;
    ensure!(status.code() == Code::Ok && message == SUCCESS, "it answered {status}, {message:?}");
    Ok(Answer::Accepted)
}

async fn over_http(request: reqwest::RequestBuilder, prepared: Bytes) -> anyhow::Result<Answer> {
    let request = request.header(CONTENT_TYPE, PROTOBUF).header(CONTENT_ENCODING, "gzip").body(prepared);
    let answer = request.send().await?;
    let status = answer.status();
    let seconds =
        answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let body = answer.bytes().await?;
    match status {
        StatusCode::OK if body.is_empty() => Ok(Answer::Accepted),
        StatusCode::SERVICE_UNAVAILABLE => {
            ensure!(seconds.is_some_and(|seconds| seconds >= 1), "503 came without Retry-After");
            let status = pb::Status::decode(body).context("503 came without a Status")?;
            ensure!(status.code == i32::from(Code::Unavailable), "503 came with {status:?}");
            Ok(Answer::Refused)
        }
        _ => bail!("it answered {status}: {}", String::from_utf8_lossy(&body)),
    }
}

fn refusal(status: &Status) -> anyhow::Result<Answer> {
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    ensure!(
        status.code() == Code::Unavailable && delay.is_some_and(|delay| !delay.is_zero()),
        "it answered {status}"
    );
    Ok(Answer::Refused)
}
