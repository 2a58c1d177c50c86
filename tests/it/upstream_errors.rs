//! What a provider says when it refuses reaches the caller, in the caller's dialect, and nothing of the gateway's own does.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Harness, UPSTREAM_KEY, chat_request, request};

async fn refused(harness: &Harness, key: &str, status: u16, head: &str, kind: &str, answer: &Value) -> Answer {
    let more = json!({"x_status": status, "x_head": head, "x_type": kind, "x_answer": answer});
    harness.send(chat_request(key, "says", more)).await
}

async fn refused_as_json(harness: &Harness, key: &str, status: u16, head: &str, answer: Value) -> Answer {
    refused(harness, key, status, head, "application/json", &answer).await
}

/// The same in the Anthropic dialect.
async fn refused_message(harness: &Harness, key: &str, status: u16, answer: Value) -> Answer {
    let body = json!({
        "model": "claude/says", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}], "x_status": status, "x_answer": answer,
    });
    harness.send(request(Method::POST, "/v1/messages", Some(key), body)).await
}

#[tokio::test]
async fn code_type_parameter_and_words_of_a_refusal_reach_the_caller() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let said = json!({"message": "the input has 9000 tokens", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"});
    let answer = refused_as_json(&harness, &key, 400, "", json!({"error": said})).await;
    let error = &answer.json()["error"];
    assert_eq!(
        (&error["code"], &error["type"], &error["param"], &error["lava_code"]),
        (&said["code"], &said["type"], &said["param"], &json!("upstream_error"))
    );
    assert_eq!(
        (&error["message"], answer.header("x-should-retry")),
        (&json!("fake answered 400: the input has 9000 tokens"), Some("false"))
    );

    // A number stays one; what is not said is ours.
    let answer = refused_as_json(&harness, &key, 402, "", json!({"error": {"message": "no credits", "code": 402}})).await.json();
    assert_eq!((&answer["error"]["code"], &answer["error"]["type"]), (&json!(402), &json!("billing_error")));
    let answer = refused_as_json(
        &harness,
        &key,
        429,
        "",
        json!({"error": {"message": "plan", "code": "insufficient_quota", "type": "insufficient_quota"}}),
    )
    .await;
    assert_eq!((answer.code().as_str(), answer.header("x-should-retry")), ("insufficient_quota", Some("false")));
    let answer = refused_as_json(&harness, &key, 422, "", json!({"detail": [{"loc": ["body", "n"], "msg": "is too large"}]})).await;
    assert_eq!((answer.code().as_str(), &answer.json()["error"]["param"]), ("upstream_error", &json!("n")));
    assert!(answer.text().contains("n: is too large"), "{}", answer.text());
    for (kind, body, words) in [
        ("text/plain", json!("temperature must be below 2"), "fake answered 400: temperature must be below 2"),
        ("text/html; charset=utf-8", json!("<html><title>Oh no</title><p>Try later</p></html>"), "fake answered 400: Oh no: Try later"),
        ("application/json", json!(""), "fake answered 400: it gave no reason"),
        ("application/json", json!({"weird": true}), "fake answered 400: {\"weird\":true}"),
    ] {
        let answer = refused(&harness, &key, 400, "", kind, &body).await;
        assert_eq!(answer.json()["error"]["message"], words, "{body}");
    }
    harness.finish().await;
}

#[tokio::test]
async fn a_caller_of_anthropics_api_gets_a_type_of_it() {
    let harness = Harness::start().await;
    let (key, _) = harness.key(json!({"request_shape": "anthropic", "spend_limit": {"amount": "1.00", "cycle": "daily"}})).await;
    for (status, said, kind) in [
        (
            400,
            json!({"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}),
            "invalid_request_error",
        ),
        (529, json!({"type": "overloaded_error", "message": "Overloaded"}), "overloaded_error"),
        (429, json!({"type": "tokens", "message": "slow down"}), "rate_limit_error"),
        (400, json!({"message": "no type"}), "invalid_request_error"),
    ] {
        let answer = refused_message(&harness, &key, status, json!({"type": "error", "error": said})).await;
        let body = answer.json();
        assert_eq!((answer.status.as_u16(), &body["type"], &body["error"]["type"]), (status, &json!("error"), &json!(kind)), "{body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.ends_with(said["message"].as_str().unwrap()), "{message}");
        assert_eq!(body["error"]["lava_code"], "upstream_error");
    }
    harness.finish().await;
}

#[tokio::test]
async fn no_field_of_a_refusal_says_the_gateways_key() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let quote = format!("bad key {UPSTREAM_KEY}!");
    for status in [400, 401, 403, 404, 429, 500] {
        for body in [
            json!({"error": {"message": quote, "code": quote, "type": quote, "param": quote}}),
            json!({"message": {"detail": [{"loc": ["body", quote], "msg": quote}]}}),
            json!({"x": quote}),
            json!(format!("{}{quote}", "x".repeat(490))),
            json!(format!("{}{quote}", "x".repeat(1_985))),
            json!("it begins with sk-upstream-se..."),
        ] {
            let head = format!("x-request-id: {UPSTREAM_KEY}\r\nx-amzn-errortype: {UPSTREAM_KEY}\r\n");
            let answer = refused_as_json(&harness, &key, status, &head, body.clone()).await;
            let whole = format!("{:?} {}", answer.headers, answer.text());
            assert!(!whole.contains("sk-upstr"), "{status} {body}: {whole}");
        }
    }
    harness.finish().await;
}

#[tokio::test]
async fn a_provider_that_forbids_something_is_not_one_that_rejects_the_key() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let (anthropic_key, _) = harness.key(json!({"request_shape": "anthropic", "spend_limit": {"amount": "1.00", "cycle": "daily"}})).await;
    let error = |code: Value, kind: Value| json!({"error": {"message": "the reason", "code": code, "type": kind, "param": "model"}});
    for (code, kind, shown) in [
        (json!("unsupported_country_region_territory"), json!("request_forbidden"), json!("unsupported_country_region_territory")),
        (json!("model_not_found"), json!("invalid_request_error"), json!("model_not_found")),
        (json!(403), Value::Null, json!(403)),
        (Value::Null, json!("permission_error"), json!("upstream_error")),
        (json!("AccessDeniedException"), json!("PERMISSION_DENIED"), json!("AccessDeniedException")),
        (json!("unauthorized_region"), json!("authorization_error"), json!("unauthorized_region")),
    ] {
        let answer = refused_as_json(&harness, &key, 403, "", error(code.clone(), kind.clone())).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status.as_u16(), answer.header("x-should-retry")), (403, Some("false")), "{code} {kind}");
        assert_eq!(
            (&error["code"], &error["param"], &error["lava_code"], &error["message"]),
            (&shown, &json!("model"), &json!("upstream_error"), &json!("fake answered 403: the reason"))
        );
        assert_eq!(error["type"], if kind.is_null() { json!("permission_error") } else { kind });
    }
    let answer =
        refused_message(&harness, &anthropic_key, 403, json!({"type": "error", "error": {"type": "permission_error", "message": "m"}}))
            .await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["type"]), (403, &json!("permission_error")));

    for (code, kind) in [
        (json!("invalid_api_key"), Value::Null),
        (json!("INVALID_API_KEY"), Value::Null),
        (json!("InvalidApiKey"), Value::Null),
        (json!(403), json!("authentication_error")),
        (json!(403), json!("UNAUTHENTICATED")),
        (json!(401), Value::Null),
        (Value::Null, json!("Unauthorized")),
        (Value::Null, json!("UnrecognizedClientException")),
        (json!("expired_token"), Value::Null),
    ] {
        let answer = refused_as_json(&harness, &key, 403, "", error(code.clone(), kind.clone())).await;
        let error = &answer.json()["error"];
        assert_eq!(
            (answer.status.as_u16(), &error["code"], answer.header("x-should-retry")),
            (502, &json!("provider_credentials_rejected"), Some("false")),
            "{code} {kind}"
        );
        // What is not accepted is the gateway's key: what the provider calls that must not be read as a word about the caller's.
        assert_eq!((&error["upstream_code"], &error["upstream_type"], &error["upstream_param"]), (&code, &kind, &json!("model")));
        assert!(answer.text().contains("it said 403: the reason"), "{}", answer.text());
    }
    // AWS says its type in the head alone.
    for (kind, status) in [("AccessDeniedException", 403), ("UnrecognizedClientException:http://internal.amazon.com/", 502)] {
        let answer = refused_as_json(&harness, &key, 403, &format!("x-amzn-errortype: {kind}\r\n"), json!({"message": "m"})).await;
        let error = &answer.json()["error"];
        let shown = if status == 403 { &error["type"] } else { &error["upstream_type"] };
        assert_eq!((answer.status.as_u16(), shown.as_str()), (status, kind.split(':').next()), "{kind}");
    }
    let error = &refused_as_json(&harness, &key, 401, "", error(json!("invalid_api_key"), Value::Null)).await.json()["error"];
    assert_eq!((&error["code"], &error["upstream_code"]), (&json!("provider_credentials_rejected"), &Value::Null), "{error}");
    harness.finish().await;
}

#[tokio::test]
async fn what_is_inside_of_a_refusal_and_what_is_broken_reaches_the_caller() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let inner =
        json!({"error": {"message": "too long", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}});
    let text = inner.to_string();
    let provider =
        |raw: Value| json!({"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": raw, "provider_name": "X"}}});
    for (kind, body) in [
        ("application/json", provider(json!(text)).to_string()),
        ("application/json", provider(inner.clone()).to_string()),
        ("application/json", json!({"error": {"message": text, "type": "x", "code": 400}}).to_string()),
        ("application/json", json!({"detail": inner}).to_string()),
        ("application/json", json!({"message": inner}).to_string()),
        ("application/json", text.replace("too long", r"too long \ud83d")),
        ("application/json", format!("{text}\n{text}")),
        ("application/json", format!("{text} upstream closed")),
        ("application/json", text.replace("too long", "too\nlong")),
        ("application/json", json!({"error": inner["error"], "score": 0}).to_string().replace(":0", ":NaN")),
        ("text/event-stream", format!(": hi\n\nevent: error\ndata: {text}\n\n")),
    ] {
        let answer = refused(&harness, &key, 400, "", kind, &json!(body)).await;
        let error = &answer.json()["error"];
        let told = [&error["code"], &error["type"], &error["param"]];
        assert_eq!(told, ["code", "type", "param"].map(|name| &inner["error"][name]), "{body}");
        let message = error["message"].as_str().unwrap();
        assert!(message.ends_with("too long") || message.ends_with("too long \u{fffd}"), "{message}");
    }
    harness.finish().await;
}

#[tokio::test]
async fn a_wait_is_handed_on_in_every_form() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    // The clock of the test stands at noon.
    for (head, seconds, millis, is_final) in [
        ("retry-after: 7", Some("7"), None, false),
        ("retry-after: 1.5", Some("2"), None, false),
        ("retry-after: Tue, 24 Nov 2026 12:00:20 GMT", Some("20"), None, false),
        ("retry-after: Tuesday, 24-Nov-26 12:00:20 GMT", Some("20"), None, false),
        ("retry-after: Tue Nov 24 12:00:20 2026", Some("20"), None, false),
        ("retry-after-ms: 1500", Some("2"), Some("1500"), false),
        ("retry-after: Tue, 24 Nov 2026 11:59:59 GMT", None, None, false),
        ("retry-after: soon", None, None, false),
        ("retry-after: -3", None, None, false),
        ("retry-after: Tue, 24 Nov 2026 12:01:01 GMT", None, None, true),
        ("retry-after: 287441", None, None, true),
        ("retry-after: soon\r\nretry-after: 9", Some("9"), None, false),
        ("retry-after: Tue, 24 Nov 2026 12:00:20 UTC", Some("20"), None, false),
        ("x-ratelimit-remaining: 0\r\nx-ratelimit-reset: 1795521620", Some("20"), None, false),
        ("ratelimit: \"default\";r=0;t=9", Some("9"), None, false),
        ("retry-after: 7\r\nx-should-retry: false", None, None, true),
    ] {
        let answer = refused_as_json(&harness, &key, 429, &format!("{head}\r\n"), json!({"error": {"message": "slow down"}})).await;
        let expected = (seconds, millis, is_final.then_some("false"));
        assert_eq!((answer.header("retry-after"), answer.header("retry-after-ms"), answer.header("x-should-retry")), expected, "{head}");
        // The body says the same as the head, and nothing where waiting does not help.
        let in_body = &answer.json()["error"]["retry_after_s"];
        assert_eq!(in_body.as_u64().map(|seconds| seconds.to_string()).as_deref(), seconds, "{head}");
    }
    let quota = json!({"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED", "details": [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure"}, {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "31s"},
    ]}});
    for body in [quota.clone(), json!([quota])] {
        let answer = refused_as_json(&harness, &key, 429, "", body).await;
        assert_eq!((answer.header("retry-after"), &answer.json()["error"]["retry_after_s"]), (Some("31"), &json!(31)));
    }
    // A limit that is used up says nothing about a request that is wrong.
    let head = "x-ratelimit-remaining: 0\r\nx-ratelimit-reset: 9\r\n";
    let wrong = refused_as_json(&harness, &key, 400, head, json!({"error": {"message": "bad"}})).await;
    assert_eq!((wrong.header("retry-after"), wrong.header("x-should-retry")), (None, Some("false")));
    harness.finish().await;
}

#[tokio::test]
async fn both_ids_of_a_request_are_on_its_answer() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let head = "x-request-id: req_up_77\r\nrequest-id: req_up_78\r\nx-ratelimit-remaining-tokens: 9000\r\ncf-ray: 9\r\n";
    let good =
        json!({"choices": [{"message": {"role": "assistant", "content": "hi"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}});
    for status in [200, 400, 401, 429] {
        let answer = refused_as_json(&harness, &key, status, head, good.clone()).await;
        assert_eq!(answer.status.as_u16(), if status == 401 { 502 } else { status });
        assert_eq!(answer.header("x-lava-upstream-request-id"), Some("req_up_77"), "{status}");
        let ours = answer.header("x-lava-request-id").unwrap();
        for name in ["x-request-id", "request-id"] {
            assert_eq!(answer.headers.get_all(name).iter().collect::<Vec<_>>(), [ours], "{status} {name}");
        }
        assert!(answer.header("x-ratelimit-remaining-tokens").is_none() && answer.header("cf-ray").is_none());
    }
    let last = refused_as_json(&harness, &key, 200, "cf-ray: 8f1-FRA\r\n", good).await;
    assert_eq!(last.header("x-lava-upstream-request-id"), Some("8f1-FRA"));
    for name in ["mistral-correlation-id", "x-kong-request-id", "nvcf-reqid", "x-generation-id", "x-siliconcloud-trace-id", "x-ds-trace-id"]
    {
        let answer = refused_as_json(&harness, &key, 400, &format!("cf-ray: 9\r\n{name}: id-7\r\n"), json!({})).await;
        assert_eq!(answer.header("x-lava-upstream-request-id"), Some("id-7"), "{name}");
    }
    for (head, body, id) in [
        ("", json!({"type": "error", "error": {"message": "m"}, "request_id": "req_body"}), Some("req_body")),
        ("", json!({"ResponseMetadata": {"RequestId": "volc-1", "Error": {"Code": "C"}}}), Some("volc-1")),
        ("request-id: req_head\r\n", json!({"request_id": "req_body"}), Some("req_head")),
        ("", json!({"request_id": format!("r-{UPSTREAM_KEY}")}), None),
        ("", json!({"request_id": "r".repeat(300)}), None),
        ("", json!({"request_id": "two\nlines"}), None),
    ] {
        let answer = refused_as_json(&harness, &key, 400, head, body.clone()).await;
        assert_eq!(answer.header("x-lava-upstream-request-id"), id, "{body}");
    }
    for path in ["/", "/healthz", "/nowhere", "/v1/models"] {
        let answer = harness.send(request(Method::GET, path, None, Value::Null)).await;
        let ids = ["x-lava-request-id", "x-request-id", "request-id"].map(|name| answer.header(name));
        assert!(ids[0].is_some_and(|id| id.starts_with("req_")) && ids[0] == ids[1] && ids[1] == ids[2], "{path} {ids:?}");
        assert!(answer.header("x-lava-upstream-request-id").is_none());
    }
    harness.finish().await;
}

#[tokio::test]
async fn an_error_in_a_stream_keeps_its_code() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let error = json!({"error": {"message": "over the limit", "type": "tokens", "param": "messages", "code": "rate_limit_exceeded"}});
    let piece = json!({"choices": [{"index": 0, "delta": {"content": "Hel"}}]});
    let answer = harness.send(chat_request(&key, "says", json!({"stream": true, "x_events": [piece, error]}))).await;
    assert!(answer.text().contains(&error.to_string()), "{}", answer.text());
    // In it, and in an error with status 200, the gateway's key is hidden as well.
    let error = json!({"error": {"message": format!("bad key {UPSTREAM_KEY}"), "code": "c"}});
    for more in [json!({"stream": true, "x_events": [piece, error]}), json!({"x_answer": error})] {
        // Two such answers to one key would pause the provider for it.
        let (key, _) = harness.key_with_limit("1.00").await;
        let answer = harness.send(chat_request(&key, "says", more)).await.text();
        assert!(answer.contains(r#""message":"bad key ****","code":"c""#) && !answer.contains(UPSTREAM_KEY), "{answer}");
    }
    harness.finish().await;
}
