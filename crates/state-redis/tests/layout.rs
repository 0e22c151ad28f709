//! What stands in Redis: every key has an end, and another layout is refused.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use state_core::{
    Append, CorrelationEntry, CorrelationKey, Facts, Fragment, Overrides, Refused, Settings, Signal,
    StateManager,
};
use state_redis::{Config, RedisStateManager};
use testbed::{RedisServer, redis::Options};

async fn server() -> RedisServer {
    RedisServer::start(Options::default()).await.unwrap()
}

fn config(server: &RedisServer) -> Config {
    Config { url: server.url(), ..Config::default() }
}

fn open(config: &Config) -> RedisStateManager {
    RedisStateManager::new(config, Settings::default()).unwrap()
}

fn key(text: &str) -> CorrelationKey {
    CorrelationKey { tenant: Default::default(), id: text.parse().unwrap() }
}

fn fragment(text: &str) -> Fragment {
    Fragment::new(Signal::Traces, Bytes::from(text.to_owned()), vec![[1; 16]], Facts::default())
}

async fn append(store: &RedisStateManager, id: &str, text: &str) {
    store.append(vec![Append { key: key(id), fragment: fragment(text) }]).await.unwrap();
}

/// Every key with its TTL in milliseconds; -1 is for ever.
async fn keys(server: &RedisServer) -> Vec<(String, i64)> {
    let mut keys = Vec::new();
    for key in server.node().command(&["KEYS", "*"]).await.unwrap().lines() {
        let ttl = server.node().command(&["PTTL", key]).await.unwrap();
        keys.push((key.to_owned(), ttl.trim().parse().unwrap()));
    }
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_but_the_schema_has_an_end_after_whatever_wrote_it() {
    let server = server().await;
    let store = open(&config(&server));
    let time = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let entry = |id: &str| {
        CorrelationEntry::fold(key(id).id, time, time, vec![fragment("set")], Overrides::default())
    };
    for number in 0..50 {
        append(&store, &format!("appended-{number}"), "first").await;
        append(&store, &format!("appended-{number}"), "second").await;
        let id = format!("set-{number}");
        let ttl = (number % 2 == 0).then_some(Duration::from_secs(7_200));
        store.set_correlation(&key(&id), entry(&id), ttl).await.unwrap();
        append(&store, &id, "after").await;
    }
    let refused = Refused { signal: Signal::Logs, reason: "invalid".into(), items: 1 };
    store.note_refused(vec![refused]).await.unwrap();
    store.delete_correlation(&key("appended-1")).await.unwrap();
    store.cleanup_old_correlations(time).await.unwrap();
    store.expire().await.unwrap();
    store.get_correlation_count().await.unwrap();
    let keys = keys(&server).await;
    assert!(keys.len() > 150, "{keys:?}");
    for (key, ttl) in keys {
        let least = match key.split(':').next() {
            Some("schema") => -1..0,
            Some("gone") => 1..60_001,
            Some("n") => 30 * 86_400_000 - 60_000..30 * 86_400_000 + 120_001,
            _ => 3_600_000..4 * 7_200_000,
        };
        assert!(least.contains(&ttl), "{key} has a TTL of {ttl} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_layout_is_refused_with_what_to_do() {
    let server = server().await;
    append(&open(&config(&server)), "a", "first").await;
    let other = open(&Config { buckets: 128, ..config(&server) });
    let error = other.ready().await.unwrap_err();
    assert!(!error.is_retryable(), "{error:?}");
    for text in ["buckets=24", "buckets=128", "key prefix"] {
        assert!(error.to_string().contains(text), "{text} is missing in: {error}");
    }
    server.node().command(&["SET", "schema", "layout=1 buckets=24 replicas=0"]).await.unwrap();
    let error = open(&config(&server)).ready().await.unwrap_err();
    assert!(!error.is_retryable(), "{error:?}");
    for text in ["layout=1", "layout=5", "version that wrote it", "key prefix"] {
        assert!(error.to_string().contains(text), "{text} is missing in: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_with_different_prefixes_share_a_server() {
    let server = server().await;
    let with_prefix = |prefix: &str| open(&Config { key_prefix: prefix.into(), ..config(&server) });
    let (staging, production) = (with_prefix("staging:"), with_prefix("production:"));
    append(&staging, "a", "first").await;
    assert_eq!(production.get_correlation(&key("a")).await.unwrap(), None);
    assert_eq!(production.get_correlation_count().await.unwrap(), 0);
    assert_eq!(staging.get_correlation_count().await.unwrap(), 1);
    let keys = keys(&server).await;
    assert!(
        keys.iter().all(|(key, _)| key.starts_with("staging:") || key.starts_with("production:")),
        "{keys:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_gone_before_anybody_looked_has_expired_unseen() {
    let server = server().await;
    let store = open(&config(&server));
    append(&store, "a", "first").await;
    // As Redis does it by itself while no engine runs.
    for (key, _) in keys(&server).await {
        if !key.starts_with("n:") && key != "schema" {
            server.node().command(&["DEL", &key]).await.unwrap();
        }
    }
    for _ in 0..2 {
        let ledger = store.get_ledger().await.unwrap();
        assert!(ledger.is_balanced(), "{ledger:?}");
        assert_eq!((ledger.spans.kept, ledger.spans.pending, ledger.spans.expired["unseen"]), (1, 0, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_the_ledger_that_is_no_count_is_an_error_that_names_it() {
    let server = server().await;
    let store = open(&config(&server));
    append(&store, "a", "first").await;
    let keys = keys(&server).await;
    let (ledger, _) = keys.iter().find(|(key, _)| key.starts_with("n:")).unwrap();
    for entry in [["spans.kept", "many"], ["spans.unheard_of", "1"]] {
        server.node().command(&["HSET", ledger, entry[0], entry[1]]).await.unwrap();
        let error = format!("{:?}", store.get_ledger().await.unwrap_err());
        assert!(error.contains(entry[0]), "{error}");
        server.node().command(&["HDEL", ledger, entry[0]]).await.unwrap();
    }
}
