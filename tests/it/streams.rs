//! Answers that are slow, large, broken or not in the form that was asked for: what the caller is given, and what is booked.

use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use lava_mcp::gateway::Waits;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    harness::{Answer, Harness, chat_request, request},
    raw_provider::{self, Step, completion, event, piece, plain, stream_end, stream_head},
};

/// A provider may be silent for a second, and the caller hears something every 100 ms.
const WAITS: Waits = Waits { silence: Duration::from_secs(1), ping_every: Duration::from_millis(100) };
const PING: &str = ": ping\n\n";
/// What an answer of 11 tokens in and 7 out costs.
const COST_N: i64 = 25_000;
const COST_OF_CLAUDE_N: i64 = 46_000;

fn wait(ms: u64) -> Step {
    Step::Wait(Duration::from_millis(ms))
}

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

/// The head of an answer of this type, or of none, that ends with its connection.
fn head(content_type: &str) -> Step {
    let line = if content_type.is_empty() { String::new() } else { format!("content-type: {content_type}\r\n") };
    send(&format!("HTTP/1.1 200 OK\r\n{line}connection: close\r\n\r\n"))
}

fn claude_event(kind: &str, more: Value) -> Step {
    let mut data = json!({"type": kind});
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    send(&format!("event: {kind}\ndata: {data}\n\n"))
}

fn claude_start() -> Step {
    claude_event(
        "message_start",
        json!({"message": {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": [], "stop_reason": null,
        "usage": {"input_tokens": 11, "output_tokens": 1}}}),
    )
}

fn claude_rest() -> Vec<Step> {
    vec![
        claude_event("content_block_start", json!({"index": 0, "content_block": {"type": "text", "text": ""}})),
        claude_event("content_block_delta", json!({"index": 0, "delta": {"type": "text_delta", "text": "hello"}})),
        claude_event("content_block_stop", json!({"index": 0})),
        claude_event("message_delta", json!({"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}})),
        claude_event("message_stop", json!({})),
    ]
}

fn claude_message() -> Value {
    json!({"id": "m", "type": "message", "role": "assistant", "model": "c", "content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn",
        "stop_sequence": null, "usage": {"input_tokens": 11, "output_tokens": 7}})
}

fn claude_request(key: &str, is_streamed: bool) -> Request<Body> {
    let body = json!({"model": "claude/c", "max_tokens": 100, "stream": is_streamed, "messages": [{"role": "user", "content": "Hi"}]});
    request(Method::POST, "/v1/messages", Some(key), body)
}

/// An answer, and after how many milliseconds its head and its first bytes were there.
struct Timed {
    answer: Answer,
    head_ms: u128,
    first_ms: u128,
}

async fn timed(harness: &Harness, request: Request<Body>) -> Timed {
    let began = Instant::now();
    let response = harness.router.clone().oneshot(request).await.unwrap();
    let head_ms = began.elapsed().as_millis();
    let (parts, mut body) = response.into_parts();
    let (mut whole, mut first_ms) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        if whole.is_empty() {
            first_ms = began.elapsed().as_millis();
        }
        whole.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    Timed { answer: Answer { status: parts.status, headers: parts.headers, body: whole.into() }, head_ms, first_ms }
}

async fn streamed(harness: &Harness, key: &str, more: Value) -> Timed {
    let mut more = more;
    more["stream"] = true.into();
    timed(harness, chat_request(key, "m", more)).await
}

/// What the last request was booked with: cost and basis.
async fn booked(harness: &Harness) -> (i64, String) {
    let entry = harness.entries().await.pop().unwrap();
    (entry.amount_n, entry.basis)
}

fn measured(cost_n: i64) -> (i64, String) {
    (cost_n, "measured".to_owned())
}

async fn report(harness: &Harness, key: &str, answer: &Answer) -> Value {
    let path = format!("/v1/requests/{}", answer.header("x-lava-request-id").unwrap());
    harness.send(request(Method::GET, &path, Some(key), Value::Null)).await.json()
}

/// The bytes of a text in which `%XX` is a byte.
fn decoded(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

fn content(stream: &str) -> String {
    let chunks = stream.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    chunks.filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_may_be_silent_for_as_long_as_its_first_byte() {
    let url = raw_provider::start(|_, body| {
        let ms = body["x_silence_ms"].as_u64().unwrap();
        let mut steps = vec![stream_head(), piece("hel"), wait(ms), piece("lo")];
        steps.extend(stream_end());
        steps
    });
    let harness = Harness::start_waiting_at(&url, WAITS).await;
    let (key, _) = harness.key_with_limit("100.00").await;
    let Timed { answer, first_ms, .. } = streamed(&harness, &key, json!({"x_silence_ms": 700})).await;
    assert!(first_ms < 500, "{first_ms}");
    let pings = answer.text().matches(PING).count();
    assert!((4..=7).contains(&pings), "{}", answer.text());
    assert_eq!((content(&answer.text()), booked(&harness).await), ("hello".to_owned(), measured(COST_N)));
    let Timed { answer, .. } = streamed(&harness, &key, json!({"x_silence_ms": 1_500})).await;
    assert!(answer.text().contains("the provider stopped sending"), "{}", answer.text());
    assert_eq!(booked(&harness).await.1, "hold");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_of_a_stream_hears_something_before_its_first_byte() {
    let url = raw_provider::start(|path, body| {
        let mut steps =
            if path.ends_with("messages") { vec![wait(450), stream_head(), claude_start()] } else { vec![wait(450), stream_head()] };
        if path.ends_with("messages") {
            steps.extend([wait(250)]);
            steps.extend(claude_rest());
        } else if body["x_plain"] == true {
            return [vec![wait(450)], plain(200, &completion("hello"))].into_iter().flatten().collect();
        } else {
            steps.extend([wait(250), piece("hello")]);
            steps.extend(stream_end());
        }
        steps
    });
    let harness = Harness::start_waiting_at(&url, WAITS).await;
    let (key, _) = harness.key(json!({"spend_limit": {"amount": "0.05", "cycle": "daily"}, "rate_limit": {"rpm": 60, "burst": 60}})).await;
    // Without a cap, so that one is put in; both come too late for the head.
    let Timed { answer, head_ms, first_ms } = streamed(&harness, &key, json!({"max_tokens": null})).await;
    assert!((90..350).contains(&head_ms) && first_ms < 350, "{head_ms} {first_ms}");
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, Some("text/event-stream")));
    assert!(answer.text().starts_with(PING) && answer.text().matches(PING).count() >= 5, "{}", answer.text());
    assert_eq!((content(&answer.text()), booked(&harness).await), ("hello".to_owned(), measured(COST_N)));
    assert_eq!(answer.header("x-lava-output-cap"), None);
    let report = report(&harness, &key, &answer).await;
    let late = &report["lava_mcp"]["late_headers"];
    assert!(late["x-lava-output-cap"].is_string() && late["x-ratelimit-remaining-requests"].is_string(), "{report}");
    // An answer that comes as a whole, though it should have been streamed.
    let Timed { answer, head_ms, .. } = streamed(&harness, &key, json!({"x_plain": true})).await;
    assert!(head_ms < 350, "{head_ms}");
    assert_eq!((content(&answer.text()), booked(&harness).await), ("hello".to_owned(), measured(COST_N)));
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    // The other dialect.
    let (key, _) = harness.key(json!({"request_shape": "anthropic"})).await;
    let Timed { answer, head_ms, .. } = timed(&harness, claude_request(&key, true)).await;
    assert!((90..350).contains(&head_ms), "{head_ms}");
    let text = answer.text();
    assert!(text.starts_with("event: ping\ndata: {\"type\": \"ping\"}\n\n") && text.matches("event: ping\n").count() >= 5, "{text}");
    assert!(text.contains("hello") && text.contains("message_stop"), "{text}");
    assert_eq!(booked(&harness).await, measured(COST_OF_CLAUDE_N));
    harness.finish().await;
}

/// What would have been the answer as a whole is an event, with the same words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_after_the_head_is_said_in_an_event_or_tried_elsewhere() {
    let url = raw_provider::start(|path, body| {
        let script = body["model"].as_str().unwrap();
        let late = if script.starts_with("late") { 350 } else { 0 };
        match script.rsplit('-').next().unwrap() {
            "429" => [vec![wait(late)], plain(429, &json!({"error": {"message": "slow down"}}))].into_iter().flatten().collect(),
            "drop" => vec![wait(late)],
            "empty" => vec![wait(late), stream_head()],
            _ if path.ends_with("messages") => [vec![stream_head(), claude_start()], claude_rest()].into_iter().flatten().collect(),
            _ => [vec![stream_head(), piece("hello")], stream_end()].into_iter().flatten().collect(),
        }
    });
    for (kind, basis) in [("429", json!("void")), ("drop", json!("hold")), ("empty", json!("estimated"))] {
        let ask = async |harness: &Harness, key: &str, script: &str, fallback: Option<&str>| {
            let mut asked = chat_request(key, script, json!({"stream": true}));
            if let Some(model) = fallback {
                asked.headers_mut().insert("x-lava-fallbacks", json!([{"model": model}]).to_string().parse().unwrap());
            }
            timed(harness, asked).await
        };
        let harness = Harness::start_waiting_at(&url, WAITS).await;
        let (key, _) = harness.key_with_limit("100.00").await;
        let soon = ask(&harness, &key, &format!("soon-{kind}"), None).await.answer;
        assert_ne!(soon.status, StatusCode::OK, "{kind}: {}", soon.text());
        let Timed { answer: late, head_ms, .. } = ask(&harness, &key, &format!("late-{kind}"), None).await;
        assert_eq!((late.status, head_ms < 300), (StatusCode::OK, true), "{kind}");
        let said = late.text();
        let said: Value = serde_json::from_str(said.trim_start_matches(PING).trim().strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(said, soon.json(), "{kind}");
        // Before the provider's first byte another one may be tried, whether the caller has a head or not.
        for script in [format!("soon-{kind}"), format!("late-{kind}")] {
            let harness = Harness::start_waiting_at(&url, WAITS).await;
            let (key, _) = harness.key_with_limit("100.00").await;
            let Timed { answer, .. } = ask(&harness, &key, &script, Some("azure/ok")).await;
            assert_eq!((content(&answer.text()), booked(&harness).await), ("hello".to_owned(), measured(COST_N)), "{kind}");
            let attempts = report(&harness, &key, &answer).await["lava_mcp"]["attempts"].clone();
            assert_eq!((attempts.as_array().unwrap().len(), &attempts[0]["basis"]), (2, &basis), "{attempts}");
        }
        harness.finish().await;
    }
    // The event of the other dialect.
    let harness = Harness::start_waiting_at(&url, WAITS).await;
    let (key, _) = harness.key(json!({"request_shape": "anthropic"})).await;
    let mut body = json!({"model": "claude/late-429", "max_tokens": 100, "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
    let Timed { answer: late, .. } = timed(&harness, request(Method::POST, "/v1/messages", Some(&key), body.clone())).await;
    let last = late.text().split("\n\n").filter(|event| !event.is_empty()).last().unwrap().to_owned();
    let late: Value = serde_json::from_str(last.strip_prefix("event: error\ndata: ").unwrap()).unwrap();
    body["model"] = "claude/soon-429".into();
    let soon = harness.send(request(Method::POST, "/v1/messages", Some(&key), body)).await.json();
    assert_eq!((&late["type"], &late["error"]), (&soon["type"], &soon["error"]));
    // What is refused before money is set aside is refused with its status.
    let (poor, _) = harness.key_with_limit("0.00000001").await;
    let refused = streamed(&harness, &poor, json!({})).await.answer;
    assert_eq!(refused.status, StatusCode::PAYMENT_REQUIRED, "{}", refused.text());
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_leaves_while_pinged_has_hung_up() {
    let url = raw_provider::start(|_, _| [vec![wait(700), stream_head(), piece("hello")], stream_end()].into_iter().flatten().collect());
    // What bills on is read on, to learn what it costs.
    for (provider, basis) in [("azure", "estimated"), ("fake", "measured")] {
        let harness = Harness::start_waiting_at(&url, WAITS).await;
        let (key, _) = harness.key_with_limit("100.00").await;
        let asked = chat_request(&key, "m", json!({"stream": true, "max_tokens": 5_000, "model": format!("{provider}/m")}));
        let response = harness.router.clone().oneshot(asked).await.unwrap();
        drop(response);
        assert_eq!(booked(&harness).await.1, basis, "{provider}");
        let endings = harness.sql("SELECT ending FROM entry", |row| row.get::<_, String>(0));
        assert_eq!(endings.len(), 1, "{endings:?}");
        harness.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_may_be_as_large_as_a_plain_answer() {
    let url = raw_provider::start(|_, body| {
        let image = format!("data:image/png;base64,{}", "A".repeat(usize::try_from(body["x_bytes"].as_u64().unwrap()).unwrap()));
        let delta = json!({"content": "", "images": [{"type": "image_url", "image_url": {"url": image}}]});
        let large = Step::Send(event(&json!({"choices": [{"index": 0, "delta": delta}]})));
        [vec![stream_head(), piece("see "), large, piece("end")], stream_end()].into_iter().flatten().collect()
    });
    let harness = Harness::start_at(&url, "key").await;
    let (key, _) = harness.key_with_limit("100.00").await;
    for mib in [1, 5, 40] {
        let bytes: usize = mib << 20;
        let Timed { answer, .. } = streamed(&harness, &key, json!({"x_bytes": bytes})).await;
        assert_eq!(booked(&harness).await, measured(COST_N), "{mib} MiB");
        let text = answer.text();
        assert!(text.matches('A').count() >= bytes && text.contains("see ") && text.contains("end") && text.ends_with("data: [DONE]\n\n"));
    }
    let Timed { answer, .. } = streamed(&harness, &key, json!({"x_bytes": 65 << 20})).await;
    assert!(answer.text().contains("too long") && answer.body.len() < 10_000);
    assert_eq!(booked(&harness).await.1, "hold");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_known_by_what_it_is_and_not_by_its_type() {
    let url = raw_provider::start(|_, body| {
        let first = send(body["x_first"].as_str().unwrap_or_default());
        [vec![head(body["x_type"].as_str().unwrap()), first, piece("hel"), wait(400), piece("lo")], stream_end()]
            .into_iter()
            .flatten()
            .collect()
    });
    let harness = Harness::start_at(&url, "key").await;
    let (key, _) = harness.key_with_limit("100.00").await;
    for (kind, first) in [
        ("text/event-stream", ""),
        ("Text/Event-Stream; charset=UTF-8", ""),
        ("TEXT/EVENT-STREAM;charset=utf-8", ""),
        ("text/plain; charset=utf-8", ""),
        ("application/json", ""),
        ("application/octet-stream", ": hello\n\n"),
        ("", ""),
        ("", "\r\n\n"),
        ("", "\u{feff}"),
        ("text/plain", "event: message\n"),
        ("text/plain", "id: 1\n"),
        ("text/plain", "retry: 100\n\n"),
    ] {
        let Timed { answer, first_ms, .. } = streamed(&harness, &key, json!({"x_type": kind, "x_first": first})).await;
        assert!(first_ms < 300, "{kind}: the first byte came after {first_ms} ms");
        assert_eq!(answer.header("content-type"), Some("text/event-stream"), "{kind}");
        assert_eq!((content(&answer.text()), booked(&harness).await), ("hello".to_owned(), measured(COST_N)), "{kind} {first:?}");
    }
    harness.finish().await;
}

/// A provider sends a whole answer for a stream, or a stream for a whole answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_caller_gets_the_form_that_was_asked_for() {
    let url = raw_provider::start(|path, body| {
        let is_claude = path.ends_with("messages");
        let kind = body["metadata"]["user_id"].as_str().or(body["x_type"].as_str()).unwrap_or("text/event-stream");
        match (is_claude, body["stream"] == true) {
            (false, true) => vec![head(kind), send(&completion("hello").to_string())],
            (false, false) => [vec![head(kind), piece("hel"), piece("lo")], stream_end()].into_iter().flatten().collect(),
            (true, true) => vec![head(kind), send(&claude_message().to_string())],
            (true, false) => [vec![head(kind), claude_start()], claude_rest()].into_iter().flatten().collect(),
        }
    });
    let harness = Harness::start_at(&url, "key").await;
    let (key, _) = harness.key_with_limit("100.00").await;
    let (claude_key, _) = harness.key(json!({"request_shape": "anthropic"})).await;
    for kind in ["text/event-stream", "application/json", "text/plain"] {
        let Timed { answer, .. } = streamed(&harness, &key, json!({"x_type": kind})).await;
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert_eq!((content(&answer.text()), booked(&harness).await), ("hello".to_owned(), measured(COST_N)), "{kind}");
        assert!(!answer.text().contains("usage"), "nobody asked for it: {}", answer.text());
        let Timed { answer, .. } = streamed(&harness, &key, json!({"x_type": kind, "stream_options": {"include_usage": true}})).await;
        assert!(answer.text().contains("\"choices\":[],\"usage\":{"), "{}", answer.text());
        let answer = harness.chat(&key, "m", json!({"x_type": kind})).await;
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.json()["choices"][0]["message"], json!({"role": "assistant", "content": "hello"}));
        assert_eq!((answer.json()["usage"]["prompt_tokens"].as_u64(), booked(&harness).await), (Some(11), measured(COST_N)), "{kind}");
    }
    let Timed { answer, .. } = timed(&harness, claude_request(&claude_key, true)).await;
    assert!(answer.text().starts_with("event: message_start\n") && answer.text().contains("text_delta"), "{}", answer.text());
    assert_eq!(booked(&harness).await, measured(COST_OF_CLAUDE_N));
    let answer = harness.send(claude_request(&claude_key, false)).await;
    assert_eq!(answer.json()["content"], json!([{"type": "text", "text": "hello"}]));
    assert_eq!((answer.json()["usage"]["output_tokens"].as_u64(), booked(&harness).await), (Some(7), measured(COST_OF_CLAUDE_N)));
    harness.finish().await;
}

/// A stream that was not asked for and does not come to its end is not an answer, and is paid as a stream that breaks off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_stream_is_not_an_answer() {
    let url = raw_provider::start(|_, _| vec![stream_head(), piece("hello")]);
    let harness = Harness::start_at(&url, "key").await;
    let (key, _) = harness.key_with_limit("100.00").await;
    let answer = harness.chat(&key, "m", json!({"max_tokens": 5_000})).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::BAD_GATEWAY, "upstream_broken".to_owned()));
    let (amount_n, basis) = booked(&harness).await;
    assert_eq!(basis, "estimated");
    assert!(amount_n > 1_000 * 2_000, "and the tail that nobody saw: {amount_n}");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_characters_do_not_hide_the_usage() {
    let url = raw_provider::start(|_, body| {
        // Bytes that are not UTF-8 are written as %XX.
        let text = body["x_text"].as_str().unwrap();
        let whole = if body["stream"] == true {
            let piece = |text: &str| match text {
                "COMMENT" => ": ping\n\n".to_owned(),
                "PING" => "event: ping\ndata: {\"type\":\"ping\"}\n\n".to_owned(),
                "NOTHING" => "data: {\"choices\":[]}\n\n".to_owned(),
                text => format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"),
            };
            text.split('|').map(piece).collect::<String>()
        } else {
            completion("TEXT").to_string().replace("TEXT", text)
        };
        let mark = if body["x_mark"] == true { "\u{feff}" } else { "" };
        let bytes = decoded(&format!("{mark}{whole}"));
        if body["stream"] == true {
            return [vec![stream_head(), Step::Send(bytes)], stream_end()].into_iter().flatten().collect();
        }
        vec![head("application/json"), Step::Send(bytes)]
    });
    let harness = Harness::start_at(&url, "key").await;
    let (key, _) = harness.key_with_limit("100.00").await;
    for (sent, got) in [
        ("caf%C3%A9", "caf\u{e9}"),
        ("caf%C3", "caf\u{fffd}"),
        ("%FF%FEx", "\u{fffd}\u{fffd}x"),
        (r"a\ud83d", "a\u{fffd}"),
        (r"a\ude00b", "a\u{fffd}b"),
        (r"\ud83d\ude00", "\u{1f600}"),
        ("a%F0%9F|%98%80b", "a\u{1f600}b"),
        (r"a\ud83d|\ude00b", "a\u{1f600}b"),
        ("a%F0%9F|b", "a\u{fffd}b"),
        // What says nothing may come between the halves, but not for long.
        (r"a\ud83d||\ude00b", "a\u{1f600}b"),
        (r"a\ud83d|NOTHING|\ude00b", "a\u{1f600}b"),
        (r"a\ud83d|PING|COMMENT|\ude00b", "a\u{1f600}b"),
        ("a%F0%9F|||NOTHING||%98%80b", "a\u{1f600}b"),
        (r"a\ud83d||||||\ude00b", "a\u{fffd}\u{fffd}b"),
    ] {
        for is_streamed in [true, false] {
            if sent.contains('|') && !is_streamed {
                continue;
            }
            for mark in [true, false] {
                let answer = harness.chat(&key, "m", json!({"stream": is_streamed, "x_text": sent, "x_mark": mark})).await;
                let text = std::str::from_utf8(&answer.body).expect("UTF-8");
                let shown = if is_streamed {
                    content(text)
                } else {
                    answer.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
                };
                assert_eq!((shown.as_str(), booked(&harness).await), (got, measured(COST_N)), "{sent} {is_streamed} {mark}");
                assert!(!text.starts_with('\u{feff}'));
            }
        }
    }
    harness.finish().await;
}

/// Usage that the gateway asked for stays here, in whichever chunk it comes; and a provider that cannot be asked for it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_that_nobody_asked_for_is_not_passed_on() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("100.00").await;
    let part = |end: Value| json!({"index": 0, "delta": {"content": "hello"}, "finish_reason": end});
    let used = json!({"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18});
    for last in [
        json!({"usage": used}),
        json!({"choices": [], "usage": used}),
        json!({"choices": null, "usage": used}),
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "usage": used}),
    ] {
        for provider in ["fake", "strict"] {
            for options in [Value::Null, json!({"include_usage": true}), json!({"include_usage": false})] {
                let events = json!([{"choices": [part(Value::Null)]}, {"choices": [part(json!("stop"))]}, last, "[DONE]"]);
                let more = json!({"stream": true, "stream_options": options, "x_events": events, "model": format!("{provider}/says")});
                let text = harness.chat(&key, "says", more).await.text();
                assert_eq!(text.matches("\n\n").count(), if options["include_usage"] == true { 4 } else { 3 }, "{last}: {text}");
                let chunks = text.lines().filter_map(|line| line.strip_prefix("data: {").map(|rest| format!("{{{rest}")));
                let chunks: Vec<Value> = chunks.map(|chunk| serde_json::from_str(&chunk).unwrap()).collect();
                assert!(chunks.iter().all(|chunk| chunk["choices"].is_array()), "clients go through the choices of each chunk: {text}");
                assert_eq!(booked(&harness).await, measured(COST_N), "{last}");
                let asked = harness.upstream.seen().pop().unwrap().body["stream_options"].clone();
                assert_eq!(asked, if provider == "strict" { Value::Null } else { json!({"include_usage": true}) });
            }
        }
    }
    // Without usage an estimate counts.
    let events = json!([{"choices": [part(json!("stop"))]}, "[DONE]"]);
    harness.chat(&key, "says", json!({"stream": true, "x_events": events, "model": "strict/says"})).await;
    assert_eq!(booked(&harness).await.1, "estimated");
    harness.finish().await;
}
