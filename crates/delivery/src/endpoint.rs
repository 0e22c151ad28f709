//! An endpoint as it is configured, and every rule that it must keep.

mod file;

#[cfg(test)]
pub(crate) use file::parse;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde::Deserialize;
use service_lifecycle::{FileError, Files};
use state_core::Signal;

use crate::{DeliveryConfig, Protocol, roster::Source};

/// Endpoints are labels of metrics, and each takes memory for what is on its way to it.
const ENDPOINTS_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 32;
/// Longer, and a replica that hangs would keep its events from the others for minutes.
const TIMEOUT_MS_MAX: u64 = 60_000;
/// Larger requests are slower, not cheaper.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Name of the endpoint that `delivery.url` makes.
const DEFAULT: &str = "default";

/// Headers that say how the message is encoded and framed, which is decided here.
const RESERVED: [&str; 9] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// One endpoint, as it may be used.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    /// Without a slash at its end.
    pub(crate) url: String,
    pub(crate) protocol: Protocol,
    /// Sent with every request. Secret.
    pub(crate) headers: HeaderMap,
    pub(crate) compression: Compression,
    /// For a request and its answer.
    pub(crate) timeout: Duration,
    pub(crate) tls: TlsFiles,
    /// Of telemetry in a request before compression; a larger correlation goes alone.
    pub(crate) batch_bytes_max: usize,
    pub(crate) signals: Vec<Signal>,
}

/// How requests are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    /// As OTLP has it where nothing is said.
    #[default]
    None,
    /// What every endpoint understands.
    Gzip,
    /// For a fraction of the time.
    Zstd,
}

/// Files for TLS to an endpoint, used with `https://`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TlsFiles {
    /// PEM file with the certificates that sign that of the endpoint; empty: those that the system trusts.
    pub(crate) ca: String,
    /// PEM file with the certificate of this process.
    pub(crate) certificate: String,
    /// PEM file with its private key.
    pub(crate) key: String,
}

/// An endpoint that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The file of endpoints is wrong.
    #[error("failed to use {} (delivery.endpoints): {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it and where; never quotes a header.
        reason: String,
    },
    /// What an endpoint needs is not there.
    #[error("failed to prepare endpoint {endpoint:?}: {reason}")]
    Client {
        /// Its name.
        endpoint: String,
        /// What is missing.
        reason: String,
    },
}

/// An endpoint as it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    url: String,
    #[serde(default)]
    protocol: Protocol,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    compression: Compression,
    #[serde(default = "timeout_ms_default")]
    timeout_ms: u64,
    #[serde(default)]
    tls: TlsFiles,
    #[serde(default = "batch_bytes_max_default")]
    batch_bytes_max: usize,
    #[serde(default = "signals_default")]
    signals: Vec<Signal>,
}

/// As exporters of OpenTelemetry wait by default.
fn timeout_ms_default() -> u64 {
    10_000
}

/// gRPC servers take 4 MiB by default; a proxy in between may add something.
fn batch_bytes_max_default() -> usize {
    (4 << 20) - (64 << 10)
}

fn signals_default() -> Vec<Signal> {
    vec![Signal::Traces, Signal::Logs]
}

/// The endpoints of a configuration, as they are at any time; `None` where nothing is delivered.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn open(config: &DeliveryConfig, files: &Files) -> Result<Option<Source>, EndpointError> {
    if !config.endpoints.is_empty() {
        let file = PathBuf::from(&config.endpoints);
        let named = file.clone();
        let read = move |contents: &[Vec<u8>]| file::read(&named, &contents[0]);
        let watched = files.open(vec![file], read);
        let watched = watched.map_err(|FileError { file, reason }| EndpointError::File { file, reason })?;
        return Ok(Some(Box::new(move || watched.current())));
    }
    if config.url.is_empty() {
        return Ok(None);
    }
    let entry = Entry {
        name: DEFAULT.to_owned(),
        url: config.url.clone(),
        protocol: config.protocol,
        headers: BTreeMap::new(),
        compression: Compression::default(),
        timeout_ms: timeout_ms_default(),
        tls: TlsFiles::default(),
        batch_bytes_max: batch_bytes_max_default(),
        signals: signals_default(),
    };
    let wrong = |reason| EndpointError::Client { endpoint: DEFAULT.to_owned(), reason };
    let endpoints = Arc::new(vec![entry.check().map_err(wrong)?]);
    Ok(Some(Box::new(move || Arc::clone(&endpoints))))
}

impl Endpoint {
    /// Whether its URL asks for TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.url.starts_with("https://")
    }
}

impl Entry {
    /// Takes it if it keeps the rules; otherwise says what was expected.
    fn check(self) -> Result<Endpoint, String> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if !(1..=NAME_BYTES_MAX).contains(&self.name.len()) || !self.name.bytes().all(is_plain) {
            return Err("expected a name of 1 to 32 of a-z, 0-9, - and _".to_owned());
        }
        check_url(&self.url, self.protocol)?;
        if !(1..=TIMEOUT_MS_MAX).contains(&self.timeout_ms) {
            return Err(format!("expected a timeout_ms of 1 to {TIMEOUT_MS_MAX}"));
        }
        if !(1..=BATCH_BYTES_MAX).contains(&self.batch_bytes_max) {
            return Err(format!("expected a batch_bytes_max of 1 to {BATCH_BYTES_MAX}"));
        }
        let distinct = self.signals.iter().collect::<HashSet<_>>().len();
        if self.signals.is_empty() || distinct < self.signals.len() {
            return Err("expected signals of \"traces\" and \"logs\", at least one and none twice".to_owned());
        }
        if self.tls.certificate.is_empty() != self.tls.key.is_empty() {
            return Err("expected both of tls.certificate and tls.key, or neither".to_owned());
        }
        let endpoint = Endpoint {
            headers: headers(&self.headers)?,
            name: self.name,
            url: self.url.trim_end_matches('/').to_owned(),
            protocol: self.protocol,
            compression: self.compression,
            timeout: Duration::from_millis(self.timeout_ms),
            tls: self.tls,
            batch_bytes_max: self.batch_bytes_max,
            signals: self.signals,
        };
        if endpoint.tls != TlsFiles::default() && !endpoint.is_encrypted() {
            return Err("expected an https:// URL where files for TLS are given".to_owned());
        }
        Ok(endpoint)
    }
}

/// Says what was expected in place of a URL.
pub(crate) fn check_url(url: &str, protocol: Protocol) -> Result<(), &'static str> {
    const EXPECTED: &str = "expected a URL of the form http://HOST:PORT or https://HOST:PORT";
    let uri: Uri = url.parse().map_err(|_| EXPECTED)?;
    let authority = uri.authority().ok_or(EXPECTED)?.as_str();
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.query().is_some() {
        return Err(EXPECTED);
    }
    if authority.contains('@') {
        return Err("expected a URL without user and password; credentials are given as headers");
    }
    match protocol {
        Protocol::Grpc if uri.path() != "/" => Err("expected a URL without a path: gRPC has its own"),
        Protocol::HttpProtobuf if uri.path().ends_with("/v1/traces") || uri.path().ends_with("/v1/logs") => {
            Err("expected a URL without /v1/traces and /v1/logs, which are appended")
        }
        Protocol::Grpc | Protocol::HttpProtobuf => Ok(()),
    }
}

fn headers(given: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let wrong = |reason: &str| format!("header {name:?}: {reason}");
        let known: HeaderName = name.parse().map_err(|_| wrong("expected the name of a header"))?;
        if RESERVED.contains(&known.as_str()) || known.as_str().starts_with("grpc-") {
            return Err(wrong("is set by the protocol"));
        }
        let mut value: HeaderValue =
            value.parse().map_err(|_| wrong("expected a value of visible ASCII characters"))?;
        value.set_sensitive(true);
        if headers.insert(known, value).is_some() {
            return Err(wrong("is there twice"));
        }
    }
    Ok(headers)
}

impl fmt::Debug for Endpoint {
    /// Names the headers and leaves their values out.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, url, protocol, headers, compression, timeout, tls, batch_bytes_max, signals } = self;
        formatter
            .debug_struct("Endpoint")
            .field("name", name)
            .field("url", url)
            .field("protocol", protocol)
            .field("headers", &headers.keys().collect::<Vec<_>>())
            .field("compression", compression)
            .field("timeout", timeout)
            .field("tls", tls)
            .field("batch_bytes_max", batch_bytes_max)
            .field("signals", signals)
            .finish()
    }
}
