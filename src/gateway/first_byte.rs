//! Waits for the first byte of the answer to a streamed request, which shows what the answer is.
//!
//! Until that byte another provider may be tried. What the answer is decides how it is read and metered, and the type that a provider states is not to be relied on.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::header;

use super::upstream::{Failure, Reply};
use crate::translate::{media, sse};

/// As much white space is taken for the beginning of an answer.
const BLANK_BYTES_MAX: usize = 64 << 10;

/// Waits until the first bytes show what the answer is. One that ends or breaks off before them is a failure.
pub(super) async fn wait(mut reply: Reply) -> Result<Reply, Failure> {
    let mut pieces: Vec<Result<Bytes, String>> = Vec::new();
    let mut beginning = BytesMut::new();
    let deadline = tokio::time::Instant::now() + reply.waits.answer();
    let mut seen = None;
    while seen.is_none() && beginning.len() <= BLANK_BYTES_MAX {
        let idle = tokio::time::Instant::now() + reply.waits.silence;
        match tokio::time::timeout_at(idle.min(deadline), reply.body.next()).await {
            Err(_) => return Err(Failure::NoFirstByte(None)),
            Ok(None) if beginning.is_empty() => return Err(Failure::NoFirstByte(Some("it ended before its first byte".to_owned()))),
            Ok(None) => break,
            Ok(Some(Err(detail))) if beginning.is_empty() => return Err(Failure::NoFirstByte(Some(detail))),
            Ok(Some(Err(detail))) => {
                pieces.push(Err(detail));
                break;
            }
            Ok(Some(Ok(piece))) => {
                beginning.extend_from_slice(&piece[..piece.len().min(BLANK_BYTES_MAX + 1)]);
                pieces.push(Ok(piece));
                seen = sse::is_stream(&beginning);
            }
        }
    }
    reply.is_stream = match seen {
        Some(true) => true,
        _ if is_json(&beginning) => false,
        _ => reply.headers.get(header::CONTENT_TYPE).is_some_and(|kind| media::is_type(kind.as_bytes(), media::EVENT_STREAM)),
    };
    reply.body = stream::iter(pieces).chain(reply.body).boxed();
    Ok(reply)
}

fn is_json(beginning: &[u8]) -> bool {
    let text = beginning.strip_prefix(sse::BYTE_ORDER_MARK).unwrap_or(beginning);
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue, StatusCode};
    use tokio::time::Instant;

    use super::*;
    use crate::gateway::waits::Waits;

    fn reply(kind: Option<&'static str>, pieces: Vec<Result<&'static [u8], &'static str>>) -> Reply {
        let mut headers = HeaderMap::new();
        headers.extend(kind.map(|kind| (header::CONTENT_TYPE, HeaderValue::from_static(kind))));
        let body = stream::iter(pieces.into_iter().map(|piece| piece.map(Bytes::from_static).map_err(str::to_owned))).boxed();
        Reply { status: StatusCode::OK, headers, body, is_stream: false, waits: Waits::default() }
    }

    #[tokio::test]
    async fn what_an_answer_is_is_seen_by_its_first_byte() {
        const SSE: Option<&str> = Some("text/event-stream");
        for (kind, pieces, is_stream) in [
            (SSE, vec![&b"data: {}\n\n"[..]], true),
            (Some("Text/Event-Stream; charset=UTF-8"), vec![b"<html>"], true),
            (Some("text/plain"), vec![b"data: {}\n\n"], true),
            (Some("application/json"), vec![b"event: x\n"], true),
            (None, vec![b": hello\n\n"], true),
            (None, vec![b"\n", b"\r\n", b"d", b"at", b"a: {}"], true),
            (None, vec![b"\xEF", b"\xBB\xBFdata:{}"], true),
            (SSE, vec![b"{\"choices\": []}"], false),
            (SSE, vec![b"\n ", b"\xEF"], true),
            (SSE, vec![b"\xEF\xBB\xBF {"], false),
            (SSE, vec![b"[]"], false),
            (None, vec![b"<html>"], false),
            (None, vec![b"dat"], false),
            (None, vec![b"\n"], false),
        ] {
            let whole = pieces.concat();
            let read = wait(reply(kind, pieces.into_iter().map(Ok).collect())).await.unwrap();
            assert_eq!(read.is_stream, is_stream, "{kind:?} {whole:?}");
            let body: Vec<Bytes> = read.body.map(Result::unwrap).collect().await;
            assert_eq!(body.concat(), whole, "nothing is lost");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_without_a_first_byte_is_none() {
        for pieces in [vec![], vec![Err("reset")]] {
            assert!(matches!(wait(reply(None, pieces)).await, Err(Failure::NoFirstByte(Some(_)))));
        }
        let mut silent = reply(None, vec![]);
        silent.body = stream::pending().boxed();
        let began = Instant::now();
        assert!(matches!(wait(silent).await, Err(Failure::NoFirstByte(None))));
        let silence = Waits::default().silence;
        assert!((silence..silence + Duration::from_secs(1)).contains(&began.elapsed()));
    }
}
