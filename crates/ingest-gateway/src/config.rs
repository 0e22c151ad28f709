//! The configuration of the gateway, section by section.

use std::{fmt, net::SocketAddr};

use axum::http::Uri;
use serde::{Deserialize, Serialize};
use service_lifecycle::{AdminConfig, Config, LogConfig, ShutdownConfig, Violation, deserialize_address};

/// Everything that can be configured. A commented sample is `deploy/config/gateway.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// The port that clients send to and query.
    pub http: HttpConfig,
    /// Where requests go.
    pub engines: EnginesConfig,
    /// Health and metrics. Listens on `127.0.0.1:9465`, next to an engine's 9464.
    pub admin: AdminConfig,
    /// What is logged.
    pub log: LogConfig,
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
}

/// `[engines]`: where requests go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnginesConfig {
    /// gRPC addresses, `http://HOST:PORT`. A DNS name with several addresses means several
    /// engines. Default `http://127.0.0.1:4317`.
    pub urls: Vec<EngineUrl>,
    /// How many engines are tried with one request. Default 3.
    pub max_attempts: usize,
    /// How often DNS names are resolved again. Default 2000.
    pub refresh_ms: u64,
    /// How often each engine is asked whether it is ready. Default 250.
    pub probe_ms: u64,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            http: HttpConfig::default(),
            engines: EnginesConfig::default(),
            admin: AdminConfig { listen: SocketAddr::from(([127, 0, 0, 1], 9465)) },
            log: LogConfig::default(),
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
        }
    }
}

impl Default for EnginesConfig {
    fn default() -> Self {
        Self {
            urls: vec![EngineUrl { authority: "127.0.0.1:4317".to_owned() }],
            max_attempts: 3,
            refresh_ms: 2_000,
            probe_ms: 250,
        }
    }
}

impl Config for GatewayConfig {
    // An engine beside the gateway may share its environment.
    const SIBLING_SECTIONS: &'static [&'static str] = &["correlation", "grpc", "redis", "use_redis_state"];

    fn admin(&self) -> &AdminConfig {
        &self.admin
    }

    fn log(&self) -> &LogConfig {
        &self.log
    }

    fn shutdown(&self) -> &ShutdownConfig {
        &self.shutdown
    }

    fn violations(&self) -> Vec<Violation> {
        let engines = &self.engines;
        let rules = [
            (self.http.max_body_bytes >= 1, "http.max_body_bytes", "expected at least 1"),
            (self.http.timeout_ms >= 1, "http.timeout_ms", "expected at least 1"),
            (
                !engines.urls.is_empty(),
                "engines.urls",
                r#"expected at least one engine, such as ["http://127.0.0.1:4317"]"#,
            ),
            (engines.max_attempts >= 1, "engines.max_attempts", "expected at least 1"),
            (engines.refresh_ms >= 100, "engines.refresh_ms", "expected at least 100"),
            (engines.probe_ms >= 10, "engines.probe_ms", "expected at least 10"),
        ];
        let broken = rules.into_iter().filter(|(holds, ..)| !holds);
        broken.map(|(_, key, allowed)| Violation::new(key, allowed)).collect()
    }
}

/// `http://HOST:PORT` of one engine, or of several behind one DNS name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EngineUrl {
    authority: String,
}

impl EngineUrl {
    /// Host and port, an IPv6 address in brackets.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl TryFrom<String> for EngineUrl {
    type Error = &'static str;

    fn try_from(url: String) -> Result<Self, Self::Error> {
        let expected = "expected URLs of the form http://HOST:PORT, such as http://127.0.0.1:4317";
        let uri: Uri = url.parse().map_err(|_| expected)?;
        let is_plain =
            uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
        match uri.authority() {
            Some(authority)
                if is_plain
                    && !authority.host().is_empty()
                    && authority.port_u16().is_some()
                    && !authority.as_str().contains('@') =>
            {
                Ok(Self { authority: authority.to_string() })
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
        write!(formatter, "http://{}", self.authority)
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
        let config = set("engines.urls=http://a:1,http://[::1]:2/,http://10.0.0.1:3").unwrap();
        let urls: Vec<String> = config.engines.urls.iter().map(EngineUrl::to_string).collect();
        assert_eq!(urls, ["http://a:1", "http://[::1]:2", "http://10.0.0.1:3"]);
        for url in [
            "a:1",
            "http://a",
            "https://a:1",
            "http://a:1/path",
            "http://a:1?q",
            "http://u:p@a:1",
            "http://:1",
            "",
        ] {
            let error = set(&format!("engines.urls=['{url}']")).unwrap_err();
            assert!(error.contains("expected URLs of the form http://HOST:PORT"), "{url}: {error}");
        }
    }

    #[test]
    fn limits_that_would_stop_all_work_are_refused() {
        for flag in [
            "http.max_body_bytes=0",
            "http.timeout_ms=0",
            "engines.urls=[]",
            "engines.max_attempts=0",
            "engines.refresh_ms=99",
            "engines.probe_ms=9",
        ] {
            let key = flag.split('=').next().unwrap();
            let error = set(flag).unwrap_err();
            assert!(error.contains(key) && error.contains("expected at least"), "{error}");
        }
    }
}
