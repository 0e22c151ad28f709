//! A body whose bytes are in flight as soon as they have come.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

use crate::admission::Admitted;

/// Ends with a [`Status`] when there is no room for more of it.
#[derive(Debug)]
pub struct Counted<B> {
    body: B,
    admitted: Arc<Admitted>,
}

impl<B> Counted<B> {
    pub(crate) fn new(body: B, admitted: Arc<Admitted>) -> Self {
        Self { body, admitted }
    }
}

impl<B> Body for Counted<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(overload) = self.admitted.add(data.len())
        {
            return Poll::Ready(Some(Err(Status::from(overload).into())));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
