//! Keys wherever clients put them, base addresses that were set a little wrong, routes that are not there, and bodies that come packed.

use std::io::Write;

use axum::body::Body;
use flate2::{Compression, write::GzEncoder};
use http::{Method, Request, StatusCode};
use lava_mcp::gateway::server;
use serde_json::{Value, json};

use crate::{
    fake_upstream::base64,
    harness::{Answer, Harness, request},
};

fn chat() -> Value {
    json!({"model": "fake/ok", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100})
}

fn message() -> Value {
    json!({"model": "claude/ok", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100})
}

async fn send(harness: &Harness, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    harness.send(request.body(body).unwrap()).await
}

#[tokio::test]
async fn a_key_of_ours_counts_wherever_it_is_and_whatever_is_beside_it() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let (other, _) = harness.key_with_limit("1.00").await;
    let bearer = format!("Bearer {key}");
    let basic = format!("Basic {}", base64(format!("user:{key}").as_bytes()));
    let places = [
        ("authorization", bearer.as_str()),
        ("authorization", &basic),
        ("x-api-key", &key),
        ("api-key", &key),
        ("x-goog-api-key", &key),
        ("xi-api-key", &key),
    ];
    let statuses = async |headers: &[(&str, &str)], query: &str| -> [u16; 2] {
        let chat = send(&harness, Method::POST, &format!("/v1/chat/completions{query}"), headers, &chat()).await;
        // The same on a route that only shows something.
        let own = send(&harness, Method::GET, &format!("/v1/spend_keys/self{query}"), headers, &Value::Null).await;
        [chat.status.as_u16(), own.status.as_u16()]
    };
    for place in places {
        assert_eq!(statuses(&[place], "").await, [200, 200], "{place:?}");
        for beside in [
            ("x-api-key", "sk-ant-api03-foreign"),
            ("x-api-key", ""),
            ("api-key", " "),
            ("authorization", "Bearer "),
            ("authorization", "Bearer"),
            ("authorization", "Bearer sk-foreign"),
            ("authorization", "Basic dXNlcjpwYXNz"),
            ("authorization", ""),
            ("x-goog-api-key", &key),
        ] {
            assert_eq!(statuses(&[place, beside], "").await, [200, 200], "{place:?} {beside:?}");
            assert_eq!(statuses(&[beside, place], "").await, [200, 200], "{beside:?} {place:?}");
        }
        assert_eq!(statuses(&[place, ("xi-api-key", &other)], "").await, [401, 401], "{place:?}");
        assert_eq!(statuses(&[place], &format!("?key={other}")).await, [401, 401], "{place:?}");
        assert_eq!(statuses(&[place], "?key=AIzaForeign").await, [200, 200], "{place:?}");
    }
    assert_eq!(statuses(&[], &format!("?key={key}")).await, [200, 200]);
    assert_eq!(statuses(&[], &format!("?beta=true&key={key}&x=1")).await, [200, 200]);
    assert!(harness.upstream.seen().iter().all(|seen| !seen.head.contains(&key.to_lowercase()) && !seen.head.contains("key=")));
    let none: [&[(&str, &str)]; 5] = [
        &[],
        &[("x-api-key", "")],
        &[("authorization", "Bearer sk-one"), ("x-api-key", "sk-two")],
        &[("authorization", "Digest x")],
        &[("authorization", "x")],
    ];
    for headers in none {
        for path in ["/v1/chat/completions", "/v1/messages"] {
            let refused = send(&harness, Method::POST, path, headers, &chat()).await;
            assert_eq!((refused.status.as_u16(), refused.code().as_str()), (401, "invalid_api_key"), "{headers:?}");
            // Claude Code tries for three minutes without it.
            assert_eq!(
                (refused.header("x-should-retry"), refused.header("www-authenticate")),
                (Some("false"), Some("Bearer")),
                "{headers:?}"
            );
        }
    }
    let two = send(&harness, Method::GET, "/v1/spend_keys/self", &[("x-api-key", "sk-one"), ("api-key", "sk-two")], &Value::Null).await;
    assert!(two.text().contains("not known here"), "{}", two.text());
    harness.finish().await;
}

/// Keys are compared by what they are, and not by how they were written.
#[tokio::test]
async fn one_key_shown_in_any_forms_counts_and_two_are_refused() {
    let harness = Harness::start().await;
    let (k, _) = harness.key_with_limit("1.00").await;
    let (k2, _) = harness.key_with_limit("1.00").await;
    let basic = |pair: &str| format!("Basic {}", base64(pair.as_bytes()));
    let token = |token: Value| base64(token.to_string().as_bytes());
    let ours = |key: &str| token(json!({"secret_key": key, "customer_id": null}));
    let status = async |headers: &[(&str, &str)]| {
        let own = send(&harness, Method::GET, "/v1/spend_keys/self", headers, &Value::Null).await;
        let chat = send(&harness, Method::POST, "/v1/chat/completions", headers, &chat()).await;
        for answer in [&own, &chat] {
            assert!(!answer.text().contains(&k) && !answer.text().contains(&k2), "{}", answer.text());
        }
        let id = own.json()["key_preview"].as_str().map(str::to_owned);
        assert_eq!(own.status, chat.status, "{headers:?}");
        (own.status.as_u16(), id.is_some_and(|preview| k.starts_with(preview.trim_end_matches('*'))), own.text())
    };
    // Each of these shows `k` and nothing else of ours.
    let forms = [
        ("authorization", format!("Bearer {k}")),
        ("authorization", k.clone()),
        ("authorization", format!("Bearer\t{k}")),
        ("authorization", format!("Bearer  {k} ")),
        ("authorization", format!("Bearer Bearer {k}")),
        ("authorization", format!("bearer BEARER\t{k}")),
        ("authorization", format!("Token {k}")),
        ("authorization", format!("Bearer {k}, Bearer {k}")),
        ("authorization", format!("Bearer {}", ours(&k))),
        ("authorization", ours(&k)),
        ("authorization", basic(&format!("{k}:"))),
        ("authorization", basic(&format!("user:{k}"))),
        ("authorization", basic(&format!("{k}:{k}"))),
        ("authorization", basic(&format!("{k}:x"))),
        ("authorization", basic(&format!("{k}:{}", ours(&k)))),
        ("authorization", format!("basic\t{}", base64(format!("x:{k}").as_bytes()))),
        ("x-api-key", k.clone()),
        ("x-api-key", format!("Bearer {k}")),
        ("x-api-key", format!("Bearer {}", ours(&k))),
        ("x-api-key", ours(&k)),
        ("x-api-key", token(json!({"secret_key": k, "meter_slug": null}))),
        ("x-goog-api-key", format!("bearer\t{k}")),
    ];
    let foreign = [
        token(json!({"secret_key": "sk-foreign"})),
        token(json!({"secret_key": "sk-foreign", "customer_id": "c"})),
        "Bearer sk-foreign".to_owned(),
        "sk-foreign".to_owned(),
        String::new(),
    ];
    for (name, form) in &forms {
        let (status_of_one, is_k, said) = status(&[(name, form)]).await;
        assert!(status_of_one == 200 && is_k, "{name}: {form}: {said}");
        for (other, second) in &forms {
            for headers in [[(*name, form.as_str()), (*other, second.as_str())], [(*other, second), (*name, form)]] {
                let own = send(&harness, Method::GET, "/v1/spend_keys/self", &headers, &Value::Null).await;
                assert_eq!(own.status, StatusCode::OK, "{headers:?}: {}", own.text());
            }
            let two = second.replace(&k, &k2);
            let two = if two == *second { continue } else { two };
            let refused = send(&harness, Method::GET, "/v1/spend_keys/self", &[(name, form), (other, &two)], &Value::Null).await;
            assert!(refused.status == 401 && refused.text().contains("Two different"), "{form} {two}: {}", refused.text());
        }
        for beside in &foreign {
            for headers in [[("api-key", beside.as_str()), (*name, form.as_str())], [(*name, form), ("xi-api-key", beside)]] {
                let (with_foreign, is_k, said) = status(&headers).await;
                assert!(with_foreign == 200 && is_k, "{headers:?}: {said}");
            }
        }
        for second in [ours(&k2), token(json!({"secret_key": k2, "provider_key": "sk-x"}))] {
            let (two, _, said) = status(&[(name, form), ("xi-api-key", &second)]).await;
            assert!(two == 401 && said.contains("Two different"), "{form}: {said}");
        }
    }
    for two in [
        basic(&format!("{k}:{k2}")),
        basic(&format!("{k2}:{k}")),
        basic(&format!("{k}:{}", ours(&k2))),
        format!("Bearer {k} {k2}"),
        format!("Bearer {k}, Bearer {k2}"),
        format!("{k},{k2}"),
    ] {
        let (refused, _, said) = status(&[("authorization", &two)]).await;
        assert!(refused == 401 && said.contains("Two different"), "{two}: {said}");
    }
    // Nor do two keys for a provider say who pays there; one of them counts beside the bare key.
    let with = |provider: &str| token(json!({"secret_key": k, "provider_key": provider}));
    let (two, _, said) = status(&[("authorization", &format!("Bearer {}", with("sk-a"))), ("x-api-key", &with("sk-b"))]).await;
    assert!(two == 401 && said.contains("Two different"), "{said}");
    for headers in [[("x-api-key", with("sk-own")), ("api-key", k.clone())], [("x-api-key", k.clone()), ("api-key", with("sk-own"))]] {
        let [one, other] = &headers;
        let path = format!("/v1/forward?u={}/chat/completions", harness.upstream.url);
        let body = json!({"model": "ok", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100});
        let answer = send(&harness, Method::POST, &path, &[(one.0, &one.1), (other.0, &other.1)], &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert!(harness.upstream.seen().pop().unwrap().head.contains("bearer sk-own"));
    }
    assert!(harness.upstream.seen().iter().all(|seen| !seen.head.contains(&k.to_lowercase()) && !seen.head.contains(&k2.to_lowercase())));
    harness.finish().await;
}

#[tokio::test]
async fn a_base_address_that_was_set_a_little_wrong_is_served() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let (claude, _) = harness.key(json!({"request_shape": "anthropic", "spend_limit": {"amount": "1.00", "cycle": "daily"}})).await;
    for (endpoint, key, body) in [
        ("/chat/completions", &key, chat()),
        ("/messages", &claude, message()),
        ("/messages/count_tokens", &claude, message()),
        ("/models", &key, Value::Null),
        ("/models/fake/ok", &key, Value::Null),
        ("/models/fake%2Fok", &key, Value::Null),
    ] {
        for path in ["/v1{}", "/v1/v1{}", "//v1{}", "/v1/{}", "{}", "/{}", "/v1{}/?beta=true", "/v1/v1{}?key=AIza"] {
            let path = path.replace("{}", endpoint);
            let method = if body.is_null() { Method::GET } else { Method::POST };
            let answer = harness.send(request(method, &path, Some(key), body.clone())).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        }
    }
    // They are counted as what they were meant to be.
    let served = server::router(harness.gateway.clone(), "127.0.0.1:4040".parse().unwrap());
    let page =
        crate::harness::send(&served, Request::get("/metrics").header("host", "localhost").body(Body::empty()).unwrap()).await.text();
    for route in ["/v1/chat/completions", "/v1/messages/count_tokens", "/v1/models"] {
        assert!(page.contains(&format!("http_route=\"{route}\",status=\"2xx\"")), "{route}: {page}");
    }
    assert!(!page.contains("http_route=\"other\",status=\"2xx\""), "{page}");
    // The route that was meant, and never another one.
    for (method, path, status) in [
        (Method::GET, "/v1/chat/completions/", 405),
        (Method::GET, "/v1/spend_keys/", 404),
        (Method::DELETE, "/v1/spend_keys/", 404),
        (Method::GET, "//v1/spend_keys", 404),
        (Method::GET, "/v1/v1/spend_keys/self", 404),
        (Method::GET, "/spend_keys", 404),
        (Method::POST, "/v1/spend_keys//rotate", 404),
        (Method::GET, "/v1/requests/", 404),
        (Method::GET, "/healthz/", 404),
        (Method::GET, "/v1%2Fmodels", 404),
        (Method::GET, "/v1/%6dodels", 404),
        (Method::GET, "/v1/models%2F..%2Fspend_keys", 404),
        (Method::GET, "/v1/models/..%2Fspend_keys", 404),
        (Method::GET, "/v1/models/../spend_keys", 404),
        (Method::GET, "/v1/models/%2e%2e/spend_keys", 404),
        (Method::GET, "/v1/spend_keys/..%2Fmodels", 404),
        (Method::GET, "/v1/spend_keys/self%2F..", 404),
    ] {
        let answer = harness.send(request(method.clone(), path, Some(harness.secret.expose()), Value::Null)).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.text());
        assert_eq!(answer.header("x-should-retry"), Some("false"), "{path}");
        assert!(answer.header("location").is_none());
    }
    harness.finish().await;
}

#[tokio::test]
async fn what_is_not_there_says_what_helps() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    for (path, headers, words, is_anthropic) in [
        ("/v1/responses", &[][..], "useResponsesApi: false", false),
        ("/responses", &[], "wire_api", false),
        ("/v1/responses/resp_1/input_items", &[], "openai.chat(", false),
        ("/v1/completions", &[], "is_chat_model=True", false),
        ("/v1/embeddings", &[], "/v1/forward?u=", false),
        ("/v1/files", &[], "does not serve files yet", false),
        ("/v1/batches", &[], "does not serve batches yet", false),
        ("/v1/realtime", &[], "Realtime", false),
        ("/v1/messages/batches", &[], "does not serve batches yet", true),
        ("/v1/messages/batches/b_1/results", &[], "does not serve batches yet", true),
        ("/v1beta/models/gemini-2.5-flash:generateContent", &[], "Google's own API", false),
        ("/v1/v1beta/models/gemini-2.5-flash:generateContent", &[], "Google's own API", false),
        ("/anthropic/v1/messages", &[], "ANTHROPIC_BASE_URL", true),
        ("/v1/complete", &[("anthropic-version", "2023-06-01")], "ends without /v1", true),
        ("/openai/chat/completions", &[], "OPENAI_BASE_URL", false),
        ("/nowhere", &[], "This gateway has no route /nowhere.", false),
    ] {
        let mut headers = headers.to_vec();
        headers.push(("x-api-key", &key));
        for method in [Method::GET, Method::POST] {
            let answer = send(&harness, method, path, &headers, &json!({})).await;
            let body = answer.json();
            assert_eq!((answer.status.as_u16(), answer.header("x-should-retry")), (404, Some("false")), "{path}");
            assert!(body["error"]["message"].as_str().unwrap().contains(words), "{path}: {body}");
            assert_eq!(body["type"] == "error" && body["request_id"].is_string(), is_anthropic, "{path}: {body}");
        }
    }
    // What the router refuses by itself has the same form.
    for path in ["/v1/requests?limit=many", "/v1/lava_mcp/search?limit=-1", "/v1/models/%ff"] {
        let refused = send(&harness, Method::GET, path, &[("x-api-key", &key)], &Value::Null).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, "invalid_request"), "{path}");
        assert_eq!(refused.header("x-should-retry"), Some("false"), "{path}");
    }
    let asked = send(&harness, Method::POST, "/v1/models/gemini-2.5-flash:generateContent", &[("x-goog-api-key", &key)], &json!({})).await;
    assert!(asked.status == 404 && asked.text().contains("Google's own API"), "{}", asked.text());
    for (method, path) in [(Method::HEAD, "/"), (Method::GET, "/"), (Method::HEAD, "//"), (Method::GET, "//")] {
        let answer = send(&harness, method.clone(), path, &[], &Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(method == Method::GET, answer.text().contains(env!("CARGO_PKG_VERSION")), "{}", answer.text());
    }
    harness.finish().await;
}

#[tokio::test]
async fn a_packed_body_is_read_within_the_bounds_of_any_body() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let post = async |coding: &str, body: Vec<u8>| {
        let request = Request::post("/v1/chat/completions").header("x-api-key", &key).header("content-encoding", coding);
        harness.send(request.body(Body::from(body)).unwrap()).await
    };
    let gzip = |body: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    };
    let packed = gzip(chat().to_string().as_bytes());
    assert_eq!(post("gzip", packed.clone()).await.status, StatusCode::OK);
    assert_eq!(post("gzip, gzip", gzip(&packed)).await.status, StatusCode::OK);
    assert_eq!(harness.upstream.seen()[0].body["messages"], chat()["messages"], "it goes on unpacked");
    assert!(!harness.upstream.seen()[0].head.contains("content-encoding"));
    let bomb = gzip(&vec![b' '; 64 << 20]);
    for (coding, body, status, code) in [
        ("gzip", bomb.clone(), 413, "request_too_large"),
        ("gzip, gzip", gzip(&bomb), 413, "request_too_large"),
        ("gzip", b"not packed".to_vec(), 400, "invalid_request"),
        ("br", packed.clone(), 400, "invalid_request"),
        ("zstd", packed[..20].to_vec(), 400, "invalid_request"),
        ("compress", packed.clone(), 415, "content_encoding_not_supported"),
    ] {
        let answer = post(coding, body).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{coding}: {}", answer.text());
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert_eq!(answer.header("accept-encoding"), (status == 415).then_some("gzip, deflate, br, zstd"));
    }
    // The routes that set something read theirs the same way.
    let create = Request::post("/v1/spend_keys").header("x-api-key", harness.secret.expose()).header("content-encoding", "gzip");
    let made = harness.send(create.body(Body::from(gzip(br#"{"name": "packed"}"#))).unwrap()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    harness.finish().await;
}

#[tokio::test]
async fn a_host_that_is_not_known_is_answered_at_once_however_long_it_is() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let bearer = format!("Bearer {key}");
    let ask = async |host: &str| {
        let began = std::time::Instant::now();
        let path = format!("/v1/forward?u=https://{host}/v1/models");
        let answer = send(&harness, Method::GET, &path, &[("authorization", &bearer)], &Value::Null).await;
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::BAD_REQUEST, "forward_endpoint_not_supported"), "{host}");
        (answer.text(), began.elapsed())
    };
    let (text, elapsed) = ask(&"a".repeat(30_000)).await;
    assert!(elapsed < std::time::Duration::from_secs(3), "{elapsed:?}");
    assert!(!text.contains("The nearest is"), "{text}");
    let (text, _) = ask("api.openai.con").await;
    assert!(text.contains("The nearest is openai, at https://api.openai.com/v1"), "{text}");
    let (text, _) = ask("com").await;
    assert!(!text.contains("The nearest is"), "{text}");
    harness.finish().await;
}
