//! TLS to engines.

use std::fs;

use anyhow::Context as _;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::{EngineTlsConfig, EngineUrl, EnginesConfig};

/// How TLS is spoken to engines with `https://` URLs.
pub(super) struct Encryption(Option<ClientTlsConfig>);

impl Encryption {
    /// Reads the files, where an engine needs them or a pool may come to need them.
    ///
    /// # Errors
    /// The file that cannot be used.
    pub(super) fn open(config: &EnginesConfig) -> anyhow::Result<Self> {
        let is_needed =
            config.urls.iter().any(EngineUrl::is_encrypted) || config.tls != EngineTlsConfig::default();
        match client(&config.tls) {
            Ok(tls) => Ok(Self(Some(tls))),
            // A system without certificates to trust is well enough for plain text.
            Err(_) if !is_needed => Ok(Self(None)),
            Err(error) => Err(error),
        }
    }

    /// Whether `https://` URLs can be used.
    pub(super) fn is_possible(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn tls(&self) -> Option<&ClientTlsConfig> {
        self.0.as_ref()
    }
}

fn client(files: &EngineTlsConfig) -> anyhow::Result<ClientTlsConfig> {
    let mut tls = match files.ca.as_str() {
        "" => ClientTlsConfig::new().with_native_roots(),
        ca => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("engines.tls.ca", ca)?)),
    };
    if !files.certificate.is_empty() {
        let certificate = read("engines.tls.certificate", &files.certificate)?;
        tls = tls.identity(Identity::from_pem(certificate, read("engines.tls.key", &files.key)?));
    }
    // Says now what would be wrong with every connection.
    let endpoint = tonic::transport::Endpoint::from_static("https://localhost:1");
    endpoint.tls_config(tls.clone()).context("failed to use the files of engines.tls")?;
    Ok(tls)
}

fn read(key: &str, file: &str) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("failed to read {file} ({key})"))
}
