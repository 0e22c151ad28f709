//! How to reach Redis, and how the state is laid out in it.

use std::{fmt, time::Duration};

use fred::types::config::{Config as FredConfig, ServerConfig};
use serde::{Deserialize, Serialize};

use crate::tls::Tls;

/// Settings of the Redis backend.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Where Redis is: `redis://[[user][:password]@]host[:port]` for one server,
    /// `redis-cluster://host:port?node=host:port&node=host:port` for a cluster, of which any node
    /// leads to the others. `rediss://` and `rediss-cluster://` use TLS.
    pub url: String,
    /// Most connections that this process keeps, over all servers; at least one for each, at most
    /// four are used. Default 50.
    pub max_connections: usize,
    /// Put before every key, so that several deployments may share a Redis. Default empty.
    pub key_prefix: String,
    /// Number of buckets. Fixed when the state is first written. Default 24: cost follows the number
    /// of script calls, and 24 are spread evenly over 2, 3, 4, 6, 8 and 12 primaries
    /// (`docs/adr/0002-bucket-layout.md`).
    pub buckets: u16,
    /// How long an append waits for others to be sent with. Default 1 ms.
    pub gather: Duration,
    /// How long an operation may take, all attempts together. Default 3 s.
    pub timeout: Duration,
    /// When a write counts as confirmed. Default [`Acknowledge::Auto`].
    pub acknowledge: Acknowledge,
    /// Most bytes of appends that may be on their way at once; beyond it they are refused as
    /// unavailable. Default 128 MiB: two of the largest requests.
    pub in_flight_bytes_max: usize,
    /// Files for TLS. Default none: the operating system says whom to trust.
    pub tls: Tls,
}

/// When a write counts as confirmed. Never lowered because a replica is away: then writes are
/// refused as unavailable until it is back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledge {
    /// As at the first start with this state: [`Replicated`](Self::Replicated) if every primary had
    /// a replica then, else [`Primary`](Self::Primary).
    #[default]
    Auto,
    /// Applied by the primary. Its death can lose what its replicas had not received.
    Primary,
    /// Applied by the primary and received by one of its replicas.
    Replicated,
    /// Applied by the primary and received by as many replicas as every primary had at the first
    /// start with this state.
    AllReplicas,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: String::new(),
            max_connections: 50,
            key_prefix: String::new(),
            buckets: 24,
            gather: Duration::from_millis(1),
            timeout: Duration::from_secs(3),
            acknowledge: Acknowledge::Auto,
            in_flight_bytes_max: 128 << 20,
            tls: Tls::default(),
        }
    }
}

impl fmt::Debug for Config {
    /// Leaves the URL out, which may hold a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url: _,
            max_connections,
            key_prefix,
            buckets,
            gather,
            timeout,
            acknowledge,
            in_flight_bytes_max,
            tls,
        } = self;
        formatter
            .debug_struct("Config")
            .field("max_connections", max_connections)
            .field("key_prefix", key_prefix)
            .field("buckets", buckets)
            .field("gather", gather)
            .field("timeout", timeout)
            .field("acknowledge", acknowledge)
            .field("in_flight_bytes_max", in_flight_bytes_max)
            .field("tls", tls)
            .finish_non_exhaustive()
    }
}

/// A setting that cannot be used. Never prints the URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is not valid: {reason}")]
pub struct InvalidConfig {
    /// Name of the field in [`Config`].
    pub setting: &'static str,
    /// What is wrong and what is allowed.
    pub reason: String,
}

/// Attempts that fit into the time of an operation when each takes as long as it may.
pub(crate) const ATTEMPTS: u32 = 3;

impl Config {
    /// Checks all settings without connecting anywhere.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        self.parse().map(drop)
    }

    /// Checks all settings; answers how to connect to the first server, and whether it must be a
    /// cluster's.
    pub(crate) fn parse(&self) -> Result<Seeds, InvalidConfig> {
        let invalid = |setting, reason: &str| Err(InvalidConfig { setting, reason: reason.into() });
        if self.max_connections == 0 {
            return invalid("max_connections", "at least 1 is needed");
        }
        if self.buckets == 0 || self.buckets > 1024 {
            return invalid("buckets", "1 to 1024 are allowed");
        }
        if self.key_prefix.contains(['{', '}']) {
            return invalid("key_prefix", "braces are not allowed: they would redirect the hash tag");
        }
        if self.timeout < ATTEMPTS * Duration::from_millis(10) {
            return invalid("timeout", "at least 30 ms are needed");
        }
        if self.gather >= self.attempt_timeout() {
            return invalid(
                "gather",
                "less than a third of the timeout is needed, so that there is time to send",
            );
        }
        if self.in_flight_bytes_max == 0 {
            return invalid("in_flight_bytes_max", "at least 1 is needed");
        }
        let mut seeds = self.seeds().map_err(|reason| InvalidConfig { setting: "url", reason })?;
        if seeds.encrypted {
            seeds.fred.tls = Some(self.tls.open()?);
        } else if self.tls != Tls::default() {
            return invalid("tls", "it is used with rediss:// and rediss-cluster:// only");
        }
        Ok(seeds)
    }

    /// How long one attempt of an operation may take, so that there is time to try elsewhere.
    pub(crate) fn attempt_timeout(&self) -> Duration {
        self.timeout / ATTEMPTS
    }

    fn seeds(&self) -> Result<Seeds, String> {
        const ALLOWED: &str = "redis://host:port for one server, \
            redis-cluster://host:port?node=host:port for a cluster, rediss:// or rediss-cluster:// for TLS";
        if self.url.is_empty() {
            return Err(format!("it is empty; {ALLOWED}"));
        }
        let scheme = self.url.split("://").next().unwrap_or_default();
        let clustered = match scheme {
            "redis" | "rediss" | "valkey" | "valkeys" => false,
            "redis-cluster" | "rediss-cluster" | "valkey-cluster" | "valkeys-cluster" => true,
            // fred also knows sockets and sentinels, which this backend does not serve.
            _ => return Err(format!("its scheme is not known; {ALLOWED}")),
        };
        let mut fred =
            FredConfig::from_url(&self.url).map_err(|error| format!("{}; {ALLOWED}", error.details()))?;
        // Taken from the files of `tls`.
        fred.tls = None;
        // fred overlooks what it does not know, and what does not apply.
        let (rest, query) = self.url.split_once('?').unwrap_or((&self.url, ""));
        let mut names = query.split('&').filter(|part| !part.is_empty()).map(|part| part.split('=').next());
        let path =
            rest.split("://").nth(1).and_then(|rest| rest.split_once('/')).map_or("", |(_, path)| path);
        if clustered && !path.is_empty() {
            return Err(format!("a cluster has no databases to choose from; {ALLOWED}"));
        }
        if names.any(|name| !clustered || name != Some("node")) {
            return Err(format!(
                "only node=host:port may stand behind the ?, and only for a cluster; {ALLOWED}"
            ));
        }
        let servers = match &fred.server {
            ServerConfig::Centralized { server } => vec![address(server)],
            ServerConfig::Clustered { hosts, .. } => hosts.iter().map(address).collect(),
            _ => return Err(ALLOWED.into()),
        };
        let encrypted = scheme.starts_with("rediss") || scheme.starts_with("valkeys");
        Ok(Seeds { fred, clustered, encrypted, servers })
    }
}

fn address(server: &fred::types::config::Server) -> Address {
    Address { host: server.host.to_string(), port: server.port }
}

/// What the URL says.
#[derive(Debug, Clone)]
pub(crate) struct Seeds {
    /// Credentials, TLS and database; its server is replaced for each connection.
    pub(crate) fred: FredConfig,
    pub(crate) clustered: bool,
    /// Whether connections are to use TLS.
    pub(crate) encrypted: bool,
    pub(crate) servers: Vec<Address>,
}

/// Host and port of a Redis server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Reads `host:port` as Redis writes it in redirections; an IPv6 host has colons of its own.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self { host: host.into(), port: port.parse().ok()? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_url(url: &str) -> Config {
        Config { url: url.into(), ..Config::default() }
    }

    #[test]
    fn the_scheme_says_whether_it_is_a_cluster() {
        let one = with_url("redis://127.0.0.1:7000").parse().unwrap();
        assert!(!one.clustered);
        let cluster = with_url("redis-cluster://h1:7000?node=h2:7001&node=h3:7002").parse().unwrap();
        assert!(cluster.clustered);
        let mut servers: Vec<_> = cluster.servers.iter().map(ToString::to_string).collect();
        servers.sort_unstable();
        assert_eq!(servers, ["h1:7000", "h2:7001", "h3:7002"]);
    }

    #[test]
    fn a_wrong_url_is_refused_without_showing_it() {
        for url in [
            "redis-cluster://u:secret@h:1/2",
            "redis-cluster://u:secret@h:1?nod=h:2",
            "redis://u:secret@h:1?node=h:2",
            "",
            "localhost:6379",
            "http://u:secret@h",
            "redis://u:secret@h:port",
            "redis-sentinel://u:secret@h",
        ] {
            let error = with_url(url).validate().unwrap_err();
            assert_eq!(error.setting, "url");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_password() {
        assert!(!format!("{:?}", with_url("redis://u:secret@h:1")).contains("secret"));
    }

    #[test]
    fn a_setting_out_of_range_is_named() {
        let url = "redis://h:1".to_owned();
        let config = Config { buckets: 0, url: url.clone(), ..Config::default() };
        assert_eq!(config.validate().unwrap_err().setting, "buckets");
        let config = Config { key_prefix: "{a}".into(), url, ..Config::default() };
        assert_eq!(config.validate().unwrap_err().setting, "key_prefix");
    }
}
