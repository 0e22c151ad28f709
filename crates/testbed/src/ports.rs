//! Loopback ports that no two programs of this crate take at once.
//!
//! A port is leased by locking a file named after it, so it stays ours while the process that
//! listens on it is down and about to be restarted. The lock ends with this program.

use std::{
    env,
    fs::{self, File, TryLockError},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use nix::unistd::getuid;

/// Below the range from which Linux takes the local ports of outgoing connections (32768 and up,
/// `ip_local_port_range`), so that no client's connection can be in the way of a restart.
const FIRST: u16 = 20_000;
const LAST: u16 = 31_999;

/// Attempts before the search for a free port is given up.
const ATTEMPTS_MAX: usize = 1_000;

/// A port of 127.0.0.1 that was free and stays leased until this value is dropped.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    /// Held for its lock alone.
    _lease: File,
}

impl Port {
    /// Leases any free port.
    ///
    /// # Errors
    /// When no lease can be written, or none of 1,000 ports was free.
    pub fn free() -> anyhow::Result<Self> {
        for _ in 0..ATTEMPTS_MAX {
            if let Some(port) = Self::lease(rand::random_range(FIRST..=LAST))? {
                return Ok(port);
            }
        }
        bail!("failed to find a free port between {FIRST} and {LAST} in {ATTEMPTS_MAX} attempts")
    }

    /// Leases this port, or any free one when it is taken.
    ///
    /// # Errors
    /// Like [`Port::free`].
    pub fn preferably(number: u16) -> anyhow::Result<Self> {
        match Self::lease(number)? {
            Some(port) => Ok(port),
            None => Self::free(),
        }
    }

    /// Where to listen: 127.0.0.1 and the leased port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn lease(number: u16) -> anyhow::Result<Option<Self>> {
        let path = leases_directory()?.join(number.to_string());
        let lease = File::create(&path)
            .with_context(|| format!("failed to create the port lease {}", path.display()))?;
        match lease.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => {
                return Err(error)
                    .with_context(|| format!("failed to lock the port lease {}", path.display()));
            }
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
        let is_free = TcpListener::bind(address).is_ok();
        Ok(is_free.then_some(Self { address, _lease: lease }))
    }
}

/// Leases the port `offset` after `first` where that is free, otherwise any free one.
pub(crate) fn next(first: Option<u16>, offset: u16) -> anyhow::Result<Port> {
    match first {
        Some(first) => Port::preferably(first + offset),
        None => Port::free(),
    }
}

/// Runs a start again when a program that does not lease its ports took one in between.
///
/// # Errors
/// Those of `start`: the third in a row that says an address is in use, or the first other one.
pub async fn retry_when_taken<T>(start: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut attempts_left = 3;
    loop {
        attempts_left -= 1;
        match start().await {
            Err(error) if attempts_left > 0 && says_in_use(&error) => {}
            result => return result,
        }
    }
}

/// Redis says "Address already in use", the operating system too; our services quote it.
fn says_in_use(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains("already in use")
}

/// One directory per user: a lock file of another user could not be opened.
fn leases_directory() -> anyhow::Result<PathBuf> {
    let directory = env::temp_dir().join(format!("testbed-ports-{}", getuid()));
    fs::create_dir_all(&directory).with_context(|| format!("failed to create {}", directory.display()))?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_leased_port_is_not_leased_again() {
        let first = Port::free().unwrap();
        let second = Port::preferably(first.address().port()).unwrap();
        assert_ne!(first.address(), second.address());
    }

    #[test]
    fn a_port_that_someone_listens_on_is_not_leased() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = listener.local_addr().unwrap();
        assert_ne!(Port::preferably(taken.port()).unwrap().address(), taken);
    }

    #[tokio::test]
    async fn a_start_is_repeated_only_when_an_address_is_in_use() {
        for (message, starts) in [("Address already in use", 3), ("no such file", 1)] {
            let count = std::cell::Cell::new(0);
            let result: anyhow::Result<()> = retry_when_taken(async || {
                count.set(count.get() + 1);
                Err(anyhow!(message).context("failed to start"))
            })
            .await;
            assert!(result.is_err());
            assert_eq!(count.get(), starts, "{message}");
        }
    }
}
