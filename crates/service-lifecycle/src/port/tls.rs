//! TLS of a port: its certificate, and whose certificates it asks clients for.

use std::{path::Path, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde::{Deserialize, Serialize};

use crate::{FileError, Files, Violation, Watched};

/// A section `tls` of a port. All empty: no TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file with the port's certificate, and those between it and a well-known one.
    pub certificate: String,
    /// PEM file with the private key of the certificate.
    pub key: String,
    /// PEM file with the certificates that sign clients' certificates. When given, a client without
    /// such a certificate is not let in (mutual TLS).
    pub client_ca: String,
}

/// The names of the keys of a [`TlsConfig`] where it stands in a configuration.
#[derive(Debug, Clone, Copy)]
pub struct TlsKeys {
    /// Name of [`TlsConfig::certificate`], such as `grpc.tls.certificate`.
    pub certificate: &'static str,
    /// Name of [`TlsConfig::key`].
    pub key: &'static str,
    /// Name of [`TlsConfig::client_ca`].
    pub client_ca: &'static str,
}

impl TlsConfig {
    /// What is contradictory in it.
    pub fn violations(&self, keys: TlsKeys) -> Vec<Violation> {
        let (has_certificate, has_key) = (!self.certificate.is_empty(), !self.key.is_empty());
        let mut violations = Vec::new();
        if has_certificate != has_key {
            let allowed = "expected both for TLS, or neither";
            violations.push(Violation::between(&[keys.certificate, keys.key], allowed));
        }
        if !self.client_ca.is_empty() && !has_certificate {
            let allowed = "expected a certificate of this side too: mutual TLS is TLS";
            violations.push(Violation::between(&[keys.client_ca, keys.certificate], allowed));
        }
        violations
    }
}

/// TLS as it is done now, with the files as they are now.
#[derive(Clone)]
pub struct Tls {
    config: Watched<ServerConfig>,
}

impl Tls {
    /// Reads the certificate, and follows it; `None` when there is to be no TLS. `protocols` are the
    /// names of ALPN in the order of preference.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub fn open(files: &Files, config: &TlsConfig, protocols: &[&str]) -> Result<Option<Self>, FileError> {
        if config.certificate.is_empty() {
            return Ok(None);
        }
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let names = [&config.certificate, &config.key, &config.client_ca];
        let names = names.into_iter().filter(|name| !name.is_empty()).map(Into::into).collect();
        let config = config.clone();
        let read = move |contents: &[Vec<u8>]| server(&config, contents, &protocols);
        Ok(Some(Self { config: files.open(names, read)? }))
    }

    pub(super) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        self.config.current().into()
    }
}

fn server(
    config: &TlsConfig,
    contents: &[Vec<u8>],
    protocols: &[Vec<u8>],
) -> Result<ServerConfig, FileError> {
    let file = |name: &str, reason: String| FileError::new(Path::new(name), reason);
    let chain = certificates(&config.certificate, &contents[0])?;
    let key = PrivateKeyDer::from_pem_slice(&contents[1])
        .map_err(|_| file(&config.key, "expected a private key in PEM".into()))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| file(&config.certificate, error.to_string()))?;
    let builder = match contents.get(2) {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(&config.client_ca, pem)? {
                roots.add(certificate).map_err(|error| file(&config.client_ca, error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.build().map_err(|error| file(&config.client_ca, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut server = builder
        .with_single_cert(chain, key)
        .map_err(|error| file(&config.certificate, format!("with the key in {}: {error}", config.key)))?;
    server.alpn_protocols = protocols.to_vec();
    Ok(server)
}

fn certificates(file: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let expected = || FileError::new(Path::new(file), "expected at least one certificate in PEM");
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| expected())?;
    if certificates.is_empty() { Err(expected()) } else { Ok(certificates) }
}
