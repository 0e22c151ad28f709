//! One connection of a client, with or without TLS.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until},
};
use tokio_rustls::server::TlsStream;

use crate::metric;

/// With so many bytes each protocol here is under way, with its own rules about time: the preface of
/// HTTP/2 has 24, and so has the shortest request of HTTP/1.1 at least.
const OPENING_BYTES: usize = 24;

/// A connection. Counts as open until it is dropped.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    place: Place,
    /// `None` once the client has said enough.
    opening: Option<Opening>,
}

/// What a client has to say until a deadline.
#[derive(Debug)]
struct Opening {
    bytes_left: usize,
    deadline: Pin<Box<Sleep>>,
}

#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A place among the connections of a port.
#[derive(Debug)]
pub(crate) struct Place {
    door: &'static str,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    pub(crate) fn new(door: &'static str, permit: OwnedSemaphorePermit) -> Self {
        metric::connection_opened(door);
        Self { door, _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metric::connection_closed(self.door);
    }
}

impl Connection {
    /// Reading it fails when the client has not begun to speak by the deadline.
    pub(crate) fn new(stream: Stream, place: Place, deadline: Instant) -> Self {
        let opening = Opening { bytes_left: OPENING_BYTES, deadline: Box::pin(sleep_until(deadline)) };
        Self { stream, place, opening: Some(opening) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if let Some(opening) = &mut this.opening {
            if read.is_pending() {
                ready!(opening.deadline.as_mut().poll(context));
                metric::connection_refused(this.place.door, "silent");
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            opening.bytes_left = opening.bytes_left.saturating_sub(buffer.filled().len() - before);
            if opening.bytes_left == 0 {
                this.opening = None;
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
