//! Unpacks the body of a request. A small body can unpack to a huge one, so what comes out is counted while it grows, and the bound that ends it is that of any body.

use async_compression::{
    tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder},
    zstd::DParameter,
};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, header};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::error::GatewayError;
use crate::listen::{BodyShare, OverBudget};

/// What is taken, for clients that ask.
pub(super) const ACCEPTED: &str = "gzip, deflate, br, zstd";
/// Most codings on top of each other.
const CODINGS_MAX: usize = 3;
/// Read at a time; between two reads other tasks run.
const PIECE: usize = 64 << 10;
/// The largest window of zstd, as a power of two: 8 MiB, which is what a content coding may ask for (RFC 9659).
const WINDOW_LOG_MAX: u32 = 23;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The codings of a body in the order in which they were applied; those that change nothing are left out.
pub(super) fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, GatewayError> {
    let mut found = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let text = String::from_utf8_lossy(value.as_bytes());
        for name in text.split(',').map(str::trim) {
            found.push(match name.to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                "br" => Coding::Brotli,
                "zstd" => Coding::Zstd,
                _ => return Err(GatewayError::Encoded(name.chars().take(50).collect())),
            });
            if found.len() > CODINGS_MAX {
                return Err(GatewayError::Encoded(text.chars().take(50).collect()));
            }
        }
    }
    Ok(found)
}

/// Unpacks a body. What comes out in the end is at most `bytes_max`, and counted in `share`; what comes out on the way to it is bounded and counted too, until it is
/// unpacked.
pub(super) async fn unpack(packed: &[u8], codings: &[Coding], share: &mut BodyShare, bytes_max: usize) -> Result<Bytes, GatewayError> {
    // A body without a byte was not packed at all.
    if packed.is_empty() {
        return Ok(Bytes::new());
    }
    let mut between: Option<(Bytes, BodyShare)> = None;
    for (left, coding) in codings.iter().enumerate().rev() {
        let input = between.as_ref().map_or(packed, |(input, _)| input);
        if left == 0 {
            return step(*coding, input, share, bytes_max, bytes_max).await;
        }
        // What is packed twice can be a little larger in between.
        let mut room = share.beside();
        let output = step(*coding, input, &mut room, bytes_max + PIECE, bytes_max).await?;
        between = Some((output, room));
    }
    Ok(Bytes::copy_from_slice(packed))
}

/// Undoes one coding.
async fn step(coding: Coding, mut packed: &[u8], share: &mut BodyShare, bytes_max: usize, told_max: usize) -> Result<Bytes, GatewayError> {
    let failed = |reason: &str| GatewayError::BadRequest(format!("The body could not be unpacked ({coding:?}): {reason}."));
    let mut whole = BytesMut::new();
    {
        let mut reader = decoder(coding, &mut packed);
        loop {
            whole.reserve(PIECE);
            let read = reader.read_buf(&mut (&mut whole).limit(PIECE)).await.map_err(|error| failed(&error.to_string()))?;
            if read == 0 {
                break;
            }
            if whole.len() > bytes_max {
                return Err(GatewayError::TooLarge { limit_mib: told_max >> 20 });
            }
            share.grow(read).map_err(|over| GatewayError::BodiesFull { is_own: over == OverBudget::Own })?;
            tokio::task::yield_now().await;
        }
    }
    if packed.is_empty() { Ok(whole.freeze()) } else { Err(failed("there is data after its end")) }
}

fn decoder<'a>(coding: Coding, packed: &'a mut &[u8]) -> Box<dyn AsyncRead + Send + Unpin + 'a> {
    match coding {
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(packed);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        // By its definition it has the head of zlib; some clients leave that out.
        Coding::Deflate if packed.first().is_some_and(|first| first & 0x0f != 8) => Box::new(DeflateDecoder::new(packed)),
        Coding::Deflate => Box::new(ZlibDecoder::new(packed)),
        Coding::Brotli => Box::new(BrotliDecoder::new(packed)),
        Coding::Zstd => {
            let mut decoder = ZstdDecoder::with_params(packed, &[DParameter::window_log_max(WINDOW_LOG_MAX)]);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
    }
}

#[cfg(test)]
mod tests;
