//! Plain answers that are slow, large, packed, or for nobody; the clock goes on by itself.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::StatusCode;
use tokio::{sync::oneshot, time::Instant};

use super::*;
use crate::{
    domain::{RequestId, RequestShape},
    gateway::{upstream::Reply, waits::Waits},
};

const MIB: usize = 1 << 20;

fn reply(body: impl Stream<Item = Result<Bytes, String>> + Send + 'static) -> Reply {
    Reply { status: StatusCode::OK, headers: HeaderMap::new(), body: body.boxed(), is_stream: false, waits: Waits::default() }
}

fn bytes(length: usize) -> Result<Bytes, String> {
    Ok(Bytes::from(vec![b'a'; length]))
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit() {
    for (pieces, length) in [
        (vec![], Some(0)),
        (vec![2 * MIB], Some(2 * MIB)),
        (vec![MIB, MIB], Some(2 * MIB)),
        (vec![1, 2 * MIB - 1], Some(2 * MIB)),
        (vec![2 * MIB + 1], None),
        (vec![2 * MIB, 1], None),
        (vec![MIB, MIB + 1], None),
    ] {
        let read = read_whole(reply(stream::iter(pieces.clone().into_iter().map(bytes))), 2 * MIB).await;
        match length {
            Some(length) => assert_eq!(read.unwrap().len(), length, "{pieces:?}"),
            None => assert_eq!(read.unwrap_err(), "it is larger than 2 MiB", "{pieces:?}"),
        }
    }
    let broken = read_whole(reply(stream::iter([bytes(1), Err("reset".to_owned()), bytes(1)])), MIB).await;
    assert_eq!(broken.unwrap_err(), "reset");
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_waited_for_but_not_for_ever() {
    let waits = Waits::default();
    let silent = stream::iter([bytes(1)]).chain(stream::pending());
    let trickle = stream::unfold((), move |()| async move {
        tokio::time::sleep(waits.silence / 2).await;
        Some((bytes(1), ()))
    });
    for (reply, timeout) in [(reply(silent), waits.silence), (reply(trickle), waits.answer())] {
        let began = Instant::now();
        assert_eq!(read_whole(reply, MIB).await.unwrap_err(), "it stopped sending");
        assert!((timeout..timeout + Duration::from_secs(1)).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_nobody_is_read_on_for_a_while() {
    let (sender, _receiver) = oneshot::channel();
    let gone = CancellationToken::new();
    let asked = Asked {
        request: RequestId::generate(false),
        shape: RequestShape::Openai,
        is_streamed: false,
        ping_every: Duration::from_secs(15),
        late_headers: std::sync::Arc::default(),
    };
    let answer = Answer::to(sender, gone.clone(), asked);
    assert!(tokio::time::timeout(Duration::from_secs(600), long_gone(&answer)).await.is_err(), "the caller is there");
    gone.cancel();
    let began = Instant::now();
    long_gone(&answer).await;
    assert!((DRAIN_TIMEOUT..DRAIN_TIMEOUT + Duration::from_secs(1)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[test]
fn what_is_packed_says_so_in_its_headers() {
    let headers = |name: header::HeaderName, values: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        headers
    };
    for (values, is_packed) in [
        (&[][..], false),
        (&["identity"], false),
        (&["Identity"], false),
        (&["gzip"], true),
        (&["identity", "gzip"], true),
        (&["gzip, identity"], true),
        (&["br"], true),
        (&[""], false),
    ] {
        assert_eq!(is_compressed(&headers(header::CONTENT_ENCODING, values)), is_packed, "{values:?}");
    }
}
