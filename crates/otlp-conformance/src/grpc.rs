//! gRPC over bare HTTP/2, so that headers, frames and trailers can be looked at as they are.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::SendRequest};
use http::{HeaderMap, Method, Request};
use tokio::{
    net::TcpStream,
    task::JoinHandle,
    time::{Duration, timeout},
};
use tonic::{Code, Status};

pub(crate) const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
pub(crate) const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
pub(crate) const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// Far longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Length of the prefix of a message: whether it is compressed, and how long it is.
const PREFIX_BYTES: usize = 5;

/// A call of a unary method.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    pub(crate) fn new(path: &str, message: &[u8]) -> Self {
        Self { path: path.to_owned(), headers: Vec::new(), body: framed(false, message) }
    }

    /// A message that is compressed already.
    pub(crate) fn compressed(path: &str, encoding: &str, message: &[u8]) -> Self {
        let call = Self { body: framed(true, message), ..Self::new(path, &[]) };
        call.header("grpc-encoding", encoding)
    }

    /// Announces a message of this length and sends none of it.
    pub(crate) fn announced(path: &str, length: u32) -> Self {
        Self { body: [&[0], &length.to_be_bytes()[..]].concat(), ..Self::new(path, &[]) }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The message with its prefix.
    pub(crate) fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Sends it on a connection of its own.
    pub(crate) async fn send(self, address: SocketAddr) -> anyhow::Result<Reply> {
        Connection::open(address).await?.send(self).await
    }
}

fn framed(is_compressed: bool, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a message is shorter than 4 GiB");
    [&[u8::from(is_compressed)], &length.to_be_bytes()[..], message].concat()
}

/// What came back, as it was on the wire.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) http_status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl Reply {
    /// The status of the trailers, or of the headers when there is nothing else.
    pub(crate) fn status(&self) -> Status {
        let status = Status::from_header_map(&self.trailers);
        let status = status.or_else(|| Status::from_header_map(&self.headers));
        status.unwrap_or_else(|| panic!("there is no grpc-status: {self:?}"))
    }

    pub(crate) fn code(&self) -> Code {
        self.status().code()
    }

    /// The message of a call that succeeded, not compressed.
    pub(crate) fn message(&self) -> &[u8] {
        assert_eq!(self.code(), Code::Ok, "{self:?}");
        assert!(self.body.len() >= PREFIX_BYTES, "there is no message: {self:?}");
        let (prefix, message) = self.body.split_at(PREFIX_BYTES);
        assert_eq!(prefix, &framed(false, message)[..PREFIX_BYTES], "one message, not compressed");
        message
    }
}

/// One HTTP/2 connection, ended when dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    authority: SocketAddr,
    driver: JoinHandle<Result<(), h2::Error>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    pub(crate) async fn open(authority: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(authority).await;
        let stream = stream.with_context(|| format!("failed to connect to {authority}"))?;
        let (requests, connection) = h2::client::handshake(stream).await.context("no HTTP/2 handshake")?;
        Ok(Self { requests, authority, driver: tokio::spawn(connection) })
    }

    /// Sends a call and reads its reply.
    pub(crate) async fn send(&self, call: Call) -> anyhow::Result<Reply> {
        let (mut sending, answering) = self.begin(&call).await?;
        finish(&mut sending, call.body);
        answering.reply().await
    }

    /// Sends the head of a call: its body is for the caller to [`finish`].
    pub(crate) async fn begin(&self, call: &Call) -> anyhow::Result<(SendStream<Bytes>, Answering)> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}{}", self.authority, call.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        let requests = self.requests.clone().ready().await;
        let mut requests = requests.context("the connection takes no more requests")?;
        let (response, sending) = requests.send_request(request.body(())?, false)?;
        Ok((sending, Answering(response)))
    }
}

/// Sends the body of a call. A server may have answered without it.
pub(crate) fn finish(sending: &mut SendStream<Bytes>, body: Vec<u8>) {
    let _answered_early = sending.send_data(body.into(), true);
}

/// A call that has not been answered.
pub(crate) struct Answering(h2::client::ResponseFuture);

impl Answering {
    pub(crate) async fn reply(self) -> anyhow::Result<Reply> {
        timeout(PATIENCE, self.read()).await.context("failed to read a reply in time")?
    }

    async fn read(self) -> anyhow::Result<Reply> {
        let (head, mut stream) = self.0.await.context("there is no reply")?.into_parts();
        let mut reply = Reply {
            http_status: head.status.as_u16(),
            headers: head.headers,
            body: Vec::new(),
            trailers: HeaderMap::new(),
        };
        match read_stream(&mut stream, &mut reply).await {
            // The whole reply is there, and the server wants no more of the request (RFC 9113, 8.1).
            Err(error) if error.reason() == Some(Reason::NO_ERROR) => {}
            read => read.context("the reply breaks off")?,
        }
        let content_type = reply.headers.get("content-type");
        ensure!(content_type.is_some_and(|it| it == "application/grpc"), "not gRPC: {reply:?}");
        Ok(reply)
    }
}

async fn read_stream(stream: &mut RecvStream, reply: &mut Reply) -> Result<(), h2::Error> {
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        reply.body.extend_from_slice(&chunk);
    }
    reply.trailers = stream.trailers().await?.unwrap_or_default();
    Ok(())
}
