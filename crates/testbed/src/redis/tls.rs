//! TLS of Redis servers: their settings, and how the testbed itself connects.

use std::{fs, sync::Arc};

use anyhow::Context as _;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// Files for TLS between the servers of a test, and with their clients. All servers show the same
/// certificate, and so does the testbed.
#[derive(Debug, Clone)]
pub struct Tls {
    /// PEM file with the certificate that signs those of servers and clients.
    pub ca: String,
    /// PEM file with the certificate, for `localhost` at least.
    pub certificate: String,
    /// PEM file with its private key.
    pub key: String,
    /// Whether clients must show a certificate too (mutual TLS).
    pub asks_clients: bool,
}

impl Tls {
    /// Lines of `redis.conf`: `port` speaks TLS, as do replication and the cluster bus, and no other
    /// port is open.
    pub(super) fn settings(&self, port: &str) -> Vec<(String, String)> {
        let auth_clients = if self.asks_clients { "yes" } else { "no" };
        let lines = [
            ("port", "0"),
            ("tls-port", port),
            ("tls-ca-cert-file", &self.ca),
            ("tls-cert-file", &self.certificate),
            ("tls-key-file", &self.key),
            ("tls-auth-clients", auth_clients),
            ("tls-replication", "yes"),
            ("tls-cluster", "yes"),
        ];
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// How the testbed connects.
    pub(super) fn client(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.ca)?)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?)
            .with_context(|| format!("failed to find a private key in {}", self.key))?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate(&self.certificate)?], key)?;
        Ok(Arc::new(config))
    }
}

fn certificate(file: &str) -> anyhow::Result<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(&read(file)?)
        .with_context(|| format!("failed to find a certificate in {file}"))
}

fn read(file: &str) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("failed to read {file}"))
}
