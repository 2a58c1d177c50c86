//! Streams that fall silent, never end, or lie unread when the caller hangs up; the clock goes on by itself.

use futures_util::stream;
use tokio::sync::mpsc;

use super::*;
use crate::translate::openai::ChatRequest;

const EVENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"abc\"}}]}\n\n";

fn route() -> Route {
    Route {
        provider: "p".to_owned(),
        model: "m".to_owned(),
        method: http::Method::POST,
        url: "http://127.0.0.1/v1/chat/completions".parse().unwrap(),
        auth: crate::catalog::Auth::None,
        credential: None,
        is_callers_key: false,
        variables: Vec::new(),
        prices: None,
        context: None,
        max_output: None,
        reasons: false,
        reach: crate::gateway::route::Reach::Private,
        reported_cost: None,
    }
}

fn ask() -> Ask {
    Ask::Chat(ChatRequest::parse(&Bytes::from_static(br#"{"model":"m","stream":true,"messages":[]}"#)).unwrap())
}

/// A provider that sends these and then nothing, without closing.
fn stalling(events: usize) -> Body {
    stream::iter((0..events).map(|_| Ok(Bytes::from_static(EVENT.as_bytes())))).chain(stream::pending()).boxed()
}

/// Runs a pump to its end; returns how it ended, what it counted, what the caller was given at last, and after which time.
async fn run(body: Body, stops_bill: bool, events: mpsc::Sender<Bytes>) -> (End, u64, String, Duration) {
    let (ask, route, stopping, began) = (ask(), route(), CancellationToken::new(), Instant::now());
    let mut pump = Pump::new(&ask, &route, body, Caller::new(events, stopping.clone()), stops_bill);
    let end = pump.run(&stopping).await;
    let last = pump.last.clone().unwrap_or_default();
    (end, pump.counted.visible_bytes, String::from_utf8_lossy(&last).into_owned(), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_falls_silent_is_waited_for_until_the_idle_timeout() {
    let (events, mut caller) = mpsc::channel(16);
    let (end, counted, last, after) = run(stalling(2), false, events).await;
    assert_eq!((end, counted), (End::Cut(Ending::TimedOut), 6));
    assert!(last.contains("the provider stopped sending"), "{last}");
    assert!((IDLE_TIMEOUT..IDLE_TIMEOUT + Duration::from_secs(1)).contains(&after), "{after:?}");
    assert_eq!(caller.recv().await.unwrap(), EVENT.repeat(2));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_ends_is_cut() {
    let (events, mut caller) = mpsc::channel(16);
    tokio::spawn(async move { while caller.recv().await.is_some() {} });
    let trickle = stream::unfold((), |()| async {
        tokio::time::sleep(IDLE_TIMEOUT / 2).await;
        Some((Ok(Bytes::from_static(EVENT.as_bytes())), ()))
    });
    let (end, _, _, after) = run(trickle.boxed(), false, events).await;
    assert_eq!(end, End::Cut(Ending::TimedOut));
    assert!((STREAM_TIMEOUT..STREAM_TIMEOUT + Duration::from_secs(1)).contains(&after), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_is_always_a_little_slow_does_not_keep_a_stream_for_ever() {
    let (events, mut caller) = mpsc::channel(1);
    tokio::spawn(async move {
        while caller.recv().await.is_some() {
            tokio::time::sleep(Duration::from_secs(50)).await;
        }
    });
    let endless = stream::repeat_with(|| Ok(Bytes::from(EVENT.repeat(2_000))));
    let (end, _, _, after) = run(endless.boxed(), false, events).await;
    assert_eq!(end, End::Cut(Ending::TimedOut));
    assert!(after < STREAM_TIMEOUT + Duration::from_secs(60), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_hang_up_what_has_come_is_counted_and_then_closed_or_read_on() {
    // Nobody reads: the queue is full, and the rest lies with the provider.
    let backlog = |count: usize| stream::iter((0..count).map(|_| Ok(Bytes::from(EVENT.repeat(1_000))))).chain(stream::pending()).boxed();
    for (stops_bill, waits) in [(true, ARRIVED_GAP), (false, DRAIN_TIMEOUT)] {
        let (events, caller) = mpsc::channel(1);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(caller);
        });
        let (end, counted, _, after) = run(backlog(50), stops_bill, events).await;
        assert_eq!((end, counted), (End::Cut(Ending::CutByCaller), 150_000), "stops: {stops_bill}");
        let waited = after - Duration::from_secs(5);
        assert!((waits..waits + Duration::from_millis(100)).contains(&waited), "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backlog_without_end_is_not_estimated() {
    let (events, caller) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        drop(caller);
    });
    let endless = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Some((Ok(Bytes::from(EVENT.repeat(2_000))), ()))
    });
    let (end, _, _, after) = run(endless.boxed(), true, events).await;
    assert_eq!(end, End::Behind(Ending::CutByCaller));
    assert!(after <= Duration::from_secs(5) + ARRIVED_TIMEOUT + Duration::from_millis(50), "{after:?}");
}
