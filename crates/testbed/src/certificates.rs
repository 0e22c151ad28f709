//! Certificates for tests of TLS, signed by an authority of their own.

use std::{fs, path::Path};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// Signs certificates. Nobody trusts it but who is told to.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its private key, as PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate.
    pub pem: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate whose signer has its own name for signed by itself.
        params.distinguished_name.push(DnType::CommonName, "an authority");
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// Its own certificate as PEM, for those who are to trust it.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Signs a new certificate for this machine: `localhost`, `127.0.0.1`.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn sign(&self) -> anyhow::Result<Certificate> {
        self.sign_for(&["localhost", "127.0.0.1"])
    }

    /// Signs a new certificate for hosts of these names.
    ///
    /// # Errors
    /// When no key can be made, or a name is none.
    pub fn sign_for(&self, hosts: &[&str]) -> anyhow::Result<Certificate> {
        let key = KeyPair::generate()?;
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let params = CertificateParams::new(hosts)?;
        Ok(Certificate { pem: params.signed_by(&key, &self.issuer)?.pem(), key: key.serialize_pem() })
    }
}

impl Certificate {
    /// Writes `<name>.pem` and `<name>.key`; answers their paths.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write(&self, directory: &Path, name: &str) -> anyhow::Result<(String, String)> {
        let write = |suffix: &str, text: &str| write(directory, &format!("{name}.{suffix}"), text);
        Ok((write("pem", &self.pem)?, write("key", &self.key)?))
    }
}

/// Writes a file and answers its path.
///
/// # Errors
/// When it cannot be written.
pub fn write(directory: &Path, name: &str, text: &str) -> anyhow::Result<String> {
    let file = directory.join(name);
    fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
    Ok(file.display().to_string())
}
