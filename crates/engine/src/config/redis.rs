//! `[redis]`: the store that engines share.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use service_lifecycle::mask_password;
use state_redis::Acknowledge;

/// `[redis]`: used when `use_redis_state` is true, or when `url` is set, for what Redis still holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://host:port` for one server, `redis-cluster://host:port?node=host:port` for a
    /// cluster, `rediss://` or `rediss-cluster://` for TLS. With state in memory: the Redis of the former state,
    /// which is emptied. Default empty.
    pub url: String,
    /// Most connections of this process to Redis, over all servers. Default 50.
    pub max_connections: usize,
    /// Put before every key, so that several deployments may share a Redis. Default empty.
    pub key_prefix: String,
    /// Number of buckets; fixed once state is written. Default 24.
    pub buckets: u16,
    /// How long an append waits for others to be sent with. Default 1.
    pub gather_ms: u64,
    /// How long one operation may take, all attempts together. Default 3000.
    pub timeout_ms: u64,
    /// When a write counts as confirmed: `auto`, `primary`, `replicated` or `all_replicas`.
    /// Default `auto`: `replicated` if every primary had a replica at the first start.
    pub acknowledge: Acknowledge,
    /// Most bytes of appends that may be on their way to Redis at once; beyond it requests are
    /// refused. Default 128 MiB.
    pub in_flight_bytes_max: usize,
    /// Files for TLS, used with `rediss://` and `rediss-cluster://`.
    pub tls: RedisTlsConfig,
}

/// `[redis.tls]`: files for TLS to Redis.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisTlsConfig {
    /// PEM file with the certificates that sign those of the servers. Default empty: those that the
    /// operating system trusts.
    pub ca: String,
    /// PEM file with the certificate of this process, for servers that ask for one. Default none.
    pub certificate: String,
    /// PEM file with its private key.
    pub key: String,
}

impl Default for RedisConfig {
    fn default() -> Self {
        let state_redis::Config {
            url,
            max_connections,
            key_prefix,
            buckets,
            gather,
            timeout,
            acknowledge,
            in_flight_bytes_max,
            tls: _,
        } = state_redis::Config::default();
        let (gather_ms, timeout_ms) = (gather.as_millis() as u64, timeout.as_millis() as u64);
        Self {
            url,
            max_connections,
            key_prefix,
            buckets,
            gather_ms,
            timeout_ms,
            acknowledge,
            in_flight_bytes_max,
            tls: RedisTlsConfig::default(),
        }
    }
}

impl fmt::Debug for RedisConfig {
    /// Masks the password in the URL.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url,
            max_connections,
            key_prefix,
            buckets,
            gather_ms,
            timeout_ms,
            acknowledge,
            in_flight_bytes_max,
            tls,
        } = self;
        formatter
            .debug_struct("RedisConfig")
            .field("url", &mask_password(url))
            .field("max_connections", max_connections)
            .field("key_prefix", key_prefix)
            .field("buckets", buckets)
            .field("gather_ms", gather_ms)
            .field("timeout_ms", timeout_ms)
            .field("acknowledge", acknowledge)
            .field("in_flight_bytes_max", in_flight_bytes_max)
            .field("tls", tls)
            .finish()
    }
}

impl RedisConfig {
    /// What the Redis backend is told.
    pub(super) fn store(&self) -> state_redis::Config {
        let Self {
            url,
            max_connections,
            key_prefix,
            buckets,
            gather_ms,
            timeout_ms,
            acknowledge,
            in_flight_bytes_max,
            tls: RedisTlsConfig { ca, certificate, key },
        } = self.clone();
        let (gather, timeout) = (Duration::from_millis(gather_ms), Duration::from_millis(timeout_ms));
        state_redis::Config {
            url,
            max_connections,
            key_prefix,
            buckets,
            gather,
            timeout,
            acknowledge,
            in_flight_bytes_max,
            tls: state_redis::Tls { ca, certificate, key },
        }
    }
}
