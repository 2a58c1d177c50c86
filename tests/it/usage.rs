//! What an answer costs, wherever and however the provider says what was used; what of that the caller sees; and how a request is said to have ended.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{Harness, chat_request, request};

/// 1,000 nano-dollars a token of input, 2,000 one of output: 100 in and 10 out.
const COST_N: i64 = 120_000;

fn used() -> Value {
    json!({"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110})
}

fn chunk(delta: Value, finish: Value) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn completion(usage: Value) -> Value {
    json!({"id": "c", "object": "chat.completion", "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}], "usage": usage})
}

/// What is booked for an answer, the entry's basis, and what the caller gets.
async fn book(harness: &Harness, key: &str, what: Value) -> (i64, String, String) {
    let answer = harness.chat(key, "says", what).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let last = harness.entries().await.pop().unwrap();
    (last.amount_n, last.basis, answer.text())
}

async fn last_request(harness: &Harness) -> Value {
    harness.settled().await;
    harness.manage(Method::GET, "/v1/requests?limit=1", Value::Null).await.json()["data"][0].clone()
}

#[tokio::test]
async fn a_plain_answer_costs_what_it_says_in_any_form() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("100.00").await;
    for (usage, cost_n) in [
        (used(), COST_N),
        (json!({"prompt_tokens": 100.0, "completion_tokens": 9.5}), COST_N),
        (json!({"input_tokens": 100, "output_tokens": 10}), COST_N),
        (json!({"prompt_tokens": "100", "completion_tokens": "10", "prompt_tokens_details": null}), COST_N),
        (json!({"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 410}), 720_000),
        (with(used(), "completion_tokens_details", json!({"reasoning_tokens": 300})), 720_000),
        // What the provider says it took, if that is more.
        (with(used(), "cost", json!(0.5)), 500_000_000),
        (with(used(), "cost", json!(0.000_000_001)), COST_N),
        (with(used(), "cost", json!(null)), COST_N),
    ] {
        let (booked, basis, _) = book(&harness, &key, json!({"x_answer": completion(usage.clone()), "max_tokens": 400_000})).await;
        assert_eq!((booked, basis.as_str()), (cost_n, "measured"), "{usage}");
    }
    let kimi = with(json!({"prompt_tokens": 10_000, "completion_tokens": 10, "total_tokens": 10_010}), "cached_tokens", json!(9_000));
    book(&harness, &key, json!({"x_answer": completion(kimi)})).await;
    assert_eq!(last_request(&harness).await["model_usage"]["cache_read_tokens"], 9_000);
    harness.finish().await;
}

#[tokio::test]
async fn a_cost_that_cannot_be_true_charges_the_hold_and_one_above_it_is_mispriced() {
    for cost in [json!(1_000_000), json!(-1), json!("NaN"), json!({})] {
        let harness = Harness::start().await;
        let (key, _) = harness.key_with_limit("1.00").await;
        let answer = harness.chat(&key, "says", json!({"x_answer": completion(with(used(), "cost", cost.clone()))})).await;
        assert_eq!(answer.status, StatusCode::OK);
        let entry = harness.entries().await.pop().unwrap();
        assert_eq!((entry.amount_n, entry.basis.as_str()), (entry.held_n, "hold"), "{cost}");
        harness.finish().await;
    }
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    book(&harness, &key, json!({"x_answer": completion(with(used(), "cost", json!(0.5)))})).await;
    let refused = harness.chat(&key, "says", json!({"x_answer": completion(used())})).await;
    assert_eq!(refused.code(), "mispriced");
    harness.finish().await;
}

/// A failure with status 200 is paid as it says; where it does not say, nobody knows what is billed.
#[tokio::test]
async fn an_error_in_an_answer_costs_what_it_says_or_the_hold() {
    let nothing = json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0});
    for (usage, has_error, basis) in [
        (used(), true, "measured"),
        (nothing.clone(), true, "hold"),
        (Value::Null, true, "hold"),
        (used(), false, "measured"),
        // An answer that is not empty, and says that it took nothing, or that nothing came of it, or that it came of nothing.
        (nothing, false, "estimated"),
        (json!({"prompt_tokens": 100, "completion_tokens": 0}), false, "estimated"),
        (json!({"prompt_tokens": 0, "completion_tokens": 10}), false, "estimated"),
        (Value::Null, false, "estimated"),
    ] {
        let harness = Harness::start().await;
        let (key, _) = harness.key_with_limit("1.00").await;
        let mut answer = completion(usage.clone());
        if has_error {
            answer["error"] = json!({"message": "overloaded"});
        }
        harness.chat(&key, "says", json!({"x_answer": answer})).await;
        let entry = harness.entries().await.pop().unwrap();
        assert_eq!(entry.basis, basis, "{usage} {has_error}");
        match basis {
            "measured" => assert_eq!(entry.amount_n, COST_N),
            "hold" => assert_eq!(entry.amount_n, entry.held_n),
            _ => assert!(0 < entry.amount_n && entry.amount_n < entry.held_n, "{entry:?}"),
        }
        harness.finish().await;
    }
}

#[tokio::test]
async fn a_stream_is_metered_wherever_usage_comes_and_the_caller_does_not_see_what_nobody_asked_for() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("100.00").await;
    let (hello, stop, done) = (chunk(json!({"content": "hello"}), Value::Null), chunk(json!({}), json!("stop")), json!("[DONE]"));
    let in_choice = {
        let mut last = stop.clone();
        last["choices"][0]["usage"] = used();
        last
    };
    for (name, events, passed) in [
        ("empty choices", vec![hello.clone(), stop.clone(), json!({"choices": [], "usage": used()}), done.clone()], 3),
        ("null choices", vec![hello.clone(), stop.clone(), json!({"choices": null, "usage": used()}), done.clone()], 3),
        ("no choices", vec![hello.clone(), stop.clone(), json!({"id": "c", "usage": used()}), done.clone()], 3),
        ("with the last part", vec![hello.clone(), with(stop.clone(), "usage", used()), done.clone()], 3),
        ("in a choice", vec![hello.clone(), in_choice, done.clone()], 3),
        ("without a reason to finish", vec![with(hello.clone(), "usage", used()), done.clone()], 2),
        ("Groq's", vec![hello.clone(), with(stop.clone(), "x_groq", json!({"usage": used()})), done.clone()], 3),
        ("after the end", vec![hello.clone(), stop.clone(), done.clone(), json!({"choices": [], "usage": used()})], 3),
        (
            "with a cost",
            vec![hello.clone(), stop.clone(), json!({"choices": [], "usage": with(used(), "cost", json!(1e-9))}), done.clone()],
            3,
        ),
    ] {
        let (booked, basis, text) = book(&harness, &key, json!({"stream": true, "x_events": events})).await;
        assert_eq!((booked, basis.as_str()), (COST_N, "measured"), "{name}");
        assert_eq!(text.matches("data: ").count(), passed, "{name}: {text}");
        let has_usage = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
            .any(|chunk| chunk.get("usage").is_some());
        assert!(!has_usage, "{name}: {text}");
        let (_, _, text) =
            book(&harness, &key, json!({"stream": true, "stream_options": {"include_usage": true}, "x_events": events})).await;
        assert!(name == "after the end" || text.contains("prompt_tokens"), "{name}: {text}");
    }
    harness.finish().await;
}

/// A stream that ends early and has not said what it costs: what was seen is paid only where that is the most a provider can bill.
#[tokio::test]
async fn a_stream_that_ends_early_costs_what_may_be_billed() {
    let failed = json!([chunk(json!({"content": "hello"}), Value::Null), {"error": {"message": "gone"}}, "[DONE]"]);
    for (provider, script, more, basis) in [
        ("fake", "says", json!({"x_events": failed}), "hold"),
        ("azure", "says", json!({"x_events": failed}), "hold"),
        // The gateway stops reading; only Azure stops billing then.
        ("fake", "long-event", json!({}), "hold"),
        ("azure", "long-event", json!({}), "estimated"),
    ] {
        let harness = Harness::start().await;
        let (key, _) = harness.key_with_limit("100.00").await;
        let more = with(with(more, "stream", json!(true)), "model", json!(format!("{provider}/{script}")));
        harness.chat(&key, script, with(more, "max_tokens", json!(5_000))).await;
        let entry = harness.entries().await.pop().unwrap();
        assert_eq!(entry.basis, basis, "{provider} {script}");
        assert_eq!(entry.amount_n == entry.held_n, basis == "hold", "{entry:?}");
        harness.finish().await;
    }
}

/// The gateway ends while a provider has not begun to answer.
#[tokio::test]
async fn what_is_dropped_before_its_answer_costs_what_may_be_billed() {
    for (provider, is_streamed, basis) in
        [("azure", true, "estimated"), ("azure", false, "hold"), ("fake", true, "hold"), ("fake", false, "hold")]
    {
        let harness = Harness::start().await;
        let (key, _) = harness.key_with_limit("1.00").await;
        let more = json!({"model": format!("{provider}/never"), "stream": is_streamed, "max_tokens": 5_000});
        let waiting = tokio::spawn(harness.router.clone().oneshot(chat_request(&key, "never", more)));
        while harness.upstream.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        harness.gateway.shut_down(Duration::from_millis(20)).await;
        assert_eq!(harness.sql("SELECT basis FROM entry", |row| row.get::<_, String>(0)), [basis], "{provider} {is_streamed}");
        assert!(waiting.await.unwrap().unwrap().status().is_server_error());
    }
}

#[tokio::test]
async fn iterations_of_an_answer_are_all_paid() {
    let harness = Harness::start().await;
    let (key, _) = harness.key(json!({"request_shape": "anthropic", "spend_limit": {"amount": "100.00", "cycle": "daily"}})).await;
    let usage = json!({"input_tokens": 100, "output_tokens": 10, "iterations": [
        {"type": "compaction", "input_tokens": 1_000, "output_tokens": 20},
        {"type": "advisor_message", "model": "bigger", "input_tokens": 50, "output_tokens": 5},
        {"type": "message", "input_tokens": 100, "output_tokens": 10}]});
    // 1,000 nano-dollars in, 5,000 out; the advisor too, for a person vouches for the provider.
    let cost_n = (1_000 + 100 + 50) * 1_000 + (20 + 10 + 5) * 5_000;
    let message =
        json!({"id": "m", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "hello"}], "usage": usage});
    let start = json!({"type": "message_start", "message": {"id": "m", "usage": null}});
    let text = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}});
    let delta = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage});
    let events = json!([start, text, delta, {"type": "message_stop"}]);
    for more in [json!({"x_answer": message}), json!({"stream": true, "x_events": events})] {
        let mut body = json!({"model": "claude/says", "max_tokens": 2_000, "messages": [{"role": "user", "content": "Hi"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = harness.send(request(Method::POST, "/v1/messages", Some(&key), body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let entry = harness.entries().await.pop().unwrap();
        assert_eq!((entry.amount_n, entry.basis.as_str()), (cost_n, "measured"), "{more}");
    }
    harness.finish().await;
}

#[tokio::test]
async fn the_log_says_how_a_request_ended() {
    let hello = chunk(json!({"content": "hello"}), Value::Null);
    let error = with(chunk(json!({}), json!("error")), "error", json!({"code": 502, "message": "gone"}));
    let whole = json!([hello, chunk(json!({}), json!("stop")), {"choices": [], "usage": used()}, "[DONE]"]);
    for (script, more, status, ending) in [
        ("ok", json!({}), "completed", "complete"),
        ("says", json!({"stream": true, "x_events": whole}), "completed", "complete"),
        ("cut-stream", json!({"stream": true}), "error", "broken"),
        ("says", json!({"stream": true, "x_events": [hello]}), "error", "broken"),
        ("says", json!({"stream": true, "x_events": [hello, error, "[DONE]"]}), "error", "error_in_answer"),
        ("says", json!({"x_answer": with(completion(used()), "error", json!({"message": "m"}))}), "error", "error_in_answer"),
        ("error-200", json!({}), "error", "error_in_answer"),
        ("drop", json!({}), "error", "broken"),
        ("status-400", json!({}), "error", "refused"),
        ("", json!({"model": "closed/x"}), "error", "unreachable"),
    ] {
        let harness = Harness::start().await;
        let (key, _) = harness.key_with_limit("1.00").await;
        harness.chat(&key, script, more.clone()).await;
        let report = last_request(&harness).await;
        let attempt = &report["lava_mcp"]["attempts"][0];
        assert_eq!((report["status"].as_str(), attempt["ending"].as_str()), (Some(status), Some(ending)), "{script} {more}: {report}");
        harness.finish().await;
    }
}

#[tokio::test]
async fn requests_are_listed_by_the_time_at_which_they_began() {
    let harness = Harness::start().await;
    let mut began = Vec::new();
    // Their ids rise in this order, and their times do not.
    for hour in [12, 14, 9, 13, 9] {
        harness.clock.set(&format!("2026-11-24T{hour:02}:00:00Z"));
        // A key's own time never goes back, so each has its own.
        let (key, _) = harness.key_with_limit("1.00").await;
        let answer = harness.send(chat_request(&key, "ok", json!({}))).await;
        harness.settled().await;
        began.push((hour, answer.header("x-lava-request-id").unwrap().to_owned()));
    }
    began.sort_unstable();
    began.reverse();
    for limit in [1, 2, 4, 10] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = harness.manage(Method::GET, &format!("/v1/requests?limit={limit}{cursor}"), Value::Null).await.json();
            seen.extend(page["data"].as_array().unwrap().iter().map(|request| request["request_id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, began.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>(), "{limit} a page");
    }
    let plan = |conditions: &str| {
        let query = format!(
            "EXPLAIN QUERY PLAN SELECT r.request_id FROM entry r CROSS JOIN spend_key k ON k.id = r.key_id WHERE {conditions} ORDER BY r.opened_at DESC, r.request_id DESC LIMIT 9"
        );
        harness.sql(&query, |row| row.get::<_, String>(3)).join("; ")
    };
    for (conditions, index) in
        [("k.test = 0", "entry_by_time"), ("r.key_id = 'a' AND (r.opened_at, r.request_id) < (5, 'b')", "entry_by_key")]
    {
        let plan = plan(conditions);
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{plan}");
    }
    harness.finish().await;
}

#[tokio::test]
async fn a_live_key_is_refused_in_a_sandbox_and_a_test_key_reaches_nothing_else() {
    let harness = Harness::start().await;
    let (key, id) = harness.key_with_limit("1.00").await;
    let sandbox = harness.second_as_sandbox().await;
    for (credential, path) in [(key.as_str(), "/v1/chat/completions"), (harness.secret.expose(), "/v1/chat/completions")] {
        let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5});
        let refused = crate::harness::send(&sandbox, request(Method::POST, path, Some(credential), body)).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "live_key_in_sandbox"), "{}", refused.text());
        assert!(refused.text().contains("lava-mcp --sandbox keys create") && refused.header("x-should-retry") == Some("false"));
    }
    assert_eq!((harness.entries().await.len(), harness.object(&id).await["current_requests"].as_u64()), (0, Some(0)));
    // What is made there is a test key, also with a live secret key, and only test keys pay there.
    let made = crate::harness::send(&sandbox, request(Method::POST, "/v1/spend_keys", Some(harness.secret.expose()), json!({"name": "t"})))
        .await
        .json();
    assert_eq!(made["lava_mcp"]["test"], true);
    let test_key = made["key"].as_str().unwrap();
    let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5});
    for router in [&sandbox, &harness.router] {
        let answered = crate::harness::send(router, request(Method::POST, "/v1/chat/completions", Some(test_key), body.clone())).await;
        assert!(answered.status == StatusCode::OK && answered.text().contains("sandbox"), "{}", answered.text());
    }
    assert!(harness.upstream.seen().is_empty());
    harness.finish().await;
}
