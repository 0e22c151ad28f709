//! HTTP/1.1 written by hand, so that every byte of an answer can be looked at.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::{Duration, timeout},
};

pub(crate) const PROTOBUF: &str = "application/x-protobuf";
pub(crate) const JSON: &str = "application/json";

/// Far longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request; `Host` and `Content-Length` are added when it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// What `Content-Length` says.
    length: usize,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        let (method, path) = (method.to_owned(), path.to_owned());
        Self { method, path, headers: Vec::new(), body: Vec::new(), length: 0 }
    }

    pub(crate) fn post(path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let request = Self::new("POST", path).header("Content-Type", content_type);
        let body = body.into();
        Self { length: body.len(), body, ..request }
    }

    /// Announces a body of this length and waits with it until it is asked for.
    pub(crate) fn announced(path: &str, content_type: &str, length: usize) -> Self {
        let request = Self::post(path, content_type, "").header("Expect", "100-continue");
        Self { length, ..request }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn head(&self, host: SocketAddr) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", self.length));
        head
    }

    /// Sends it on a connection of its own.
    pub(crate) async fn send(&self, address: SocketAddr) -> anyhow::Result<Answer> {
        Connection::open(address).await?.send(self).await
    }
}

/// An answer as it was on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header that stands there at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} stands twice in {self:?}");
        value
    }

    /// Empty when there is none.
    pub(crate) fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the answer is text")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// A connection that stays open between requests.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    host: SocketAddr,
}

impl Connection {
    pub(crate) async fn open(host: SocketAddr) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(host).await.with_context(|| format!("failed to connect to {host}"))?;
        Ok(Self { stream: BufReader::new(stream), host })
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn send(&mut self, request: &Request) -> anyhow::Result<Answer> {
        self.write(request).await?;
        self.read().await
    }

    /// Sends a request and waits for nothing.
    pub(crate) async fn write(&mut self, request: &Request) -> anyhow::Result<()> {
        let bytes = [request.head(self.host).as_bytes(), &request.body].concat();
        // A server may answer before it has read everything; then the answer is what counts.
        let _answered_early = self.stream.write_all(&bytes).await;
        Ok(())
    }

    /// Reads the next answer.
    pub(crate) async fn read(&mut self) -> anyhow::Result<Answer> {
        timeout(PATIENCE, self.read_answer()).await.context("failed to read an answer in time")?
    }

    async fn read_answer(&mut self) -> anyhow::Result<Answer> {
        let line = self.line().await?;
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.with_context(|| format!("failed to read a status in {line:?}"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { bail!("{line:?} is no header") };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        ensure!(answer.header("transfer-encoding").is_none(), "an answer comes in one piece: {answer:?}");
        let length = match answer.header("content-length") {
            Some(length) => length.parse().context("Content-Length is no number")?,
            None => 0,
        };
        answer.body.resize(length, 0);
        self.stream.read_exact(&mut answer.body).await.context("the body ends too early")?;
        Ok(answer)
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.context("failed to read a line of the head")?;
        let line = line.strip_suffix("\r\n").context("the connection ends within a head")?;
        Ok(line.to_owned())
    }
}
