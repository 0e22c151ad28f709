//! What a client still sends when its request has been decided.
//!
//! A client that is sending sees a reset connection instead of its answer when the rest is not read.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::timeout;

/// A client that takes longer loses its connection. With the longest time of a request
/// (`http.timeout_ms`) less than clients wait for an answer.
const TIME_MAX: Duration = Duration::from_secs(1);

/// A body that whoever answers reads as far as it likes, and the rest of it. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Rest {
    body: Arc<Mutex<Body>>,
}

impl Rest {
    pub(crate) fn of(body: Body) -> Self {
        Self { body: Arc::new(Mutex::new(body)) }
    }

    /// Reads what is left and throws it away: at most so many bytes, and not for long.
    pub(crate) async fn drain(self, limit: usize) {
        if self.is_end_stream() {
            return;
        }
        let mut chunks = Body::new(self).into_data_stream();
        let draining = async {
            let mut left = limit;
            while let Some(Ok(chunk)) = chunks.next().await
                && let Some(less) = left.checked_sub(chunk.len())
            {
                left = less;
            }
        };
        // Whoever is still sending then has to live with the reset.
        let _ = timeout(TIME_MAX, draining).await;
    }

    fn body(&self) -> MutexGuard<'_, Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.body()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body().size_hint()
    }
}
