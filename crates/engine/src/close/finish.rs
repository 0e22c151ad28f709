//! Finishes what is to be closed, and asks again where the answer was lost.

use state_core::{Finish, Finished, Result};

/// Finishes; after an error that may pass, once more. Some may be closed by then, and nobody would tell of
/// them or deliver them until their lease is over; repeated, the store answers what has become of each.
///
/// # Errors
/// What the store says the second time, or what does not pass.
pub(super) async fn finish<F: Future<Output = Result<Vec<Finished>>>>(
    finishes: Vec<Finish>,
    store: impl Fn(Vec<Finish>) -> F,
) -> Result<Vec<Finished>> {
    match store(finishes.clone()).await {
        Err(error) if error.is_retryable() => store(finishes).await,
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use state_core::Error;

    use super::*;

    /// Answers errors first, so many.
    async fn with_errors(errors: usize, error: impl Fn() -> Error) -> (Result<Vec<Finished>>, usize) {
        let calls = Cell::new(0);
        let store = |_| {
            calls.set(calls.get() + 1);
            let answer = if calls.get() <= errors { Err(error()) } else { Ok(vec![Finished::Finished]) };
            async { answer }
        };
        let answer = finish(Vec::new(), store).await;
        (answer, calls.get())
    }

    fn unavailable() -> Error {
        Error::Unavailable { attempted: "finish".into(), source: "timed out".into() }
    }

    #[tokio::test]
    async fn a_lost_answer_is_asked_for_once_more() {
        assert!(matches!(with_errors(0, unavailable).await, (Ok(_), 1)));
        assert!(matches!(with_errors(1, unavailable).await, (Ok(_), 2)));
        assert!(matches!(with_errors(2, unavailable).await, (Err(_), 2)));
        let invalid = || Error::Invalid { attempted: "finish".into(), reason: "wrong".into() };
        assert!(matches!(with_errors(1, invalid).await, (Err(_), 1)), "that does not pass");
    }
}
