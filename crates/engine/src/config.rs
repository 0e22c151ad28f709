//! The engine's configuration.

mod correlation;
mod redis;

use std::net::SocketAddr;

use access::{AuthConfig, LimitsConfig, LimitsKeys};
use delivery::DeliveryConfig;
use serde::{Deserialize, Serialize};
use service_lifecycle::{
    AdminConfig, LogConfig, ShutdownConfig, TlsConfig, TlsKeys, TraceConfig, Violation, deserialize_address,
};
use state_core::Settings;

use crate::{close::Rules, link::LinksConfig, watch::WatchConfig};
pub use correlation::CorrelationConfig;
pub use redis::{RedisConfig, RedisTlsConfig};

/// More of a text would hold up the request that it comes with.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Configuration of an engine. Every key has a default that runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether state is in Redis and shared by all engines. Default false: in this process's memory. With
    /// `redis.url` set all the same, what Redis holds is closed, delivered and served until it is empty.
    pub use_redis_state: bool,
    /// The gRPC port.
    pub grpc: GrpcConfig,
    /// Who may send and read.
    pub auth: AuthConfig,
    /// What belongs together, for how long, and how much of it.
    pub correlation: CorrelationConfig,
    /// Which traces are linked.
    pub links: LinksConfig,
    /// Where closed correlations are delivered to.
    pub delivery: DeliveryConfig,
    /// Who is told of closes as they happen.
    pub watch: WatchConfig,
    /// How much memory the state may take.
    pub memory: MemoryConfig,
    /// Where Redis is and how it is used.
    pub redis: RedisConfig,
    /// The port for health checks and metrics.
    pub admin: AdminConfig,
    /// What is logged.
    pub log: LogConfig,
    /// Traces of the engine itself.
    pub trace: TraceConfig,
    /// How the process ends.
    pub shutdown: ShutdownConfig,
}

/// `[grpc]`: OTLP and the query API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcConfig {
    /// Address to listen on; port 0 takes a free one. Default `127.0.0.1:4317`, OTLP's port.
    #[serde(deserialize_with = "deserialize_address")]
    pub listen: SocketAddr,
    /// Largest request after decompression. Default 64 MiB, as OTLP recommends.
    pub max_message_bytes: usize,
    /// How long a request may take. Default 6000: below the 10 s of clients and the 8 s of the
    /// gateway, above the 3 s of the store.
    pub timeout_ms: u64,
    /// Whether gRPC server reflection answers. Default true.
    pub reflection: bool,
    /// Its certificate. Default none: plain text.
    pub tls: TlsConfig,
    /// How much it takes on at once.
    pub limits: LimitsConfig,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4317)),
            max_message_bytes: 64 << 20,
            timeout_ms: 6_000,
            reflection: true,
            tls: TlsConfig::default(),
            limits: LimitsConfig::default(),
        }
    }
}

/// `[memory]`: used when `use_redis_state` is false.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Most bytes that correlations may take, estimated; beyond it requests are refused until
    /// something has expired. Default 1 GiB.
    pub bytes_max: u64,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { bytes_max: state_memory::Config::default().bytes_max }
    }
}

impl Config {
    /// Whether there is a Redis from which this engine was switched to memory.
    pub fn has_former_state(&self) -> bool {
        !self.use_redis_state && !self.redis.url.is_empty()
    }

    /// What every backend is told.
    pub fn settings(&self) -> Settings {
        self.correlation.settings()
    }

    /// When correlations are closed.
    pub(crate) fn rules(&self) -> Rules {
        self.correlation.rules()
    }

    /// What the memory backend is told.
    pub fn memory(&self) -> state_memory::Config {
        state_memory::Config { bytes_max: self.memory.bytes_max }
    }

    /// What the Redis backend is told.
    pub fn redis(&self) -> state_redis::Config {
        self.redis.store()
    }
}

impl service_lifecycle::Config for Config {
    const ENVIRONMENT_ALIASES: &'static [(&'static str, &'static str)] = &[
        ("USE_REDIS_STATE", "use_redis_state"),
        ("REDIS_URL", "redis.url"),
        ("REDIS_MAX_CONNECTIONS", "redis.max_connections"),
        ("CORRELATION_TTL_SECONDS", "correlation.ttl_seconds"),
        ("CORR_WINDOW_SECONDS", "correlation.window_seconds"),
    ];
    const SECRETS: &'static [&'static str] = &["delivery.url", "redis.url"];
    const SIBLING_SECTIONS: &'static [&'static str] = &["http", "engines", "events"];

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
        vec![("grpc.listen", self.grpc.listen)]
    }

    fn violations(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut require = |holds: bool, key, allowed: &str| {
            if !holds {
                violations.push(Violation::new(key, allowed));
            }
        };
        let Self { grpc, correlation, redis, .. } = self;
        require(grpc.max_message_bytes > 0, "grpc.max_message_bytes", "expected at least 1");
        require(grpc.timeout_ms > 0, "grpc.timeout_ms", "expected at least 1");
        let ten_years = 10 * 366 * 24 * 3600;
        let ttl_fits = (1..=ten_years).contains(&correlation.ttl_seconds);
        require(ttl_fits, "correlation.ttl_seconds", "expected 1 to 316224000, which is ten years");
        require(correlation.grace_ms > 0, "correlation.grace_ms", "expected at least 1");
        let (window, age_max) = (correlation.window_seconds, correlation.age_max_seconds);
        if !(correlation.grace_ms.div_ceil(1_000) <= window && window <= age_max && age_max <= ten_years) {
            let keys = ["correlation.grace_ms", "correlation.window_seconds", "correlation.age_max_seconds"];
            violations
                .push(Violation::between(&keys, "expected each to be at least as long as the one before"));
        }
        let mut require = |holds: bool, key, allowed: &str| {
            if !holds {
                violations.push(Violation::new(key, allowed));
            }
        };
        // Redis scripts calculate in doubles, which are exact up to here.
        let exact = 1..=1_u64 << 53;
        let counts = "expected 1 to 2^53";
        require(exact.contains(&correlation.spans_max), "correlation.spans_max", counts);
        require(exact.contains(&correlation.bytes_max), "correlation.bytes_max", counts);
        require(self.memory.bytes_max > 0, "memory.bytes_max", "expected at least 1");
        let named = correlation.keys.iter().all(|key| !key.is_empty());
        require(named, "correlation.keys", "expected attribute names, none of them empty");
        let is_searched = (1..=TEXT_BYTES_MAX).contains(&correlation.text_bytes_max);
        require(is_searched, "correlation.text_bytes_max", "expected 1 to 65536");
        if let Err(invalid) = correlation.split_options() {
            violations.push(Violation::new("correlation.text_patterns", invalid.to_string()));
        }
        if (self.use_redis_state || self.has_former_state()) && grpc.timeout_ms <= redis.timeout_ms {
            let allowed =
                "expected requests to have more time than the store, so that its answer can be passed on";
            violations.push(Violation::between(&["grpc.timeout_ms", "redis.timeout_ms"], allowed));
        }
        if self.use_redis_state && redis.url.is_empty() {
            let allowed = "expected a URL of Redis when state is in Redis: \
                redis://host:port or redis-cluster://host:port (REDIS_URL)";
            violations.push(Violation::between(&["use_redis_state", "redis.url"], allowed));
        }
        // What is wrong is wrong also while it is not used; only the URL may be left out.
        if let Err(invalid) = self.redis().validate()
            && !(invalid.setting == "url" && redis.url.is_empty())
        {
            let key = match invalid.setting {
                "max_connections" => "redis.max_connections",
                "key_prefix" => "redis.key_prefix",
                "buckets" => "redis.buckets",
                "timeout" => "redis.timeout_ms",
                "gather" => "redis.gather_ms",
                "in_flight_bytes_max" => "redis.in_flight_bytes_max",
                "tls" | "tls.ca" => "redis.tls.ca",
                "tls.certificate" => "redis.tls.certificate",
                "tls.key" => "redis.tls.key",
                _ => "redis.url",
            };
            violations.push(Violation::new(key, invalid.reason));
        }
        violations.extend(grpc.tls.violations(TlsKeys {
            certificate: "grpc.tls.certificate",
            key: "grpc.tls.key",
            client_ca: "grpc.tls.client_ca",
        }));
        violations.extend(grpc.limits.violations(LimitsKeys {
            connections_max: "grpc.limits.connections_max",
            requests_in_flight_max: "grpc.limits.requests_in_flight_max",
            bytes_in_flight_max: "grpc.limits.bytes_in_flight_max",
        }));
        if grpc.limits.bytes_in_flight_max < grpc.max_message_bytes {
            let keys = ["grpc.limits.bytes_in_flight_max", "grpc.max_message_bytes"];
            violations
                .push(Violation::between(&keys, "expected room for at least one of the largest requests"));
        }
        violations.extend(self.links.violations());
        violations.extend(self.delivery.violations());
        violations.extend(self.watch.violations());
        if grpc.listen == self.admin.listen && grpc.listen.port() != 0 {
            violations.push(Violation::between(&["grpc.listen", "admin.listen"], "expected two addresses"));
        }
        violations
    }
}

#[cfg(test)]
mod tests {
    use service_lifecycle::Config as _;

    use super::*;

    #[test]
    fn the_default_is_valid_and_in_memory() {
        assert_eq!(Config::default().violations(), []);
        assert!(!Config::default().use_redis_state);
    }

    #[test]
    fn redis_state_without_a_url_is_a_contradiction() {
        let config = Config { use_redis_state: true, ..Config::default() };
        assert_eq!(config.violations()[0].keys, ["use_redis_state", "redis.url"]);
    }

    #[test]
    fn redis_beside_state_in_memory_is_a_former_state_with_the_same_rules() {
        let mut config = Config::default();
        assert!(!config.has_former_state());
        config.redis.url = "redis://localhost:6379".into();
        assert!(config.has_former_state());
        assert_eq!(config.violations(), []);
        config.grpc.timeout_ms = config.redis.timeout_ms;
        assert_eq!(config.violations()[0].keys, ["grpc.timeout_ms", "redis.timeout_ms"]);
        config.use_redis_state = true;
        assert!(!config.has_former_state(), "it is its own");
    }

    #[test]
    fn a_wrong_redis_setting_is_named_by_its_key() {
        let mut config = Config { use_redis_state: true, ..Config::default() };
        config.redis.url = "localhost:6379".into();
        assert_eq!(config.violations()[0].keys, ["redis.url"]);
        config.redis.url = "redis://localhost:6379".into();
        config.redis.buckets = 0;
        assert_eq!(config.violations()[0].keys, ["redis.buckets"]);
    }

    #[test]
    fn a_wrong_endpoint_is_named_by_its_key() {
        let mut config = Config::default();
        config.delivery.url = "collector:4317".into();
        assert_eq!(config.violations()[0].keys, ["delivery.url"]);
    }

    #[test]
    fn a_wrong_weight_of_links_is_named_by_its_key() {
        let mut config = Config::default();
        config.links.weights = vec!["order.id".into()];
        assert_eq!(config.violations()[0].keys, ["links.weights"]);
    }

    #[test]
    fn a_pattern_that_cannot_be_used_is_named_by_its_key_with_the_reason() {
        let mut config = Config::default();
        config.correlation.text_patterns = vec!["order (?<order.id>[0-9]+)".into()];
        let violation = config.violations().remove(0);
        assert_eq!(violation.keys, ["correlation.text_patterns"]);
        assert!(violation.allowed.contains("order.id"), "{}", violation.allowed);
        config.correlation.keys = vec!["order.id".into()];
        assert_eq!(config.violations(), []);
        config.correlation.text_bytes_max = TEXT_BYTES_MAX + 1;
        assert_eq!(config.violations()[0].keys, ["correlation.text_bytes_max"]);
    }

    #[test]
    fn debug_shows_no_password() {
        let mut config = Config::default();
        config.redis.url = "redis://user:secret@localhost:6379".into();
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn a_value_out_of_range_is_named_by_its_key() {
        let mut config = Config::default();
        config.correlation.ttl_seconds = 0;
        assert_eq!(config.violations()[0].keys, ["correlation.ttl_seconds"]);
    }
}
