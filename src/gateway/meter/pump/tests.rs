//! Streams that fall silent, never end, or lie unread when the caller hangs up; the clock goes on by itself.

use futures_util::stream;
use tokio::sync::mpsc;

use super::*;
use crate::{gateway::route::Reach, translate::openai::ChatRequest};

const EVENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"abc\"}}]}\n\n";

const WAITS: Waits = Waits { silence: Duration::from_secs(600), ping_every: Duration::from_secs(15) };

fn route() -> Route {
    Route::example("p", "m", Reach::Private)
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
    let mut pump = Pump::new(&ask, &route, body, WAITS, Caller::new(events, stopping.clone()), stops_bill);
    let end = pump.run(&stopping).await;
    let last = pump.last.concat();
    (end, pump.counted.visible_bytes, String::from_utf8_lossy(&last).into_owned(), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_falls_silent_is_waited_for_until_the_idle_timeout() {
    let (events, mut caller) = mpsc::channel(16);
    let (end, counted, last, after) = run(stalling(2), false, events).await;
    assert_eq!((end, counted), (End::Cut(Ending::TimedOut), 6));
    assert!(last.contains("the provider stopped sending"), "{last}");
    assert!((WAITS.silence..WAITS.silence + Duration::from_secs(1)).contains(&after), "{after:?}");
    assert_eq!(caller.recv().await.unwrap(), EVENT.repeat(2));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_ends_is_cut() {
    let (events, mut caller) = mpsc::channel(16);
    tokio::spawn(async move { while caller.recv().await.is_some() {} });
    let trickle = stream::unfold((), |()| async {
        tokio::time::sleep(WAITS.silence / 2).await;
        Some((Ok(Bytes::from_static(EVENT.as_bytes())), ()))
    });
    let (end, _, _, after) = run(trickle.boxed(), false, events).await;
    assert_eq!(end, End::Cut(Ending::TimedOut));
    assert!((WAITS.answer()..WAITS.answer() + Duration::from_secs(1)).contains(&after), "{after:?}");
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
    assert!(after < WAITS.answer() + Duration::from_secs(60), "{after:?}");
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
        Some((Ok(Bytes::from(EVENT.repeat(100))), ()))
    });
    let (end, _, _, after) = run(endless.boxed(), true, events).await;
    assert_eq!(end, End::Behind(Ending::CutByCaller));
    let most = Duration::from_secs(5) + ARRIVED_TIMEOUT;
    assert!((most..most + Duration::from_millis(50)).contains(&after), "{after:?}");
}

/// A caller who would hear nothing hears a ping, and silence that is broken by pings alone still ends.
#[tokio::test(start_paused = true)]
async fn a_caller_of_a_silent_stream_is_pinged() {
    for silence_s in [14, 16, 100, 590] {
        let (counted, end, read, after) =
            run_to_the_end(paced(vec![(0, EVENT.to_owned()), (silence_s * 1_000, [EVENT, STOP, USAGE, DONE].concat())]), &ask()).await;
        assert_eq!((end, counted.visible_bytes), (End::Complete, 6));
        assert_eq!(read, [EVENT, &": ping\n\n".repeat(usize::try_from(silence_s / 15).unwrap()), EVENT, STOP, DONE].concat());
        assert!(after < Duration::from_secs(silence_s + 1), "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn broken_characters_are_mended_on_the_way() {
    let piece =
        |text: &[u8]| Ok(Bytes::from([b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"", text, b"\"}}]}\n\n"].concat()));
    let rest = || Ok(Bytes::from([STOP, USAGE, DONE].concat()));
    for (pieces, texts) in [
        (vec![piece(b"a\xF0\x9F"), piece(b"\x98\x80b"), rest()], &["\"a\"", "\"\u{1f600}b\""][..]),
        (vec![piece(br"a\ud83d"), piece(br"\ude00b"), rest()], &["\"a\"", r#""\ud83d\ude00b""#]),
        (vec![piece(b"a\xC3"), rest()], &["\"a\u{fffd}\""]),
        (vec![piece(b"a\xFFb"), rest()], &["\"a\u{fffd}b\""]),
        (vec![piece(br"a\ude00b"), rest()], &["\"a\u{fffd}b\""]),
        // Nothing comes after the half.
        (vec![piece(b"a\xC3")], &["\"a\u{fffd}\"", "upstream_broken"]),
    ] {
        let is_whole = pieces.len() > 1;
        let (counted, end, read, _) = run_to_the_end(stream::iter(pieces).boxed(), &ask()).await;
        assert_eq!((end == End::Complete, counted.usage.is_some()), (is_whole, is_whole));
        let mut rest = read.as_str();
        for text in texts {
            rest = &rest[rest.find(text).unwrap_or_else(|| panic!("{text} in {read}"))..];
        }
        assert!(counted.visible_bytes >= 2, "{read}");
    }
}

const STOP: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// A provider that sends each of these after so many milliseconds, and then nothing, without closing.
fn paced(pieces: Vec<(u64, String)>) -> Body {
    let each = |(after_ms, piece)| async move {
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        Ok(Bytes::from(piece))
    };
    stream::iter(pieces).then(each).chain(stream::pending()).boxed()
}

/// A provider that sends these and closes.
fn closing(pieces: &[&str]) -> Body {
    stream::iter(pieces.iter().map(|piece| Ok(Bytes::from((*piece).to_owned()))).collect::<Vec<_>>()).boxed()
}

/// Runs a pump whose caller reads everything; returns the pump's counts, how it ended, and what the caller read.
async fn run_to_the_end(body: Body, ask: &Ask) -> (Counted, End, String, Duration) {
    let (route, stopping, began) = (route(), CancellationToken::new(), Instant::now());
    let (events, mut caller) = mpsc::channel::<Bytes>(16);
    let reader = tokio::spawn(async move {
        let mut read = Vec::new();
        while let Some(bytes) = caller.recv().await {
            read.extend_from_slice(&bytes);
        }
        String::from_utf8(read).unwrap()
    });
    let mut pump = Pump::new(ask, &route, body, WAITS, Caller::new(events, stopping.clone()), false);
    let end = pump.run(&stopping).await;
    let after = began.elapsed();
    let (counted, last) = (std::mem::take(&mut pump.counted), pump.last.concat());
    drop(pump);
    (counted, end, reader.await.unwrap() + &String::from_utf8_lossy(&last), after)
}

#[tokio::test(start_paused = true)]
async fn usage_after_the_end_is_waited_for_a_moment() {
    let whole = [EVENT, STOP, DONE].concat();
    for (pieces, is_known, after_ms) in [
        (vec![(0, whole.clone() + USAGE)], true, 0),
        (vec![(0, whole.clone()), (100, USAGE.to_owned())], true, 100),
        // In two pieces, with something else in front.
        (vec![(0, whole.clone()), (50, format!(": ping\n\n{}", &USAGE[..20])), (50, USAGE[20..].to_owned())], true, 100),
        (vec![(0, whole.clone()), (AFTER_END_TIMEOUT.as_millis() as u64 + 10, USAGE.to_owned())], false, AFTER_END_TIMEOUT.as_millis()),
        (vec![(0, whole.clone())], false, AFTER_END_TIMEOUT.as_millis()),
        (vec![(0, [EVENT, STOP, USAGE, DONE].concat())], true, 0),
    ] {
        let (counted, end, read, after) = run_to_the_end(paced(pieces.clone()), &ask()).await;
        assert_eq!((end, counted.usage.is_some()), (End::Complete, is_known), "{pieces:?}");
        assert!((after_ms..after_ms + 5).contains(&after.as_millis()), "{pieces:?} {after:?}");
        assert_eq!(read, whole, "what nobody asked for is not passed on");
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_together_is_passed_on_together_up_to_a_bound() {
    // One chunk is there at a time: the task that has the next one must run first.
    let one_at_a_time = |count: usize| {
        stream::iter(0..count).then(|_| async {
            tokio::task::yield_now().await;
            Ok(Bytes::from(EVENT.repeat(16)))
        })
    };
    let chunk = EVENT.len() * 16;
    for count in [3, 200] {
        let (events, mut caller) = mpsc::channel(1_000);
        run(one_at_a_time(count).chain(stream::pending()).boxed(), false, events).await;
        let first = caller.recv().await.unwrap().len();
        let most = GATHERED_BYTES_MAX.div_ceil(chunk) * chunk;
        assert_eq!(first, most.min(count * chunk), "{count}");
    }
}

/// The caller was waited for, and leaves. What the provider sent in the meantime is still on its way.
#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_when_a_slow_caller_leaves_is_counted() {
    // The third event came while the caller was waited for.
    for (gap_ms, counted_events) in [(20, 5), (ARRIVED_GAP.as_millis() as u64 + 20, 3)] {
        let (events, caller) = mpsc::channel(1);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(caller);
        });
        let mut pieces = vec![(0, EVENT.to_owned()), (10, EVENT.to_owned())];
        pieces.extend((0..3).map(|_| (gap_ms, EVENT.to_owned())));
        let (end, counted, _, after) = run(paced(pieces), true, events).await;
        assert_eq!((end, counted), (End::Cut(Ending::CutByCaller), counted_events * 3), "{gap_ms}");
        assert!(after < Duration::from_secs(6), "{after:?}");
    }
}

/// Where the caller took all of it, nothing is waited for.
#[tokio::test(start_paused = true)]
async fn a_quick_caller_who_leaves_ends_the_stream_at_once() {
    let (events, mut caller) = mpsc::channel(16);
    tokio::spawn(async move {
        caller.recv().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    });
    let (end, counted, _, after) = run(paced(vec![(0, EVENT.to_owned()), (1_050, EVENT.to_owned())]), true, events).await;
    assert_eq!((end, counted), (End::Cut(Ending::CutByCaller), 3));
    assert!(after < Duration::from_millis(1_010), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_read_up_to_a_bound_and_an_event_that_is_too_long_ends_it() {
    let comment = Bytes::from(format!(":{}\n\n", " ".repeat((1 << 20) - 3)));
    let backlog = |mebibytes: usize, more: &'static str| {
        let first = stream::once(async { Ok(Bytes::from_static(EVENT.as_bytes())) });
        let rest = comment.clone();
        first
            .chain(stream::iter((0..mebibytes).map(move |_| Ok(rest.clone()))))
            .chain(stream::iter([Ok(Bytes::from_static(more.as_bytes()))]))
    };
    let endless_event = stream::repeat_with(|| Ok(Bytes::from(vec![b'x'; 1 << 20]))).take(66);
    let cases: [(Body, End); 3] = [
        // The event and the first piece of the backlog were read while the caller was there.
        (backlog(97, "\n").chain(stream::pending()).boxed(), End::Behind(Ending::CutByCaller)),
        (backlog(97, "").chain(stream::pending()).boxed(), End::Cut(Ending::CutByCaller)),
        (backlog(1, "").chain(endless_event).chain(stream::pending()).boxed(), End::Behind(Ending::CutByCaller)),
    ];
    for (body, expected) in cases {
        let (events, caller) = mpsc::channel(1);
        events.send(Bytes::new()).await.unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(caller);
        });
        assert_eq!(run(body, true, events).await.0, expected);
    }
}

#[tokio::test]
async fn a_stream_that_closes_is_complete_if_nothing_was_cut_off() {
    let messages = Bytes::from_static(br#"{"model":"m","stream":true,"max_tokens":9,"messages":[]}"#);
    let messages = Ask::Messages(crate::translate::anthropic::MessagesRequest::parse(&messages).unwrap());
    let garbled = "data: {\"choices\": [{\"ind";
    let with_total = EVENT.replace("}]}", "}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}");
    for (pieces, end) in [
        (&[EVENT, STOP, USAGE, DONE][..], End::Complete),
        (&[EVENT, STOP, USAGE], End::Complete),
        (&[EVENT, STOP, USAGE, "data: [DONE]"], End::Complete),
        (&[EVENT, STOP, USAGE.trim_ascii_end()], End::Complete),
        (&[EVENT, STOP], End::Broken),
        // A running total is not an end.
        (&[EVENT, &with_total], End::Broken),
        (&[EVENT, STOP, USAGE, garbled], End::Broken),
        (&[], End::Broken),
    ] {
        let (_, ended, read, _) = run_to_the_end(closing(pieces), &ask()).await;
        assert_eq!(ended, end, "{pieces:?}");
        assert_eq!(read.contains("upstream_broken"), end == End::Broken, "{pieces:?}: {read}");
    }
    let delta = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}\n\n";
    let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    for (pieces, end) in [(&[delta, stop][..], End::Complete), (&[delta], End::Broken)] {
        let (_, ended, read, _) = run_to_the_end(closing(pieces), &messages).await;
        assert_eq!((ended, read.contains("event: error")), (end, end == End::Broken), "{pieces:?}");
    }
}

/// What cannot be read was sent, and is counted as if the model had read it out.
#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_understood_is_counted_by_its_length() {
    let garbled = "data: {\"choices\": oops}\n\n";
    let (counted, _, read, _) = run_to_the_end(closing(&[EVENT, garbled, STOP, DONE]), &ask()).await;
    assert_eq!(counted.visible_bytes, 3 + "{\"choices\": oops}".len() as u64);
    assert!(read.contains("oops"));
    // Text that comes after usage is not in it.
    for (pieces, after_usage) in [(&[EVENT, USAGE, EVENT, EVENT, DONE][..], 6), (&[EVENT, USAGE, EVENT, USAGE, DONE], 0)] {
        let (counted, ..) = run_to_the_end(closing(pieces), &ask()).await;
        assert_eq!(counted.after_usage_bytes, after_usage);
    }
}
