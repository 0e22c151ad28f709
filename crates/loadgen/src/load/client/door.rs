//! Where requests go: connections of one protocol.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use otlp_proto::raw::{
    logs::logs_service_client::LogsServiceClient, trace::trace_service_client::TraceServiceClient,
};
use reqwest::{
    Url,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use tonic::{
    codec::CompressionEncoding,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};

use super::answer::Answer;
use crate::{
    load::traffic::Encoding,
    request::{Signal, gzip},
};

/// How OTLP is sent, by the names of `OTEL_EXPORTER_OTLP_PROTOCOL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// gRPC.
    #[value(name = "grpc")]
    Grpc,
    /// Protobuf over HTTP/1.1.
    #[value(name = "http/protobuf")]
    HttpProtobuf,
    /// JSON over HTTP/1.1.
    #[value(name = "http/json")]
    HttpJson,
}

/// Where to send to, and how.
#[derive(Debug, Clone)]
pub struct Doors {
    /// How OTLP is sent.
    pub protocol: Protocol,
    /// URLs without a path, `http://host:4317`.
    pub targets: Vec<String>,
    /// gRPC connections to each; over HTTP/1.1 each request on its way has its own.
    pub connections: usize,
    /// Whether bodies are compressed.
    pub gzip: bool,
    /// Sent with each request.
    pub headers: Vec<(String, String)>,
}

/// One of them.
#[derive(Debug)]
pub(super) enum Door {
    Grpc {
        traces: TraceServiceClient<Channel>,
        logs: LogsServiceClient<Channel>,
        metadata: MetadataMap,
    },
    Http {
        client: reqwest::Client,
        traces: Url,
        logs: Url,
        encoding: Encoding,
        gzip: bool,
        headers: HeaderMap,
    },
}

impl Protocol {
    /// How the messages are encoded.
    #[must_use]
    pub fn encoding(self) -> Encoding {
        match self {
            Self::Grpc | Self::HttpProtobuf => Encoding::Protobuf,
            Self::HttpJson => Encoding::Json,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http/protobuf",
            Self::HttpJson => "http/json",
        }
    }
}

impl Doors {
    /// Connections in the order in which requests take turns: all targets once, then once more.
    pub(super) fn open(&self) -> anyhow::Result<Vec<Door>> {
        let headers = self.headers()?;
        for url in &self.targets {
            ensure!(
                url.starts_with("http://"),
                "the target {url} does not begin with http://; write http://host:port"
            );
        }
        match self.protocol {
            Protocol::Grpc => {
                let turns = (0..self.connections).flat_map(|_| &self.targets);
                turns.map(|url| self.grpc(url, &headers)).collect()
            }
            Protocol::HttpProtobuf | Protocol::HttpJson => {
                self.targets.iter().map(|url| self.http(url, &headers)).collect()
            }
        }
    }

    fn grpc(&self, url: &str, headers: &HeaderMap) -> anyhow::Result<Door> {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .with_context(|| format!("failed to understand the URL {url}; write http://host:4317"))?;
        let channel = endpoint.tcp_nodelay(true).connect_lazy();
        let mut traces = TraceServiceClient::new(channel.clone());
        let mut logs = LogsServiceClient::new(channel);
        if self.gzip {
            traces = traces.send_compressed(CompressionEncoding::Gzip);
            logs = logs.send_compressed(CompressionEncoding::Gzip);
        }
        Ok(Door::Grpc { traces, logs, metadata: MetadataMap::from_headers(headers.clone()) })
    }

    fn http(&self, url: &str, headers: &HeaderMap) -> anyhow::Result<Door> {
        let endpoint = |signal: Signal| {
            Url::parse(&format!("{}{}", url.trim_end_matches('/'), signal.path()))
                .with_context(|| format!("failed to understand the URL {url}; write http://host:4318"))
        };
        let encoding = self.protocol.encoding();
        let mut headers = headers.clone();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(match encoding {
                Encoding::Protobuf => "application/x-protobuf",
                Encoding::Json => "application/json",
            }),
        );
        if self.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        // A proxy of the environment would be measured with the target.
        let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build();
        Ok(Door::Http {
            client: client.context("failed to set up the HTTP client")?,
            traces: endpoint(Signal::Traces)?,
            logs: endpoint(Signal::Logs)?,
            encoding,
            gzip: self.gzip,
            headers,
        })
    }

    fn headers(&self) -> anyhow::Result<HeaderMap> {
        let parse = |(name, value): &(String, String)| {
            let header = || anyhow::Ok((name.parse::<HeaderName>()?, value.parse::<HeaderValue>()?));
            // The value may be a secret.
            header().with_context(|| format!("failed to understand the header {name}"))
        };
        self.headers.iter().map(parse).collect()
    }
}

impl Door {
    pub(super) async fn attempt(&self, signal: Signal, body: Bytes) -> Answer {
        match self {
            Self::Grpc { traces, logs, metadata } => {
                let request =
                    tonic::Request::from_parts(metadata.clone(), tonic::Extensions::default(), body);
                let answer = match signal {
                    Signal::Traces => traces.clone().export(request).await,
                    Signal::Logs => logs.clone().export(request).await,
                };
                Answer::of_grpc(signal, answer.map(tonic::Response::into_inner))
            }
            Self::Http { client, traces, logs, encoding, gzip: compressed, headers } => {
                let url = match signal {
                    Signal::Traces => traces,
                    Signal::Logs => logs,
                };
                let body = if *compressed { gzip(&body) } else { Ok(body) };
                let send = async || {
                    let answer = client.post(url.clone()).headers(headers.clone()).body(body?).send().await?;
                    let (status, headers) = (answer.status(), answer.headers().clone());
                    anyhow::Ok((status, headers, answer.bytes().await?))
                };
                match send().await {
                    Ok((status, headers, body)) => {
                        Answer::of_http(signal, *encoding, status, &headers, &body)
                    }
                    Err(error) => Answer::none(format_args!("{error:#}")),
                }
            }
        }
    }
}
