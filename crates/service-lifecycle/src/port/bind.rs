//! Binds a listening socket and says in plain words when that fails.

use std::{
    io::{Error, ErrorKind},
    net::SocketAddr,
};

use tokio::net::TcpListener;

/// A socket could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address} ({key}): {}", advice(.source))]
pub struct BindError {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// The configuration key that holds it.
    pub key: &'static str,
    /// What the operating system said.
    pub source: Error,
}

/// Listens on `address`, the value of the configuration key `key`, and logs the bound address:
/// port 0 takes a free one.
///
/// # Errors
/// Names address and key, and what to do about it.
pub async fn bind(address: SocketAddr, key: &'static str) -> Result<TcpListener, BindError> {
    let failed = |source| BindError { address, key, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tracing::info!(address = %bound, key, "listening");
    Ok(listener)
}

fn advice(error: &Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "the port is in use; stop the other process or choose another port".to_owned()
        }
        ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need a privilege, choose a higher one".to_owned()
        }
        ErrorKind::AddrNotAvailable => {
            "no interface of this machine has the address; 0.0.0.0 means all of them".to_owned()
        }
        _ => "the operating system refused".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_names_address_and_key() {
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0)), "admin.listen").await.unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address, "admin.listen").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "failed to listen on {address} (admin.listen): \
                 the port is in use; stop the other process or choose another port"
            )
        );
    }

    #[tokio::test]
    async fn an_address_of_another_machine_says_so() {
        // 192.0.2.0/24 is reserved for documentation (RFC 5737); no interface has it.
        let error = bind(SocketAddr::from(([192, 0, 2, 1], 0)), "grpc.listen").await.unwrap_err();
        assert!(error.to_string().contains("no interface"), "{error}");
    }
}
