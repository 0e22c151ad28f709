//! TLS to Redis: whose certificates are trusted, and the own one.

use std::{fs, sync::Arc};

use fred::types::config::TlsConfig;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use rustls_native_certs::load_native_certs;

use crate::config::InvalidConfig;

/// Files for TLS, used with a URL of `rediss` or `rediss-cluster`. Read once, at the start.
///
/// Servers of a cluster are named as they announce themselves: by address, unless Redis is told
/// `cluster-announce-hostname` and `cluster-preferred-endpoint-type hostname`. Their certificates
/// must hold those names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the certificates that sign those of the servers; empty: those that the
    /// operating system trusts.
    pub ca: String,
    /// PEM file with the own certificate, for servers that ask for one (`tls-auth-clients`).
    pub certificate: String,
    /// PEM file with its private key.
    pub key: String,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// The setting whose file cannot be used.
    pub(crate) fn open(&self) -> Result<TlsConfig, InvalidConfig> {
        let roots = if self.ca.is_empty() {
            let found = load_native_certs().certs;
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found);
            roots
        } else {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("tls.ca", &self.ca)? {
                roots.add(certificate).map_err(|error| invalid("tls.ca", &self.ca, &error.to_string()))?;
            }
            roots
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid("tls.ca", &self.ca, &error.to_string()))?
            .with_root_certificates(roots);
        let config = match (self.certificate.is_empty(), self.key.is_empty()) {
            (true, true) => builder.with_no_client_auth(),
            (false, false) => {
                let chain = certificates("tls.certificate", &self.certificate)?;
                let key = PrivateKeyDer::from_pem_slice(&read("tls.key", &self.key)?)
                    .map_err(|_| invalid("tls.key", &self.key, "expected a private key in PEM"))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| invalid("tls.certificate", &self.certificate, &error.to_string()))?
            }
            _ => {
                let reason = "a certificate and its key are needed, or neither".into();
                return Err(InvalidConfig { setting: "tls.certificate", reason });
            }
        };
        Ok(TlsConfig::from(config))
    }
}

fn certificates(setting: &'static str, file: &str) -> Result<Vec<CertificateDer<'static>>, InvalidConfig> {
    let pem = read(setting, file)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
    if found.is_empty() {
        return Err(invalid(setting, file, "expected at least one certificate in PEM"));
    }
    Ok(found)
}

fn read(setting: &'static str, file: &str) -> Result<Vec<u8>, InvalidConfig> {
    fs::read(file).map_err(|error| invalid(setting, file, &error.to_string()))
}

fn invalid(setting: &'static str, file: &str, reason: &str) -> InvalidConfig {
    InvalidConfig { setting, reason: format!("{file}: {reason}") }
}
