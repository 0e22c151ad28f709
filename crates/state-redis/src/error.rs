//! What a failure of Redis means: the one place where it is decided.

use fred::error::{Error as RedisError, ErrorKind};
use state_core::Error;

use crate::{config::Address, field::Unreadable};

/// Begins the details of an error that says that replicas have not received a write.
pub(crate) const BEHIND: &str = "BEHIND";

/// What to do about an error of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The slot belongs to another server; the slot map is old.
    Moved,
    /// The slot is on its way; this key is there already.
    Ask(Address),
    /// The slot is on its way; some keys of the call are here, some there.
    TryAgain,
    /// The server does not know the script.
    NoScript,
    /// No answer; it may have been done or not. The server may be gone, or no longer a primary.
    Lost,
    /// Done by the primary, but not received by enough replicas.
    Behind,
    /// The server answers that it cannot do this now.
    Unable,
    /// The credentials are wrong, or do not allow this.
    Denied,
    /// It can never succeed.
    Permanent,
}

impl Fault {
    pub(crate) fn of(error: &RedisError) -> Self {
        let details = error.details();
        let mut words = details.split(' ');
        match words.next().unwrap_or_default() {
            "MOVED" => Self::Moved,
            "ASK" => words.nth(1).and_then(Address::parse).map_or(Self::TryAgain, Self::Ask),
            "TRYAGAIN" => Self::TryAgain,
            "NOSCRIPT" => Self::NoScript,
            "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "READONLY" | "UNBLOCKED" => Self::Lost,
            BEHIND => Self::Behind,
            "LATE" | "OOM" | "MISCONF" | "NOREPLICAS" | "BUSY" => Self::Unable,
            "NOPERM" | "NOAUTH" | "WRONGPASS" => Self::Denied,
            "WRONGTYPE" => Self::Permanent,
            _ => match error.kind() {
                ErrorKind::IO
                | ErrorKind::Timeout
                | ErrorKind::Canceled
                | ErrorKind::Cluster
                | ErrorKind::Routing
                | ErrorKind::Backpressure
                | ErrorKind::Protocol
                | ErrorKind::Tls
                // fred answers Unknown when its client is not connected yet, or was ended.
                | ErrorKind::Unknown => Self::Lost,
                // Redis passes some errors inside of scripts on without their word in front.
                ErrorKind::Auth => Self::Denied,
                _ if ["OOM ", "MISCONF ", "NOREPLICAS "].iter().any(|word| details.contains(word)) => Self::Unable,
                _ => Self::Permanent,
            },
        }
    }
}

/// The public form of an error of a command, with the server it was sent to, if one was known.
pub(crate) fn redis(attempted: &str, server: Option<&Address>, error: &RedisError) -> Error {
    let attempted = attempted.to_owned();
    let server = server.map_or_else(|| "no Redis server".to_owned(), ToString::to_string);
    let source = format!("{server}: {}", error.details()).into();
    match Fault::of(error) {
        Fault::Permanent => Error::Corrupt { attempted, source },
        _ => Error::Unavailable { attempted, source },
    }
}

/// The public form of bytes that cannot be read.
pub(crate) fn unreadable(attempted: &str, error: Unreadable) -> Error {
    Error::Corrupt { attempted: attempted.to_owned(), source: error.into() }
}

/// A store that cannot serve until something around it changes.
pub(crate) fn unavailable(attempted: &str, reason: impl Into<String>) -> Error {
    Error::Unavailable { attempted: attempted.to_owned(), source: reason.into().into() }
}

/// A store that can never serve as it is configured.
pub(crate) fn misconfigured(attempted: &str, reason: impl Into<String>) -> Error {
    Error::Invalid { attempted: attempted.to_owned(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: ErrorKind, details: &'static str) -> Fault {
        Fault::of(&RedisError::new(kind, details))
    }

    #[test]
    fn redirections_are_understood() {
        assert_eq!(fault(ErrorKind::Cluster, "MOVED 3999 127.0.0.1:6381"), Fault::Moved);
        let address = Address { host: "127.0.0.1".into(), port: 6381 };
        assert_eq!(fault(ErrorKind::Cluster, "ASK 3999 127.0.0.1:6381"), Fault::Ask(address));
        assert_eq!(fault(ErrorKind::Cluster, "TRYAGAIN Multiple keys request"), Fault::TryAgain);
    }

    #[test]
    fn every_fault_of_the_store_is_retryable() {
        let faults = [
            (ErrorKind::Unknown, "OOM command not allowed when used memory > 'maxmemory'."),
            (ErrorKind::Unknown, "NOREPLICAS Not enough good replicas to write."),
            (ErrorKind::Unknown, "MISCONF Redis is configured to save RDB snapshots"),
            (ErrorKind::Cluster, "CLUSTERDOWN The cluster is down"),
            (ErrorKind::Unknown, "LOADING Redis is loading the dataset in memory"),
            (ErrorKind::Unknown, "READONLY You can't write against a read only replica."),
            (ErrorKind::Timeout, "Request timed out."),
            (ErrorKind::IO, "Connection reset by peer"),
            (ErrorKind::Canceled, "Connection closed unexpectedly."),
            (ErrorKind::Unknown, "NOPERM this user has no permissions to run the 'evalsha' command"),
        ];
        for (kind, details) in faults {
            let error = redis("append", None, &RedisError::new(kind, details));
            assert!(error.is_retryable(), "{details}");
        }
    }

    #[test]
    fn a_wrong_type_is_not_retryable() {
        let error = RedisError::new(ErrorKind::InvalidArgument, "WRONGTYPE Operation against a key");
        assert!(!redis("append", None, &error).is_retryable());
    }
}
