//! Redis over TLS and mutual TLS, with certificates of a private authority.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

use std::{net::TcpListener, path::Path};

use state_core::{Settings, StateManager};
use state_redis::{Config, RedisStateManager, Tls};
use testbed::{
    RedisServer,
    certificates::{Authority, Certificate, write},
    redis::Options,
};

/// Files of a certificate and of its key.
fn certificate(directory: &Path, name: &str, authority: &Authority) -> (String, String) {
    let Certificate { pem, key } = authority.sign().unwrap();
    let write = |suffix: &str, text: &str| write(directory, &format!("{name}.{suffix}"), text).unwrap();
    (write("pem", &pem), write("key", &key))
}

async fn ready(url: &str, tls: Tls) -> state_core::Result<()> {
    let config =
        Config { url: url.to_owned(), tls, timeout: std::time::Duration::from_secs(2), ..Config::default() };
    let store = RedisStateManager::new(&config, Settings::default()).unwrap();
    store.ready().await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mutual_tls_both_sides_show_a_certificate_that_the_other_trusts() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new().unwrap();
    let ca = write(directory.path(), "ca.pem", &authority.pem()).unwrap();
    let (server, server_key) = certificate(directory.path(), "server", &authority);
    let (own, own_key) = certificate(directory.path(), "own", &authority);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let settings = [
        ("tls-port", port.as_str()),
        ("tls-cert-file", &server),
        ("tls-key-file", &server_key),
        ("tls-ca-cert-file", &ca),
        ("tls-auth-clients", "yes"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let _server = RedisServer::start(Options { settings, ..Options::default() }).await.unwrap();
    let url = format!("rediss://127.0.0.1:{port}");

    let tls = Tls { ca: ca.clone(), certificate: own.clone(), key: own_key.clone() };
    ready(&url, tls.clone()).await.unwrap();
    let without_own = Tls { ca: ca.clone(), ..Tls::default() };
    assert!(ready(&url, without_own).await.is_err(), "the server asks for a certificate");
    let trusts_the_system = Tls { ca: String::new(), ..tls.clone() };
    assert!(ready(&url, trusts_the_system).await.is_err(), "nobody has signed the server's");
    let plain = format!("redis://127.0.0.1:{port}");
    assert!(ready(&plain, Tls::default()).await.is_err(), "plain text is not answered");
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (own, key) = certificate(directory.path(), "own", &Authority::new().unwrap());
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
