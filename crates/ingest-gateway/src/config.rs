//! The configuration of the gateway, section by section.

use std::{fmt, net::SocketAddr};

use access::{AuthConfig, LimitsConfig, LimitsKeys};
use axum::http::Uri;
use otlp_codec::{InvalidPattern, SplitOptions};
use serde::{Deserialize, Serialize};
use service_lifecycle::{
    AdminConfig, Config, LogConfig, ShutdownConfig, TlsConfig, TlsKeys, TraceConfig, Violation,
    deserialize_address,
};

/// Everything that can be configured. A commented sample is `deploy/config/gateway.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// The port that clients send to and query.
    pub http: HttpConfig,
    /// The port for OTLP/gRPC.
    pub otlp_grpc: OtlpGrpcConfig,
    /// Where requests go.
    pub engines: EnginesConfig,
    /// Events of closes, and events that are put into correlations.
    pub events: EventsConfig,
    /// Who may send and read.
    pub auth: AuthConfig,
    /// Health and metrics. Listens on `127.0.0.1:9465`, next to an engine's 9464.
    pub admin: AdminConfig,
    /// What is logged.
    pub log: LogConfig,
    /// Traces of the gateway itself.
    pub trace: TraceConfig,
    /// How the process ends.
    pub shutdown: ShutdownConfig,
}

/// `[http]`: the port that clients send to and query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Default `127.0.0.1:4318`, the port of OTLP/HTTP.
    #[serde(deserialize_with = "deserialize_address")]
    pub listen: SocketAddr,
    /// Largest body, before and after decompression.
    ///
    /// Default 64 MiB: recommended by the OTLP specification 1.11, "OTLP/HTTP Request". An engine
    /// has its own limit, `grpc.max_message_bytes`; the lower of the two counts.
    pub max_body_bytes: usize,
    /// Longest time from the head of a request to its answer.
    ///
    /// Default 8000: less than the 10 s after which OTLP exporters give up, more than the time an
    /// engine takes for itself.
    pub timeout_ms: u64,
    /// Its certificate. Default none: plain text.
    pub tls: TlsConfig,
    /// How much it takes on at once.
    pub limits: LimitsConfig,
}

/// `[otlp_grpc]`: the port for OTLP/gRPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpGrpcConfig {
    /// Default `127.0.0.1:4316`: 4317, the port of OTLP/gRPC, is an engine's on the same host.
    #[serde(deserialize_with = "deserialize_address")]
    pub listen: SocketAddr,
    /// Largest message, before and after decompression. Default 64 MiB, as for HTTP.
    pub max_message_bytes: usize,
    /// Longest time for a request. Default 8000, as for HTTP.
    pub timeout_ms: u64,
    /// Its certificate. Default none: plain text.
    pub tls: TlsConfig,
    /// How much it takes on at once.
    pub limits: LimitsConfig,
}

/// `[events]`: `/api/v1/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// Most streams of closes at once. Each takes one of the `watch.watchers_max` places at every engine.
    /// Default 100; at most 250.
    pub streams_max: usize,
    /// Largest body of an event that is posted, before and after decompression. Default 64 KiB.
    pub max_body_bytes: usize,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self { streams_max: 100, max_body_bytes: 64 * 1024 }
    }
}

/// `[engines]`: where requests go.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnginesConfig {
    /// gRPC addresses, `http://HOST:PORT`, or `https://HOST:PORT` for TLS. A DNS name with several addresses means several
    /// engines. Default `http://127.0.0.1:4317`.
    pub urls: Vec<EngineUrl>,
    /// File with pools of engines, each with a part of the traces; then `urls` is not used. Read
    /// again when it changes. Default empty: one pool of `urls`.
    pub pools: String,
    /// Which engine of a pool gets a trace. Default `auto`.
    pub routing: Routing,
    /// The `correlation.keys` of the engines: log records without a trace id go by them where traces
    /// have engines of their own. Default none.
    pub correlation_keys: Vec<String>,
    /// The `correlation.text_patterns` of the engines, likewise. Default none.
    pub text_patterns: Vec<String>,
    /// The `correlation.text_bytes_max` of the engines. Default 4096.
    pub text_bytes_max: usize,
    /// How many engines are tried with one request. Default 3.
    pub max_attempts: usize,
    /// When an engine takes longer, another one is sent the same request too and the first answer
    /// counts. Default 500.
    pub hedge_ms: u64,
    /// Further attempts, hedges included, as a part of all requests. Default 20.
    pub retry_percent: u8,
    /// Further attempts that are allowed in any case, so that few requests can be retried too.
    /// Default 10.
    pub retries_per_second: u32,
    /// How often DNS names are resolved again. Default 2000.
    pub refresh_ms: u64,
    /// How often each engine is asked whether it is ready. Default 250.
    pub probe_ms: u64,
    /// Token that the gateway shows to engines; its credential there must have `any_tenant`.
    /// Default empty: none.
    pub token: String,
    /// Files for TLS to engines, used with `https://`.
    pub tls: EngineTlsConfig,
}

/// Which engine of a pool gets a trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Routing {
    /// Any, as long as all share one state; otherwise as `sticky`.
    #[default]
    Auto,
    /// Any: the one that will probably answer first.
    Balanced,
    /// One for each trace, by rendezvous hashing of its id; another one when it is not ready.
    Sticky,
}

/// `[engines.tls]`: files for TLS to engines. Read at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineTlsConfig {
    /// PEM file with the certificates that sign those of engines. Default empty: those that the
    /// operating system trusts.
    pub ca: String,
    /// PEM file with the certificate of this gateway, for engines that ask for one. Default none.
    pub certificate: String,
    /// PEM file with its private key.
    pub key: String,
}

impl fmt::Debug for EnginesConfig {
    /// Leaves the token out.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            urls,
            pools,
            routing,
            correlation_keys,
            text_patterns,
            text_bytes_max,
            max_attempts,
            hedge_ms,
            retry_percent,
            retries_per_second,
            refresh_ms,
            probe_ms,
            token: _,
            tls,
        } = self;
        formatter
            .debug_struct("EnginesConfig")
            .field("urls", urls)
            .field("pools", pools)
            .field("routing", routing)
            .field("correlation_keys", correlation_keys)
            .field("text_patterns", text_patterns)
            .field("text_bytes_max", text_bytes_max)
            .field("max_attempts", max_attempts)
            .field("hedge_ms", hedge_ms)
            .field("retry_percent", retry_percent)
            .field("retries_per_second", retries_per_second)
            .field("refresh_ms", refresh_ms)
            .field("probe_ms", probe_ms)
            .field("tls", tls)
            .finish_non_exhaustive()
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            http: HttpConfig::default(),
            otlp_grpc: OtlpGrpcConfig::default(),
            engines: EnginesConfig::default(),
            events: EventsConfig::default(),
            auth: AuthConfig::default(),
            admin: AdminConfig { listen: SocketAddr::from(([127, 0, 0, 1], 9465)), ..AdminConfig::default() },
            log: LogConfig::default(),
            trace: TraceConfig::default(),
            shutdown: ShutdownConfig::default(),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4318)),
            max_body_bytes: 64 * 1024 * 1024,
            timeout_ms: 8_000,
            tls: TlsConfig::default(),
            limits: LimitsConfig::default(),
        }
    }
}

impl Default for OtlpGrpcConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4316)),
            max_message_bytes: 64 << 20,
            timeout_ms: 8_000,
            tls: TlsConfig::default(),
            limits: LimitsConfig::default(),
        }
    }
}

impl EnginesConfig {
    /// How the engines split requests.
    ///
    /// # Errors
    /// A pattern that cannot be used.
    pub(crate) fn split_options(&self) -> Result<SplitOptions, InvalidPattern> {
        SplitOptions::new(self.correlation_keys.clone())
            .with_text_patterns(&self.text_patterns, self.text_bytes_max)
    }
}

impl Default for EnginesConfig {
    fn default() -> Self {
        Self {
            urls: vec![EngineUrl { authority: "127.0.0.1:4317".to_owned(), is_encrypted: false }],
            pools: String::new(),
            routing: Routing::default(),
            correlation_keys: Vec::new(),
            text_patterns: Vec::new(),
            text_bytes_max: 4_096,
            max_attempts: 3,
            hedge_ms: 500,
            retry_percent: 20,
            retries_per_second: 10,
            refresh_ms: 2_000,
            probe_ms: 250,
            token: String::new(),
            tls: EngineTlsConfig::default(),
        }
    }
}

impl Config for GatewayConfig {
    const SECRETS: &'static [&'static str] = &["engines.token"];
    // An engine beside the gateway may share its environment.
    const SIBLING_SECTIONS: &'static [&'static str] =
        &["correlation", "delivery", "grpc", "redis", "use_redis_state", "watch"];

    fn admin(&self) -> &AdminConfig {
        &self.admin
    }

    fn log(&self) -> &LogConfig {
        &self.log
    }

    fn shutdown(&self) -> &ShutdownConfig {
        &self.shutdown
    }

    fn trace(&self) -> TraceConfig {
        self.trace
    }

    fn ports(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![("http.listen", self.http.listen), ("otlp_grpc.listen", self.otlp_grpc.listen)]
    }

    fn violations(&self) -> Vec<Violation> {
        let engines = &self.engines;
        let rules = [
            (self.http.max_body_bytes >= 1, "http.max_body_bytes", "expected at least 1"),
            (self.http.timeout_ms >= 1, "http.timeout_ms", "expected at least 1"),
            (self.otlp_grpc.max_message_bytes >= 1, "otlp_grpc.max_message_bytes", "expected at least 1"),
            (self.otlp_grpc.timeout_ms >= 1, "otlp_grpc.timeout_ms", "expected at least 1"),
            (
                (1..=250).contains(&self.events.streams_max),
                "events.streams_max",
                "expected at least 1 and at most 250",
            ),
            (self.events.max_body_bytes >= 1, "events.max_body_bytes", "expected at least 1"),
            (
                !engines.urls.is_empty() || !engines.pools.is_empty(),
                "engines.urls",
                r#"expected at least one engine, such as ["http://127.0.0.1:4317"]"#,
            ),
            (
                engines.correlation_keys.iter().all(|key| !key.is_empty()),
                "engines.correlation_keys",
                "expected attribute names, none of them empty",
            ),
            (
                (1..=64 << 10).contains(&engines.text_bytes_max),
                "engines.text_bytes_max",
                "expected 1 to 65536, as correlation.text_bytes_max of the engines",
            ),
            (engines.max_attempts >= 1, "engines.max_attempts", "expected at least 1"),
            (engines.hedge_ms >= 10, "engines.hedge_ms", "expected at least 10"),
            (engines.retry_percent <= 100, "engines.retry_percent", "expected at most 100"),
            (engines.retries_per_second <= 100_000, "engines.retries_per_second", "expected at most 100000"),
            (engines.refresh_ms >= 100, "engines.refresh_ms", "expected at least 100"),
            (engines.probe_ms >= 10, "engines.probe_ms", "expected at least 10"),
        ];
        let broken = rules.into_iter().filter(|(holds, ..)| !holds);
        let mut violations: Vec<_> = broken.map(|(_, key, allowed)| Violation::new(key, allowed)).collect();
        violations.extend(self.http.tls.violations(TlsKeys {
            certificate: "http.tls.certificate",
            key: "http.tls.key",
            client_ca: "http.tls.client_ca",
        }));
        violations.extend(self.http.limits.violations(LimitsKeys {
            connections_max: "http.limits.connections_max",
            requests_in_flight_max: "http.limits.requests_in_flight_max",
            bytes_in_flight_max: "http.limits.bytes_in_flight_max",
        }));
        violations.extend(self.otlp_grpc.tls.violations(TlsKeys {
            certificate: "otlp_grpc.tls.certificate",
            key: "otlp_grpc.tls.key",
            client_ca: "otlp_grpc.tls.client_ca",
        }));
        violations.extend(self.otlp_grpc.limits.violations(LimitsKeys {
            connections_max: "otlp_grpc.limits.connections_max",
            requests_in_flight_max: "otlp_grpc.limits.requests_in_flight_max",
            bytes_in_flight_max: "otlp_grpc.limits.bytes_in_flight_max",
        }));
        if self.otlp_grpc.limits.bytes_in_flight_max < self.otlp_grpc.max_message_bytes {
            let keys = ["otlp_grpc.limits.bytes_in_flight_max", "otlp_grpc.max_message_bytes"];
            violations
                .push(Violation::between(&keys, "expected room for at least one of the largest messages"));
        }
        if self.http.limits.bytes_in_flight_max < self.http.max_body_bytes {
            let keys = ["http.limits.bytes_in_flight_max", "http.max_body_bytes"];
            violations
                .push(Violation::between(&keys, "expected room for at least one of the largest bodies"));
        }
        if engines.tls.certificate.is_empty() != engines.tls.key.is_empty() {
            let keys = ["engines.tls.certificate", "engines.tls.key"];
            violations.push(Violation::between(&keys, "expected both, or neither"));
        }
        if let Err(invalid) = engines.split_options() {
            violations.push(Violation::new("engines.text_patterns", invalid.to_string()));
        }
        let is_in_use = engines.pools.is_empty();
        if is_in_use
            && engines.tls != EngineTlsConfig::default()
            && !engines.urls.iter().all(EngineUrl::is_encrypted)
        {
            let allowed = "expected https:// URLs of engines where files for TLS are given";
            violations.push(Violation::new("engines.urls", allowed));
        }
        violations
    }
}

/// `http://HOST:PORT` or `https://HOST:PORT` of one engine, or of several behind one DNS name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EngineUrl {
    authority: String,
    is_encrypted: bool,
}

impl EngineUrl {
    /// Host and port, an IPv6 address in brackets.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether connections use TLS.
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// The host alone, as a certificate names it.
    pub fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl TryFrom<String> for EngineUrl {
    type Error = &'static str;

    fn try_from(url: String) -> Result<Self, Self::Error> {
        let expected =
            "expected URLs of the form http://HOST:PORT or https://HOST:PORT, such as http://127.0.0.1:4317";
        let uri: Uri = url.parse().map_err(|_| expected)?;
        let is_encrypted = uri.scheme_str() == Some("https");
        let is_known = is_encrypted || uri.scheme_str() == Some("http");
        let is_plain = is_known && matches!(uri.path(), "" | "/") && uri.query().is_none();
        match uri.authority() {
            Some(authority)
                if is_plain
                    && !authority.host().is_empty()
                    && authority.port_u16().is_some()
                    && !authority.as_str().contains('@') =>
            {
                Ok(Self { authority: authority.to_string(), is_encrypted })
            }
            _ => Err(expected),
        }
    }
}

impl From<EngineUrl> for String {
    fn from(url: EngineUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for EngineUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        write!(formatter, "{scheme}://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use service_lifecycle::{Sources, load};

    use super::*;

    const SAMPLE: &str = include_str!("../../../deploy/config/gateway.toml");

    fn set(flag: &str) -> Result<GatewayConfig, String> {
        let sources = Sources { set: vec![flag.to_owned()], ..Sources::default() };
        let loaded = load::<GatewayConfig>(&sources).map_err(|error| error.to_string())?;
        Ok(loaded.config)
    }

    #[test]
    fn the_sample_holds_every_key_with_its_default() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/config/gateway.toml");
        assert_eq!(fs::read_to_string(path).unwrap(), SAMPLE);
        let sources = Sources { file: Some(PathBuf::from(path)), ..Sources::default() };
        let loaded = load::<GatewayConfig>(&sources).unwrap();
        assert_eq!(loaded.config, GatewayConfig::default());
        // Nothing is left to a default: the sample names every key.
        let untouched = loaded.effective.to_string().matches("# default").count();
        assert_eq!(untouched, 0, "{}", loaded.effective);
    }

    #[test]
    fn engines_are_given_as_http_host_and_port() {
        let config = set("engines.urls=http://a:1,http://[::1]:2/,https://10.0.0.1:3").unwrap();
        let urls: Vec<String> = config.engines.urls.iter().map(EngineUrl::to_string).collect();
        assert_eq!(urls, ["http://a:1", "http://[::1]:2", "https://10.0.0.1:3"]);
        for url in [
            "a:1",
            "http://a",
            "ftp://a:1",
            "http://a:1/path",
            "http://a:1?q",
            "http://u:p@a:1",
            "http://:1",
            "",
        ] {
            let error = set(&format!("engines.urls=['{url}']")).unwrap_err();
            assert!(error.contains("expected URLs of the form http://HOST:PORT or"), "{url}: {error}");
        }
    }

    #[test]
    fn limits_that_would_stop_all_work_are_refused() {
        for flag in [
            "http.max_body_bytes=0",
            "http.timeout_ms=0",
            "otlp_grpc.max_message_bytes=0",
            "otlp_grpc.timeout_ms=0",
            "events.streams_max=0",
            "events.max_body_bytes=0",
            "engines.urls=[]",
            "engines.max_attempts=0",
            "engines.hedge_ms=9",
            "engines.refresh_ms=99",
            "engines.probe_ms=9",
        ] {
            let key = flag.split('=').next().unwrap();
            let error = set(flag).unwrap_err();
            assert!(error.contains(key) && error.contains("expected at least"), "{error}");
        }
    }
}
