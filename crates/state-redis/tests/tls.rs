//! Redis over TLS and mutual TLS, one server and a cluster, with certificates of a private authority.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use state_core::{Append, CorrelationKey, Facts, Fragment, Outcome, Settings, Signal, StateManager};
use state_redis::{Config, RedisStateManager, Tls};
use tempfile::TempDir;
use testbed::{
    RedisCluster, RedisServer, Topology,
    certificates::{Authority, write},
    eventually,
    redis::{self, Options, Role},
};

/// Names of this machine.
const HERE: [&str; 2] = ["localhost", "127.0.0.1"];
/// More than buckets, so that every shard gets some.
const CORRELATIONS: u32 = 128;
/// A failover with a node timeout of one second takes some three.
const HEALED: Duration = Duration::from_secs(40);

/// Files of an authority that servers and clients trust, and of certificates that it has signed.
struct Files {
    ca: String,
    server: (String, String),
    own: (String, String),
    _directory: TempDir,
}

impl Files {
    /// The certificate of the servers is for hosts of these names.
    fn new(hosts: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new().unwrap();
        Self {
            ca: write(directory.path(), "ca.pem", &authority.pem()).unwrap(),
            server: authority.sign_for(hosts).unwrap().write(directory.path(), "server").unwrap(),
            own: authority.sign().unwrap().write(directory.path(), "own").unwrap(),
            _directory: directory,
        }
    }

    fn servers(&self, asks_clients: bool) -> Options {
        let (certificate, key) = self.server.clone();
        let tls = redis::Tls { ca: self.ca.clone(), certificate, key, asks_clients };
        Options { tls: Some(tls), ..Options::default() }
    }

    fn without_own(&self) -> Tls {
        Tls { ca: self.ca.clone(), ..Tls::default() }
    }

    fn with_own(&self) -> Tls {
        let (certificate, key) = self.own.clone();
        Tls { certificate, key, ..self.without_own() }
    }
}

fn store(url: &str, tls: Tls) -> RedisStateManager {
    let config = Config { url: url.to_owned(), tls, timeout: Duration::from_secs(2), ..Config::default() };
    // Everything is due as soon as it has arrived.
    let settings = Settings { grace: Duration::ZERO, ..Settings::default() };
    RedisStateManager::new(&config, settings).unwrap()
}

async fn ready(url: &str, tls: Tls) -> state_core::Result<()> {
    store(url, tls).ready().await
}

fn key(number: u32) -> CorrelationKey {
    CorrelationKey { tenant: Default::default(), id: format!("n={number}").parse().unwrap() }
}

fn fragment(number: u32, round: u32) -> Fragment {
    let identity = (u128::from(number) << 64 | u128::from(round)).to_be_bytes();
    let payload = Bytes::from(format!("{number} in round {round}"));
    Fragment::new(Signal::Traces, payload, vec![identity], Facts::default())
}

/// Appends a fragment to each correlation; answers whether all were acknowledged.
async fn append_round(store: &RedisStateManager, round: u32) -> bool {
    let appends = (0..CORRELATIONS).map(|number| async move {
        let batch = vec![Append { key: key(number), fragment: fragment(number, round) }];
        let appended = store.append(batch).await;
        assert!(appended.as_ref().err().is_none_or(state_core::Error::is_retryable), "{appended:?}");
        matches!(appended.as_deref(), Ok([Outcome::Added | Outcome::Duplicate]))
    });
    join_all(appends).await.into_iter().all(|acknowledged| acknowledged)
}

/// Reads each correlation and demands the fragments of these rounds.
async fn assert_held(store: &RedisStateManager, rounds: &[u32]) {
    for number in 0..CORRELATIONS {
        let entry = store.get_correlation(&key(number)).await.unwrap().unwrap();
        for round in rounds {
            assert!(entry.spans.contains(&fragment(number, *round)), "{number} in round {round}");
        }
    }
}

/// Claims and closes what is due; answers how many correlations that were.
async fn finish_all(store: &RedisStateManager) -> usize {
    let mut finished = BTreeSet::new();
    loop {
        let claims = store.claim_due(100, Duration::from_secs(3600)).await.unwrap();
        if claims.is_empty() {
            return finished.len();
        }
        let finishes = claims.iter().map(|claim| claim.finish("done")).collect();
        store.finish(finishes).await.unwrap();
        finished.extend(claims.into_iter().map(|claim| claim.ticket.key.id.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mutual_tls_both_sides_show_a_certificate_that_the_other_trusts() {
    let files = Files::new(&HERE);
    let server = RedisServer::start(files.servers(true)).await.unwrap();
    let url = server.url();
    assert!(url.starts_with("rediss://"));
    ready(&url, files.with_own()).await.unwrap();
    assert!(ready(&url, files.without_own()).await.is_err(), "the server asks for a certificate");
    let trusts_the_system = Tls { ca: String::new(), ..files.with_own() };
    assert!(ready(&url, trusts_the_system).await.is_err(), "nobody has signed the server's");
    let plain = url.replace("rediss://", "redis://");
    assert!(ready(&plain, Tls::default()).await.is_err(), "plain text is not answered");
}

/// The slot map that is read after the failover names servers that the URL need not.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_with_tls_fails_over_and_keeps_what_it_has_acknowledged() {
    let files = Files::new(&HERE);
    let topology = Topology { node_timeout_ms: 1_000, options: files.servers(false), ..Topology::default() };
    let cluster = RedisCluster::start(topology).await.unwrap();
    // All else is found by what this one announces.
    let url = format!("rediss-cluster://{}", cluster.nodes()[1].address());
    let store = store(&url, files.without_own());
    assert!(append_round(&store, 0).await);
    assert_held(&store, &[0]).await;
    assert_eq!(finish_all(&store).await, CORRELATIONS as usize);

    cluster.nodes()[0].process().kill().unwrap();
    eventually("a replica has taken over", HEALED, async || store.ready().await.is_ok()).await.unwrap();
    assert_held(&store, &[0]).await;
    // Its shard has one server now, and waits for a replica of it.
    cluster.nodes()[0].restart().await.unwrap();
    eventually("every shard acknowledges", HEALED, async || append_round(&store, 1).await).await.unwrap();
    assert_held(&store, &[0, 1]).await;
    assert_eq!(finish_all(&store).await, CORRELATIONS as usize, "a second generation");
    let plain = cluster.url().replace("rediss-cluster://", "redis-cluster://");
    assert!(ready(&plain, Tls::default()).await.is_err(), "plain text is not answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_with_mutual_tls_and_names_is_followed_where_its_slots_move() {
    let files = Files::new(&["localhost"]);
    let mut options = files.servers(true);
    // A certificate seldom holds addresses.
    let by_name =
        [("cluster-announce-hostname", "localhost"), ("cluster-preferred-endpoint-type", "hostname")];
    options.settings.extend(by_name.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let cluster = RedisCluster::start(Topology { options, ..Topology::default() }).await.unwrap();
    assert!(ready(&cluster.url(), files.with_own()).await.is_err(), "the certificate holds no address");
    let url = cluster.url().replace("127.0.0.1", "localhost");
    assert!(url.starts_with("rediss-cluster://"));
    assert!(ready(&url, files.without_own()).await.is_err(), "the servers ask for a certificate");
    let store = store(&url, files.with_own());
    assert!(append_round(&store, 0).await);

    // The testbed lets node 3 follow node 0, which redirects its clients from now on.
    let (primary, replica) = (&cluster.nodes()[0], &cluster.nodes()[3]);
    replica.command(&["CLUSTER", "FAILOVER"]).await.unwrap();
    eventually("the primary has become a replica", HEALED, async || {
        primary.role().await.unwrap() == Role::Replica
    })
    .await
    .unwrap();
    eventually("every shard acknowledges", HEALED, async || append_round(&store, 1).await).await.unwrap();
    assert_held(&store, &[0, 1]).await;
    assert_eq!(finish_all(&store).await, CORRELATIONS as usize);
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let files = Files::new(&HERE);
    let (own, key) = files.own;
    let tls = |ca: &str, certificate: &str, key: &str| Tls {
        ca: ca.into(),
        certificate: certificate.into(),
        key: key.into(),
    };
    for (url, tls, setting, reason) in [
        ("rediss://localhost", tls("/nowhere.pem", "", ""), "tls.ca", "/nowhere.pem"),
        ("rediss://localhost", tls(&key, "", ""), "tls.ca", "at least one certificate"),
        ("rediss://localhost", tls("", &own, ""), "tls.certificate", "a certificate and its key"),
        ("rediss://localhost", tls("", &own, &own), "tls.key", "expected a private key"),
        ("redis://localhost", tls(&own, "", ""), "tls", "rediss://"),
    ] {
        let error = Config { url: url.to_owned(), tls, ..Config::default() }.validate().unwrap_err();
        assert_eq!(error.setting, setting);
        assert!(error.reason.contains(reason), "{error}");
    }
}
