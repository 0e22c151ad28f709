//! In whose name engines are asked: the gateway's own credential, and the tenant of the client.

use access::{Caller, FORWARDED_TENANT};
use anyhow::Context as _;
use tonic::{
    Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
};

/// What is added to every request to an engine.
pub(super) struct Signature {
    token: Option<MetadataValue<Ascii>>,
}

impl Signature {
    /// `token` is shown to engines, unless it is empty.
    ///
    /// # Errors
    /// It holds what no header may.
    pub(super) fn new(token: &str) -> anyhow::Result<Self> {
        let bearer = || -> anyhow::Result<_> {
            let value = format!("Bearer {token}").parse::<MetadataValue<Ascii>>();
            let mut value = value.ok().context("engines.token holds what no HTTP header may")?;
            value.set_sensitive(true);
            Ok(value)
        };
        Ok(Self { token: (!token.is_empty()).then(bearer).transpose()? })
    }

    /// Says who asks, and for whom.
    ///
    /// # Errors
    /// The tenant holds what no header may; without it the data would be somebody else's.
    pub(super) fn sign(&self, metadata: &mut MetadataMap, caller: &Caller) -> Result<(), Status> {
        if let Some(token) = &self.token {
            metadata.insert("authorization", token.clone());
        }
        let tenant = caller.tenant.as_str();
        if !tenant.is_empty() {
            let value = MetadataValue::try_from(tenant.as_bytes());
            let value = value.map_err(|_| Status::invalid_argument("the tenant cannot stand in a header"))?;
            metadata.insert(FORWARDED_TENANT, value);
        }
        Ok(())
    }
}
