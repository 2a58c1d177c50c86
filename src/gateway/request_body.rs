//! Reading the bodies of requests: only once it is known who sends them, and within limits on size, time, and what all of them take together.
//!
//! Whoever shows no valid key is answered at once, and nothing of the body is read.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody},
    extract::Request,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{
    Gateway,
    error::GatewayError,
    unpack::{codings, unpack},
};
use crate::listen::{BodyShare, OverBudget};

/// Largest request body: a long conversation with images in it.
pub(super) const BODY_BYTES_MAX: usize = 32 << 20;
/// Largest body of a request that manages keys: two lists of a thousand long names, and more.
pub(super) const SETTINGS_BYTES_MAX: usize = 1 << 20;
/// A caller who sends nothing of the body for this long is not waited for, nor is one who takes longer for all of it.
const BODY_IDLE: Duration = Duration::from_secs(30);
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// A key may have been paused or revoked while a body took longer than this to arrive, so it is looked up again.
const LOOK_UP_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// The payer of bodies of requests that need no key: all of them share one part.
const NOBODY: &str = "";

/// A request of a caller who was let in, with its whole body.
pub(super) struct Received<T> {
    pub(super) parts: Parts,
    pub(super) caller: T,
    pub(super) body: Bytes,
    /// Lives as long as the body does.
    pub(super) share: BodyShare,
}

/// Finds out who is calling with `identify`, and reads the body only then. `payer` gives the id under which bodies are counted.
pub(super) async fn read<T>(
    gateway: &Gateway,
    request: Request,
    bytes_max: usize,
    identify: impl Fn(&HeaderMap) -> Result<T, GatewayError>,
    payer: impl FnOnce(&T) -> &str,
) -> Result<Received<T>, GatewayError> {
    let (parts, body) = request.into_parts();
    let mut caller = identify(&parts.headers)?;
    let mut share = gateway.bodies.share(payer(&caller));
    let began = tokio::time::Instant::now();
    let body = read_body(&parts.headers, body, &mut share, bytes_max, PATIENCE).await?;
    if began.elapsed() > LOOK_UP_AGAIN_AFTER {
        caller = identify(&parts.headers)?;
    }
    Ok(Received { parts, caller, body, share })
}

/// Reads the small body of a request that everybody may send.
pub(super) async fn read_open(gateway: &Gateway, request: Request, bytes_max: usize) -> Result<(Parts, Bytes), GatewayError> {
    let (parts, body) = request.into_parts();
    let mut share = gateway.bodies.share(NOBODY);
    let body = read_body(&parts.headers, body, &mut share, bytes_max, PATIENCE).await?;
    Ok((parts, body))
}

/// How long a body may take.
#[derive(Clone, Copy)]
struct Patience {
    idle: Duration,
    whole: Duration,
}

const PATIENCE: Patience = Patience { idle: BODY_IDLE, whole: BODY_TIMEOUT };

/// Reads a body and unpacks it, with `share` for what comes out. What it was packed into takes room as well, until it is unpacked.
async fn read_body(
    headers: &HeaderMap,
    body: Body,
    share: &mut BodyShare,
    bytes_max: usize,
    patience: Patience,
) -> Result<Bytes, GatewayError> {
    let codings = codings(headers)?;
    if codings.is_empty() {
        return read_plain(body, share, bytes_max, patience).await;
    }
    let mut room = share.beside();
    let packed = read_plain(body, &mut room, bytes_max, patience).await?;
    unpack(&packed, &codings, share, bytes_max).await
}

async fn read_plain(body: Body, share: &mut BodyShare, bytes_max: usize, patience: Patience) -> Result<Bytes, GatewayError> {
    let too_large = || GatewayError::TooLarge { limit_mib: bytes_max >> 20 };
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let mut body = Limited::new(body, bytes_max);
    let deadline = tokio::time::Instant::now() + patience.whole;
    let (mut first, mut whole) = (Bytes::new(), BytesMut::new());
    loop {
        let until = (tokio::time::Instant::now() + patience.idle).min(deadline);
        let frame = match tokio::time::timeout_at(until, body.frame()).await {
            Err(_) => return Err(GatewayError::TooSlow),
            Ok(None) => return Ok(if whole.is_empty() { first } else { whole.freeze() }),
            Ok(Some(Err(error))) if error.is::<LengthLimitError>() => return Err(too_large()),
            Ok(Some(Err(error))) => return Err(GatewayError::BadRequest(format!("the body could not be read: {error}"))),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        share.grow(data.len()).map_err(|over| GatewayError::BodiesFull { is_own: over == OverBudget::Own })?;
        // Most bodies come in one piece, which is not copied.
        if first.is_empty() {
            first = data;
        } else {
            if whole.is_empty() {
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&data);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc, time::Instant};

    use futures_util::stream;

    use super::*;
    use crate::listen::BodyBudget;

    /// A body that comes in pieces of ten bytes, with a pause before each.
    fn paced(pieces: usize, pause: Duration) -> Body {
        Body::from_stream(stream::unfold(0, move |sent| async move {
            tokio::time::sleep(pause).await;
            (sent < pieces).then(|| (Ok::<_, Infallible>(Bytes::from_static(b"0123456789")), sent + 1))
        }))
    }

    #[tokio::test]
    async fn a_body_may_take_its_time_but_not_all_of_it() {
        let patience = Patience { idle: Duration::from_millis(200), whole: Duration::from_millis(500) };
        let mut share = Arc::new(BodyBudget::default()).share("a");
        let mut read = async |body| read_body(&HeaderMap::new(), body, &mut share, BODY_BYTES_MAX, patience).await;
        let whole = read(paced(3, Duration::from_millis(10))).await.unwrap();
        assert_eq!(&whole[..], b"012345678901234567890123456789");
        for (pieces, pause) in [(1, 5_000), (100, 50)] {
            let began = Instant::now();
            let error = read(paced(pieces, Duration::from_millis(pause))).await.unwrap_err();
            assert!(matches!(error, GatewayError::TooSlow), "{error}");
            assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        }
    }
}
