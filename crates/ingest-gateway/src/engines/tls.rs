//! TLS to engines.

use std::fs;

use anyhow::Context as _;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::{EngineUrl, EnginesConfig};

/// How to speak TLS to engines; `None` when none has an `https://` URL.
///
/// # Errors
/// The file that cannot be used.
pub(super) fn client(config: &EnginesConfig) -> anyhow::Result<Option<ClientTlsConfig>> {
    if !config.urls.iter().any(EngineUrl::is_encrypted) {
        return Ok(None);
    }
    let files = &config.tls;
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
    Ok(Some(tls))
}

fn read(key: &str, file: &str) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("failed to read {file} ({key})"))
}
