//! In whose name a request comes: its credential, and its tenant.

use std::path::PathBuf;

use http::{HeaderMap, header::AUTHORIZATION};
use serde::{Deserialize, Serialize};
use service_lifecycle::{FileError, Files, Watched};
use state_core::{InvalidId, Tenant};
use tonic::Status;

use crate::credentials::Credentials;

/// Header with a token, for clients that cannot send `Authorization`.
const API_KEY: &str = "x-api-key";
/// Header that names a tenant, as Grafana's stores have it.
const TENANT: &str = "x-scope-orgid";
/// Header in which one door names the tenant to the next. A door that keeps no tenants denies it,
/// where it would overlook `X-Scope-OrgID`: data of tenants must not be mixed because of a missing setting.
pub const FORWARDED_TENANT: &str = "correlation-tenant";

/// `[auth]`: who may send and read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// File with credentials. Default empty: whoever reaches the port may send and read.
    pub credentials: String,
    /// Whether a client may name its tenant in `X-Scope-OrgID` where no credential is asked for.
    /// Default false: then the header is not looked at.
    pub tenant_header: bool,
}

/// In whose name a request comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Whose data it is; empty where there are no tenants.
    pub tenant: Tenant,
    /// Whether it may see that tenant only, and nothing of the whole.
    pub is_confined: bool,
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// It has no credential, or one that is not known. HTTP 401, gRPC UNAUTHENTICATED.
    #[error("{0}; send Authorization: Bearer TOKEN or X-API-Key: TOKEN")]
    Unauthenticated(&'static str),
    /// Its credential does not allow this. HTTP 403, gRPC PERMISSION_DENIED.
    #[error("the credential {credential:?} may not name a tenant of its own in X-Scope-OrgID")]
    Forbidden {
        /// Name of the credential.
        credential: String,
    },
    /// A gateway names a tenant, and this door keeps none. HTTP 403, gRPC PERMISSION_DENIED.
    #[error("a tenant was named, and there are none here; set auth.credentials or auth.tenant_header = true")]
    NoTenants,
    /// The header that names the tenant names none. HTTP 400, gRPC INVALID_ARGUMENT.
    #[error("X-Scope-OrgID: {0}")]
    Invalid(#[from] InvalidId),
}

impl Denied {
    /// The reason as a metric label.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden { .. } | Self::NoTenants => "forbidden",
            Self::Invalid(_) => "invalid",
        }
    }
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        let message = denied.to_string();
        match denied {
            Denied::Unauthenticated(_) => Self::unauthenticated(message),
            Denied::Forbidden { .. } | Denied::NoTenants => Self::permission_denied(message),
            Denied::Invalid(_) => Self::invalid_argument(message),
        }
    }
}

/// Knows who may come in. Cheap to clone.
#[derive(Clone)]
pub struct Guard {
    credentials: Option<Watched<Credentials>>,
    tenant_header: bool,
}

impl Guard {
    /// Reads the credentials, and follows them.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn open(files: &Files, config: &AuthConfig) -> Result<Self, FileError> {
        let credentials = match config.credentials.as_str() {
            "" => None,
            file => {
                let file = PathBuf::from(file);
                let parsed = file.clone();
                let read = move |contents: &[Vec<u8>]| Credentials::parse(&parsed, &contents[0]);
                Some(files.open(vec![file], read)?)
            }
        };
        Ok(Self { credentials, tenant_header: config.tenant_header })
    }

    /// Says in whose name a request with these headers comes.
    ///
    /// # Errors
    /// The request is not to be answered.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<Caller, Denied> {
        let named = || {
            let value = headers.get(FORWARDED_TENANT).or_else(|| headers.get(TENANT));
            let name = value.map(|value| String::from_utf8_lossy(value.as_bytes()));
            name.map(|name| name.parse::<Tenant>()).transpose()
        };
        let Some(credentials) = &self.credentials else {
            let tenant = match self.tenant_header {
                true => named()?.unwrap_or_default(),
                false if headers.contains_key(FORWARDED_TENANT) => return Err(Denied::NoTenants),
                false => Tenant::default(),
            };
            return Ok(Caller { tenant, is_confined: false });
        };
        let token = token(headers).ok_or(Denied::Unauthenticated("the request has no credential"))?;
        let credentials = credentials.current();
        let credential =
            credentials.find(token).ok_or(Denied::Unauthenticated("the credential is not known"))?;
        let is_confined = !credential.any_tenant;
        match named()? {
            Some(named) if named != credential.tenant && is_confined => {
                Err(Denied::Forbidden { credential: credential.name.clone() })
            }
            Some(tenant) => Ok(Caller { tenant, is_confined }),
            None => Ok(Caller { tenant: credential.tenant.clone(), is_confined }),
        }
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    bearer.or_else(|| headers.get(API_KEY)?.to_str().ok().map(str::trim))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FILE: &str = "
        [[credential]]
        name = 'shop'
        token = 'the-token-of-the-shop'
        tenant = 'shop'
        [[credential]]
        name = 'gateway'
        token = 'the-token-of-a-gateway'
        any_tenant = true
    ";

    fn guard() -> (tempfile::TempDir, Guard) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("credentials.toml");
        fs::write(&file, FILE).unwrap();
        let config = AuthConfig { credentials: file.display().to_string(), tenant_header: true };
        (directory, Guard::open(&Files::default(), &config).unwrap())
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_credential_says_whose_data_it_is() {
        let (_directory, guard) = guard();
        let tenant = |pairs: &[(&'static str, &str)]| {
            guard.admit(&headers(pairs)).map(|it| it.tenant.as_str().to_owned())
        };
        assert_eq!(tenant(&[("authorization", "Bearer the-token-of-the-shop")]), Ok("shop".into()));
        assert_eq!(tenant(&[("authorization", "bearer  the-token-of-the-shop")]), Ok("shop".into()));
        assert_eq!(tenant(&[("x-api-key", "the-token-of-the-shop")]), Ok("shop".into()));
        let gateway = ("x-api-key", "the-token-of-a-gateway");
        assert_eq!(tenant(&[gateway]), Ok(String::new()));
        assert_eq!(tenant(&[gateway, (TENANT, "bank")]), Ok("bank".into()));
    }

    #[test]
    fn without_a_known_credential_nobody_comes_in() {
        let (_directory, guard) = guard();
        for pairs in [
            &[][..],
            &[(TENANT, "shop")],
            &[("authorization", "Bearer another-token-than-known")],
            &[("authorization", "Basic the-token-of-the-shop")],
            &[("authorization", "the-token-of-the-shop")],
            &[("x-api-key", "")],
        ] {
            assert!(matches!(guard.admit(&headers(pairs)), Err(Denied::Unauthenticated(_))), "{pairs:?}");
        }
    }

    #[test]
    fn a_tenant_is_named_only_where_that_is_allowed() {
        let (_directory, guard) = guard();
        let shop = ("x-api-key", "the-token-of-the-shop");
        assert!(guard.admit(&headers(&[shop, (TENANT, "shop")])).is_ok(), "it names its own");
        let denied = guard.admit(&headers(&[shop, (TENANT, "bank")])).unwrap_err();
        assert_eq!(denied, Denied::Forbidden { credential: "shop".into() });

        let gateway = ("x-api-key", "the-token-of-a-gateway");
        let denied = guard.admit(&headers(&[gateway, (TENANT, "a/b")])).unwrap_err();
        assert!(matches!(denied, Denied::Invalid(_)), "{denied}");

        let open = |tenant_header| {
            let config = AuthConfig { credentials: String::new(), tenant_header };
            Guard::open(&Files::default(), &config)
                .unwrap()
                .admit(&headers(&[(TENANT, "bank")]))
                .unwrap()
                .tenant
                .as_str()
                .to_owned()
        };
        assert_eq!((open(true), open(false)), ("bank".into(), String::new()));
        let guard = Guard::open(&Files::default(), &AuthConfig::default()).unwrap();
        let denied = guard.admit(&headers(&[(FORWARDED_TENANT, "bank")]));
        assert_eq!(denied, Err(Denied::NoTenants), "what a gateway names is not overlooked");
    }
}
