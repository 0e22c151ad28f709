//! The bytes of a request: encoded messages one behind the other, which is their union, compressed.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression as Level, write::GzEncoder};
use tokio::task::spawn_blocking;

use crate::endpoint::Compression;

/// zstd's fastest regular level: two thirds of the time of its default, a tenth more bytes.
const ZSTD_LEVEL: i32 = 1;

/// Its name on the wire; `None` when nothing is compressed.
pub(super) fn coding(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::Gzip => Some("gzip"),
        Compression::Zstd => Some("zstd"),
        Compression::None => None,
    }
}

/// Joins and compresses payloads, behind `head` zero bytes.
///
/// # Errors
/// When there is no memory to compress with.
pub(super) async fn encode(
    payloads: Vec<Bytes>,
    compression: Compression,
    head: usize,
) -> io::Result<Vec<u8>> {
    if compression == Compression::None {
        let mut body = Vec::with_capacity(head + payloads.iter().map(Bytes::len).sum::<usize>());
        body.resize(head, 0);
        payloads.iter().for_each(|payload| body.extend_from_slice(payload));
        return Ok(body);
    }
    // Tens of milliseconds for a full request: not on a thread that others wait for.
    spawn_blocking(move || compress(&payloads, compression, vec![0; head])).await.map_err(io::Error::other)?
}

fn compress(payloads: &[Bytes], compression: Compression, body: Vec<u8>) -> io::Result<Vec<u8>> {
    if compression == Compression::Zstd {
        let mut encoder = zstd::stream::write::Encoder::new(body, ZSTD_LEVEL)?;
        write_all(&mut encoder, payloads)?;
        return encoder.finish();
    }
    let mut encoder = GzEncoder::new(body, Level::fast());
    write_all(&mut encoder, payloads)?;
    encoder.finish()
}

fn write_all(encoder: &mut impl Write, payloads: &[Bytes]) -> io::Result<()> {
    payloads.iter().try_for_each(|payload| encoder.write_all(payload))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[tokio::test]
    async fn the_body_is_the_payloads_behind_the_head() {
        let payloads = || vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let body = encode(payloads(), compression, 5).await.unwrap();
            let (head, body) = body.split_at(5);
            assert_eq!(head, [0; 5], "{compression:?}");
            let mut plain = Vec::new();
            match compression {
                Compression::None => plain.extend_from_slice(body),
                Compression::Gzip => {
                    flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap();
                }
                Compression::Zstd => plain = zstd::decode_all(body).unwrap(),
            }
            assert_eq!(plain, b"onetwo", "{compression:?}");
        }
    }
}
