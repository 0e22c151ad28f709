//! What can go wrong, seen from the caller: repeat the call, change it, or call an operator.

/// A backend's own error, kept as the source.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Result of a store operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a store operation failed. Backends translate their own errors into this, in one place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store did not confirm in time. Nothing, part or all of it was done; repeating is safe.
    #[error("failed to {attempted}: the store did not confirm it")]
    Unavailable {
        /// What was attempted and on what.
        attempted: String,
        /// The backend's own error.
        source: BoxError,
    },
    /// The store is closed, as it is once its process drains. Repeat the call at another replica.
    #[error("failed to {attempted}: the store is closed")]
    Closed {
        /// What was attempted and on what.
        attempted: String,
    },
    /// The call can never succeed as it is.
    #[error("failed to {attempted}: {reason}")]
    Invalid {
        /// What was attempted and on what.
        attempted: String,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// The store holds something this version cannot read.
    #[error("failed to {attempted}: what is stored cannot be read")]
    Corrupt {
        /// What was attempted and on what.
        attempted: String,
        /// Where reading failed.
        source: BoxError,
    },
}

impl Error {
    /// Whether the same call may succeed later, or at another replica.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Closed { .. } => true,
            Self::Invalid { .. } | Self::Corrupt { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_faults_of_the_store_are_retryable() {
        let attempted = || "append 2 fragments".to_owned();
        assert!(Error::Unavailable { attempted: attempted(), source: "timed out".into() }.is_retryable());
        assert!(Error::Closed { attempted: attempted() }.is_retryable());
        assert!(!Error::Invalid { attempted: attempted(), reason: "too large".into() }.is_retryable());
        assert!(!Error::Corrupt { attempted: attempted(), source: "short".into() }.is_retryable());
    }

    #[test]
    fn the_message_leaves_the_source_to_the_chain() {
        let error = Error::Unavailable { attempted: "count".into(), source: "refused".into() };
        assert_eq!(error.to_string(), "failed to count: the store did not confirm it");
    }
}
