//! The body of an export request: read and decompressed, both within the same limit.

use std::{error::Error, iter::successors};

use access::InFlight;
use axum::{
    body::Body,
    extract::Request,
    http::{
        HeaderMap,
        header::{CONTENT_ENCODING, CONTENT_LENGTH},
    },
};
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::{
    coding::{Coding, CodingError},
    refusal::Refusal,
};
use crate::blocking;

/// The largest body, and the key of the configuration that says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) bytes: usize,
    pub(crate) key: &'static str,
}

/// Reads the body, decompressed.
///
/// # Errors
/// 413 as soon as more bytes than `limit` have come in or out; 400 for an encoding that is unknown
/// or not what the body holds; 503 when the body is not complete before `deadline`, or there is no
/// room for it.
pub(super) async fn read(request: Request, limit: Limit, deadline: Instant) -> Result<Bytes, Refusal> {
    let (head, body) = request.into_parts();
    let coding = coding_of(&head.headers)?;
    let reading = collect(body, &head.headers, limit);
    let body = timeout_at(deadline, reading).await.unwrap_or_else(|_elapsed| {
        let status = Status::deadline_exceeded("the body was not complete in time");
        Err(Refusal::from_engine(status))
    })?;
    match coding {
        None => Ok(body),
        Some(coding) => {
            let in_flight = head.extensions.get::<InFlight>().cloned();
            let room = move |size| in_flight.as_ref().map_or(Ok(()), |in_flight| in_flight.grow_to(size));
            blocking::run(body.len(), move || decompress(coding, &body, limit, room)).await
        }
    }
}

async fn collect(body: Body, headers: &HeaderMap, limit: Limit) -> Result<Bytes, Refusal> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > limit.bytes) {
        return Err(Refusal::too_large(limit));
    }
    let mut chunks = body.into_data_stream();
    let mut collected = Chunks::default();
    while let Some(chunk) = chunks.next().await {
        collected.push(chunk.map_err(broken_off)?);
        if collected.length > limit.bytes {
            return Err(Refusal::too_large(limit));
        }
    }
    Ok(collected.join())
}

fn broken_off(error: axum::Error) -> Refusal {
    let mut causes = successors(Some(&error as &(dyn Error + 'static)), |error| (*error).source());
    // A status is what the door says: there is no room for more of it.
    match causes.find_map(|error| error.downcast_ref::<Status>()) {
        Some(status) => Refusal::from_engine(status.clone()),
        None => Refusal::bad_request(format!("failed to read the body: {error}")),
    }
}

/// What has been read so far. A body in one piece, as most are, is never copied.
#[derive(Default)]
struct Chunks {
    chunks: Vec<Bytes>,
    length: usize,
}

impl Chunks {
    fn push(&mut self, chunk: Bytes) {
        self.length += chunk.len();
        self.chunks.push(chunk);
    }

    fn join(mut self) -> Bytes {
        match self.chunks.len() {
            1 => self.chunks.remove(0),
            _ => self.chunks.concat().into(),
        }
    }
}

/// `None` when the body is not compressed.
fn coding_of(headers: &HeaderMap) -> Result<Option<Coding>, Refusal> {
    let given = headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
    match given.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "" | "identity" | "none" => Ok(None),
        name => Coding::named(name).map(Some).ok_or_else(|| {
            let message = format!("unsupported Content-Encoding: {name}; supported: gzip, zstd, deflate");
            Refusal::bad_request(message)
        }),
    }
}

fn decompress(
    coding: Coding,
    compressed: &[u8],
    limit: Limit,
    room: impl FnMut(usize) -> Result<(), Status>,
) -> Result<Bytes, Refusal> {
    coding.decompress_within(compressed, limit.bytes, room).map(Bytes::from).map_err(|error| match error {
        CodingError::TooLarge => Refusal::too_large(limit),
        CodingError::NoRoom(status) => Refusal::from_engine(status),
        CodingError::Invalid(error) => {
            Refusal::bad_request(format!("failed to decompress the body as {coding:?}: {error}"))
        }
    })
}
