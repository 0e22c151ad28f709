//! The body of an export request: read and decompressed, both within the same limit.

use std::io::{self, Read};

use access::Overload;
use axum::{
    body::Body,
    extract::Request,
    http::{
        HeaderMap,
        header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT},
    },
};
use bytes::Bytes;
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use futures::StreamExt;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::refusal::Refusal;
use crate::{blocking, door};

/// RFC 9659: a zstd decoder of HTTP content supports windows of 8 MiB, and need not more.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Reads the body, decompressed.
///
/// # Errors
/// 413 as soon as more than `limit` bytes have come in or out; 400 for an encoding that is unknown
/// or not what the body holds; 503 when the body is not complete before `deadline`.
pub(super) async fn read(request: Request, limit: usize, deadline: Instant) -> Result<Bytes, Refusal> {
    let (head, body) = request.into_parts();
    let coding = Coding::of(&head.headers)?;
    let reading = collect(body, &head.headers, limit);
    let body = timeout_at(deadline, reading).await.unwrap_or_else(|_elapsed| {
        let status = Status::deadline_exceeded("the body was not complete in time");
        Err(Refusal::from_engine(status))
    })?;
    match coding {
        None => Ok(body),
        Some(coding) => blocking::run(body.len(), move || coding.decompress(&body, limit)).await,
    }
}

async fn collect(body: Body, headers: &HeaderMap, limit: usize) -> Result<Bytes, Refusal> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut chunks = body.into_data_stream();
    let mut collected = Chunks::default();
    if announced.is_none_or(|length: usize| length <= limit) {
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(broken_off)?;
            if collected.length + chunk.len() > limit {
                collected.is_too_large = true;
                break;
            }
            collected.push(chunk);
        }
        if !collected.is_too_large {
            return Ok(collected.join());
        }
        drop(collected);
    }
    // A client that still sends would see a reset connection instead of the answer, so some of the
    // rest is read and thrown away. One that waits for "100 Continue" is not sending.
    if !headers.contains_key(EXPECT) {
        let mut left = limit;
        while let Some(Ok(chunk)) = chunks.next().await {
            let Some(rest) = left.checked_sub(chunk.len()) else {
                break;
            };
            left = rest;
        }
    }
    Err(Refusal::too_large(limit))
}

fn broken_off(error: axum::Error) -> Refusal {
    if let Some(overload) = overload(&error) {
        return Refusal::from_engine(door::overloaded(overload));
    }
    Refusal::bad_request(format!("failed to read the body: {error}"))
}

/// The limit that has ended the reading, if one has.
fn overload(error: &axum::Error) -> Option<&Overload> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(overload) = error.downcast_ref() {
            return Some(overload);
        }
        cause = error.source();
    }
    None
}

/// What has been read so far. A body in one piece, as most are, is never copied.
#[derive(Default)]
struct Chunks {
    chunks: Vec<Bytes>,
    length: usize,
    is_too_large: bool,
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

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Zstd,
}

impl Coding {
    /// `None` when the body is not compressed.
    fn of(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let given = headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
        match given.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "" | "identity" | "none" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(Self::Gzip)),
            "deflate" | "zlib" => Ok(Some(Self::Deflate)),
            "zstd" => Ok(Some(Self::Zstd)),
            other => Err(Refusal::bad_request(format!(
                "unsupported Content-Encoding: {other}; supported: gzip, zstd, deflate"
            ))),
        }
    }

    fn decompress(self, compressed: &[u8], limit: usize) -> Result<Bytes, Refusal> {
        let mut plain = Vec::new();
        // One byte more than allowed tells "too large" from "just fits".
        let limited = limit as u64 + 1;
        let result = match self {
            Self::Gzip => MultiGzDecoder::new(compressed).take(limited).read_to_end(&mut plain),
            Self::Deflate => ZlibDecoder::new(compressed).take(limited).read_to_end(&mut plain),
            Self::Zstd => zstd_decoder(compressed).and_then(|it| it.take(limited).read_to_end(&mut plain)),
        };
        match result {
            Ok(_) if plain.len() > limit => Err(Refusal::too_large(limit)),
            Ok(_) => Ok(Bytes::from(plain)),
            Err(error) => {
                Err(Refusal::bad_request(format!("failed to decompress the body as {self:?}: {error}")))
            }
        }
    }
}

fn zstd_decoder(compressed: &[u8]) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };

    use super::*;

    fn compress(coding: Coding, plain: &[u8]) -> Vec<u8> {
        match coding {
            Coding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Coding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Coding::Zstd => zstd::encode_all(plain, 1).unwrap(),
        }
    }

    const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Deflate, Coding::Zstd];

    #[test]
    fn what_just_fits_passes_and_one_byte_more_is_too_large() {
        for coding in CODINGS {
            let compressed = compress(coding, &[7; 10_000]);
            assert_eq!(coding.decompress(&compressed, 10_000).unwrap(), vec![7; 10_000]);
            let refusal = coding.decompress(&compressed, 9_999).unwrap_err();
            assert_eq!(refusal.reason(), "resource_exhausted", "{coding:?}");
        }
    }

    #[test]
    fn truncated_and_foreign_bytes_are_a_bad_request() {
        for coding in CODINGS {
            let compressed = compress(coding, b"some text that is not repeated");
            for broken in [&compressed[..compressed.len() - 3], b"plain text", b""] {
                let refusal = coding.decompress(broken, 1_000).unwrap_err();
                assert_eq!(refusal.reason(), "invalid_argument", "{coding:?}");
            }
        }
    }
}
