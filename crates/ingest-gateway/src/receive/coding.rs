//! Compressed bodies: which codings there are, and their decompression within a limit.

use std::io::{self, Read};

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use tonic::Status;

/// RFC 9659: a zstd decoder of HTTP content supports windows of 8 MiB, and need not more.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// So many bytes may come out until it is asked whether there is room for them.
const STEP_BYTES: usize = 1 << 20;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952; several members count as one body.
    Gzip,
    /// RFC 1950: HTTP calls it so, though it is zlib.
    Deflate,
    /// RFC 8878.
    Zstd,
}

/// Why a body could not be decompressed.
#[derive(Debug)]
pub enum CodingError {
    /// What comes out is larger than the limit. Sending it again would not help.
    TooLarge,
    /// The bytes are not of this coding. Nor would it here.
    Invalid(io::Error),
    /// There is no room for what comes out, now.
    NoRoom(Status),
}

impl Coding {
    /// Every coding.
    pub const ALL: [Self; 3] = [Self::Gzip, Self::Deflate, Self::Zstd];

    /// The coding of that name in `Content-Encoding`, in lower case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" | "zlib" => Some(Self::Deflate),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Decompresses a body, and stops as soon as more than `limit` bytes have come out.
    ///
    /// # Errors
    /// When more would come out, or the bytes are not of this coding.
    pub fn decompress(self, compressed: &[u8], limit: usize) -> Result<Vec<u8>, CodingError> {
        self.decompress_within(compressed, limit, |_| Ok(()))
    }

    /// The same, and asks from time to time whether there is room for as many bytes as have come out.
    ///
    /// # Errors
    /// Likewise, and when there is no room.
    pub fn decompress_within(
        self,
        compressed: &[u8],
        limit: usize,
        room: impl FnMut(usize) -> Result<(), Status>,
    ) -> Result<Vec<u8>, CodingError> {
        match self {
            Self::Gzip => drain(MultiGzDecoder::new(compressed), limit, room),
            Self::Deflate => drain(ZlibDecoder::new(compressed), limit, room),
            Self::Zstd => drain(zstd_decoder(compressed).map_err(CodingError::Invalid)?, limit, room),
        }
    }
}

fn drain(
    mut decoder: impl Read,
    limit: usize,
    mut room: impl FnMut(usize) -> Result<(), Status>,
) -> Result<Vec<u8>, CodingError> {
    let mut plain = Vec::new();
    loop {
        // One byte more than allowed tells "too large" from "just fits".
        let step = (limit - plain.len() + 1).min(STEP_BYTES);
        let read = decoder.by_ref().take(step as u64).read_to_end(&mut plain);
        let count = read.map_err(CodingError::Invalid)?;
        if plain.len() > limit {
            return Err(CodingError::TooLarge);
        }
        room(plain.len()).map_err(CodingError::NoRoom)?;
        if count < step {
            return Ok(plain);
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
    use proptest::{collection::vec, prelude::*, sample::Index, test_runner::FileFailurePersistence};

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

    #[test]
    fn what_just_fits_passes_and_one_byte_more_is_too_large() {
        for coding in Coding::ALL {
            let compressed = compress(coding, &[7; 10_000]);
            assert_eq!(coding.decompress(&compressed, 10_000).unwrap(), vec![7; 10_000]);
            let error = coding.decompress(&compressed, 9_999).unwrap_err();
            assert!(matches!(error, CodingError::TooLarge), "{coding:?}: {error:?}");
        }
    }

    #[test]
    fn what_comes_out_is_stopped_when_there_is_no_room_for_it() {
        const ROOM: usize = 10 << 20;
        for coding in Coding::ALL {
            let compressed = compress(coding, &vec![7; 2 * ROOM]);
            let mut asked = Vec::new();
            let room = |size| {
                asked.push(size);
                if size <= ROOM { Ok(()) } else { Err(Status::unavailable("no room")) }
            };
            let error = coding.decompress_within(&compressed, 4 * ROOM, room).unwrap_err();
            assert!(matches!(error, CodingError::NoRoom(_)), "{coding:?}: {error:?}");
            let most = asked.into_iter().max().unwrap();
            assert!((ROOM..=ROOM + STEP_BYTES).contains(&most), "{coding:?}: {most} bytes");
        }
    }

    #[test]
    fn truncated_and_foreign_bytes_are_invalid() {
        for coding in Coding::ALL {
            let compressed = compress(coding, b"some text that is not repeated");
            for broken in [&compressed[..compressed.len() - 3], b"plain text", b""] {
                let error = coding.decompress(broken, 1_000).unwrap_err();
                assert!(matches!(error, CodingError::Invalid(_)), "{coding:?}: {error:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
            ..ProptestConfig::default()
        })]

        #[test]
        fn damaged_bytes_give_no_more_than_the_limit(
            plain in vec(0..4_u8, 0..5_000),
            damage in vec((any::<Index>(), any::<u8>()), 0..4),
            limit in 0..10_000_usize,
        ) {
            for coding in Coding::ALL {
                let mut compressed = compress(coding, &plain);
                if damage.is_empty() && plain.len() <= limit {
                    prop_assert_eq!(&coding.decompress(&compressed, limit).unwrap(), &plain);
                }
                for (place, byte) in &damage {
                    let place = place.index(compressed.len());
                    compressed[place] = *byte;
                }
                if let Ok(plain) = coding.decompress(&compressed, limit) {
                    prop_assert!(plain.len() <= limit);
                }
            }
        }
    }
}
