//! The configuration sections that every process has.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use tracing_subscriber::EnvFilter;

use super::Violation;
use crate::{TlsConfig, TlsKeys};

/// `[admin]`: the port for health checks and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Address of `/livez`, `/readyz`, `/healthz` and `/metrics`; port 0 takes a free one.
    ///
    /// Default `127.0.0.1:9464` (the port that OpenTelemetry's Prometheus exporters use); a
    /// process that usually runs beside another one has its own default.
    #[serde(deserialize_with = "deserialize_address")]
    pub listen: SocketAddr,
    /// Its certificate. Default none: plain text.
    pub tls: TlsConfig,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9464)), tls: TlsConfig::default() }
    }
}

impl AdminConfig {
    pub(super) fn violations(&self) -> Vec<Violation> {
        self.tls.violations(TlsKeys {
            certificate: "admin.tls.certificate",
            key: "admin.tls.key",
            client_ca: "admin.tls.client_ca",
        })
    }
}

/// `[log]`: what is written to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`, also per module: `info,engine=debug`.
    /// Default `info`.
    pub level: String,
    /// Default `text`.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

impl LogConfig {
    pub(super) fn violations(&self) -> Vec<Violation> {
        // A single word that is no level would be taken as the name of a module, and all else be silent.
        const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
        let mut parts = self.level.split(',').map(str::trim).filter(|part| !part.contains('='));
        let are_levels = parts.all(|part| LEVELS.contains(&part.to_lowercase().as_str()));
        match EnvFilter::try_new(&self.level) {
            Ok(_) if are_levels => Vec::new(),
            _ => vec![Violation::new(
                "log.level",
                "expected error, warn, info, debug or trace, also per module: info,engine=debug",
            )],
        }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for machines.
    Json,
}

/// `[trace]`: traces of the process itself; everything else about them is said by `OTEL_*` variables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceConfig {
    /// Whether they may be sent to a port of this process. Default false: then such an endpoint stops the
    /// start.
    pub into_itself: bool,
}

/// `[shutdown]`: how the process ends after SIGTERM or SIGINT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long the process is not ready but still accepts, so that load balancers notice first.
    /// Default 0; behind a Kubernetes service about 5000.
    pub drain_delay_ms: u64,
    /// How long the service may take to finish what is in flight.
    ///
    /// Default 25000: with some seconds of delay below the 30 s that Kubernetes waits
    /// (`terminationGracePeriodSeconds`).
    pub grace_ms: u64,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { drain_delay_ms: 0, grace_ms: 25_000 }
    }
}

impl ShutdownConfig {
    pub(crate) fn drain_delay(&self) -> Duration {
        Duration::from_millis(self.drain_delay_ms)
    }

    pub(crate) fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}

/// Reads an address to listen on: `#[serde(deserialize_with = "service_lifecycle::deserialize_address")]`.
///
/// # Errors
/// Says what is allowed when the text is not `IP:PORT`.
pub fn deserialize_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|_| D::Error::custom("expected IP:PORT, such as 127.0.0.1:4317, 0.0.0.0:4317 or [::]:4317"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_valid(level: &str) -> bool {
        LogConfig { level: level.to_owned(), ..LogConfig::default() }.violations().is_empty()
    }

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for level in ["info", "WARN", "off", "info,engine=debug", "engine=trace"] {
            assert!(is_valid(level), "{level}");
        }
        for level in ["", "loud", "info,", "info,engine=debugg", "engine"] {
            assert!(!is_valid(level), "{level}");
        }
    }
}
