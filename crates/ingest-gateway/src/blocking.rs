//! Where work on the processor is done: small work at once, large work off the runtime's threads.

use std::panic::resume_unwind;

/// Up to this many bytes the work takes less than a millisecond, and the hand-over would cost more
/// than it saves. Input counts, before decompression: 64 KiB can inflate to 64 MiB, still in 0.1 s.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Runs `work` on an input of `bytes` bytes without holding up other requests for long.
pub(crate) async fn run<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes <= INLINE_BYTES_MAX {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Cancelled: the runtime is shutting down, and nobody waits for the answer any more.
            Err(_) => std::future::pending().await,
        },
    }
}
