//! In which form a request may come over HTTP, and in which its answer goes back: `Accept`, ids, batches, and ends of sessions.

use std::time::Duration;

use reqwest::{StatusCode, header::HeaderValue};
use serde_json::{Value, json};

use super::{Client, Serving, Sse, last_message, modern};
use crate::server::json_of;

fn about(revision: &str) -> Value {
    let params = json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "raw test", "version": "1"}});
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
}

async fn begin(client: &Client, revision: &str) -> String {
    let answer = client.post(&about(revision)).send().await.unwrap();
    answer.headers()["mcp-session-id"].to_str().unwrap().to_owned()
}

fn ping(id: impl Into<Value>) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": "ping"})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_accept_header_that_can_be_served_is_served() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    let (asked, _) = modern("tools/list", json!({}));
    let (events, json_form) = ("text/event-stream", "application/json");
    for (lines, of_session, without) in [
        (&[][..], events, json_form),
        (&["*/*"], events, json_form),
        (&["application/json, text/event-stream"], events, json_form),
        (&["text/event-stream;q=0.5;x=\"y\", APPLICATION/JSON; q=1"], events, json_form),
        (&["text/event-stream", "application/json"], events, json_form),
        (&["application/*, text/*"], events, json_form),
        (&["application/json"], json_form, json_form),
        (&["application/*"], json_form, json_form),
        (&["text/event-stream"], events, events),
        (&["*/*, application/json;q=0"], events, events),
    ] {
        let request = |message: &Value| {
            let mut request = serving.http.post(format!("{}/mcp", serving.root)).header("content-type", "application/json");
            for line in lines {
                request = request.header("accept", HeaderValue::from_str(line).unwrap());
            }
            request.body(message.to_string()).build().unwrap()
        };
        let begun = serving.http.execute(request(&about("2025-11-25"))).await.unwrap();
        assert_eq!((begun.status(), begun.headers()["content-type"].to_str().unwrap()), (StatusCode::OK, of_session), "{lines:?}");
        assert!(begun.headers().contains_key("mcp-session-id"));
        assert_eq!(last_message(begun).await["result"]["protocolVersion"], "2025-11-25");
        let mut request = request(&asked);
        request.headers_mut().insert("mcp-protocol-version", HeaderValue::from_static("2026-07-28"));
        request.headers_mut().insert("mcp-method", HeaderValue::from_static("tools/list"));
        let listed = serving.http.execute(request).await.unwrap();
        assert_eq!((listed.status(), listed.headers()["content-type"].to_str().unwrap()), (StatusCode::OK, without), "{lines:?}");
        assert!(last_message(listed).await["result"]["tools"].is_array());
    }
    for accept in ["text/html", "application/json;q=0", "image/*"] {
        let request =
            serving.http.post(format!("{}/mcp", serving.root)).header("content-type", "application/json").header("accept", accept);
        let refused = request.body(ping("me").to_string()).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::NOT_ACCEPTABLE, "{accept}");
        assert_eq!(json_of(refused).await["id"], "me");
    }
    let session = begin(&serving, "2025-11-25").await;
    for (accept, status) in [("text/*", 200), ("*/*", 200), ("text/html, */*;q=0.1", 200), ("application/json", 406)] {
        let listening = serving.http.get(format!("{}/mcp", serving.root)).header("mcp-session-id", &session).header("accept", accept);
        assert_eq!(listening.send().await.unwrap().status(), status, "{accept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_only_json_gets_the_answer_of_a_long_call() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    let params =
        json!({"protocolVersion": "2025-06-18", "capabilities": {"elicitation": {}}, "clientInfo": {"name": "raw test", "version": "1"}});
    let begun = serving.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})).send().await.unwrap();
    let session = begun.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    // It says that it can be asked, and could not hear the question.
    for (name, arguments) in [("login", json!({})), ("prompt", json!({"model": "gpt-4o-mini", "input": "Hi", "max_tokens": 20}))] {
        let message = json!({"jsonrpc": "2.0", "id": name, "method": "tools/call", "params": {"name": name, "arguments": arguments, "_meta": {"progressToken": 1}}});
        let request = serving.http.post(format!("{}/mcp", serving.root)).header("content-type", "application/json");
        let request = request.header("accept", "application/json").header("mcp-session-id", &session).body(message.to_string());
        let answer = json_of(request.send().await.unwrap()).await;
        assert_eq!((&answer["id"], &answer["result"]["isError"]), (&json!(name), &json!(false)), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_which_request_they_are_about() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    let session = begin(&serving, "2025-11-25").await;
    let mut sse = Sse::connect(&serving).await;
    sse.introduce(&serving.http).await;
    let cases: Vec<(Vec<u8>, Value, i32)> = vec![
        (br#"{"jsonrpc":"2.0","id":5,"method":"ping","params":{"a":"\ud83d"}}"#.to_vec(), json!(5), -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"caf\xe9\"}".to_vec(), json!("x"), -32700),
        (br#"{"jsonrpc":"2.0","id":5,"method":"pi\ud83dng"}"#.to_vec(), json!(5), -32700),
        (br#"{"id":6,"method":"ping"}"#.to_vec(), json!(6), -32600),
        (br#"{"jsonrpc":"2.0","id":7.5,"method":"ping"}"#.to_vec(), json!(7.5), -32600),
        (br#"{"jsonrpc":"2.0","id":8,"method":"tools/list","params":[]}"#.to_vec(), json!(8), -32602),
        (br#"{"jsonrpc":"2.0","id":9,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#.to_vec(), json!(9), -32602),
        (b"{".to_vec(), Value::Null, -32700),
        (br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#.to_vec(), Value::Null, -32600),
    ];
    for (body, id, code) in cases {
        let shown = String::from_utf8_lossy(&body).into_owned();
        for url in [format!("{}/mcp", serving.root), sse.endpoint.clone()] {
            let request = serving
                .http
                .post(&url)
                .header("accept", "*/*")
                .header("content-type", "application/json")
                .header("mcp-session-id", &session);
            let answer = request.body(body.clone()).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{shown}");
            let error = json_of(answer).await;
            assert_eq!((&error["id"], &error["error"]["code"]), (&id, &json!(code)), "{shown}: {error}");
        }
        // Who waits at the stream hears it there.
        if !id.is_null() {
            assert_eq!(sse.receive().await["id"], id);
        }
    }
    let fits_not = json!({"jsonrpc": "2.0", "id": 10, "method": "tools/call", "params": {"arguments": {}}});
    let error = last_message(serving.in_session(&session, &fits_not).send().await.unwrap()).await;
    assert_eq!((&error["id"], &error["error"]["code"]), (&json!(10), &json!(-32602)));
    assert_eq!(sse.request(&serving.http, "tools/call", json!({})).await["error"]["code"], -32602);
    // What rmcp says without an id, or in plain text.
    for (request, status) in [
        (serving.post(&ping(11)), 400),
        (serving.in_session("3f1c0000-0000-4000-8000-000000000000", &ping(11)), 404),
        (serving.post(&ping(11)).header("mcp-session-id", &session).header("mcp-protocol-version", "2099-01-01"), 400),
        (serving.post(&ping(11)).header("mcp-protocol-version", "2099-01-01"), 400),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        let error = json_of(answer).await;
        assert!(error["id"] == 11 && error["error"]["code"].is_i64(), "{error}");
    }
    let with_mark = format!("\u{feff}{}", ping(12));
    assert_eq!(last_message(serving.in_session(&session, &json!({})).body(with_mark).send().await.unwrap()).await["id"], 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_comes_back_as_one_in_the_revision_that_has_them() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    let session = begin(&serving, "2025-03-26").await;
    let send = |message: Value| serving.post(&message).header("mcp-session-id", &session).send();
    let answers = json_of(send(json!([ping(1), ping("two")])).await.unwrap()).await;
    assert_eq!(answers, json!([{"jsonrpc": "2.0", "id": 1, "result": {}}, {"jsonrpc": "2.0", "id": "two", "result": {}}]));
    let mixed = json_of(
        send(json!([
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "search", "arguments": {"query": "gpt-4o"}}},
            {"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": {}},
            about("2025-03-26"),
            {"id": 5, "method": "ping"},
        ]))
        .await
        .unwrap(),
    )
    .await;
    let codes: Vec<(&Value, &Value)> = mixed.as_array().unwrap().iter().map(|answer| (&answer["id"], &answer["error"]["code"])).collect();
    assert_eq!(codes, [(&json!(3), &Value::Null), (&json!(4), &json!(-32602)), (&json!(1), &json!(-32600)), (&json!(5), &json!(-32600))]);
    let notes =
        send(json!([{"jsonrpc": "2.0", "method": "notifications/initialized"}, {"jsonrpc": "2.0", "id": 1, "result": {}}])).await.unwrap();
    assert_eq!((notes.status(), notes.text().await.unwrap().len()), (StatusCode::ACCEPTED, 0));
    for (revision, message) in [("2025-03-26", json!([])), ("2025-06-18", json!([ping(1)])), ("2025-11-25", json!([ping(1), ping(2)]))] {
        let session = begin(&serving, revision).await;
        let refused = serving.post(&message).header("mcp-session-id", &session).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{revision}");
        let error = json_of(refused).await;
        assert!(error["error"]["code"] == -32600 && error["error"]["message"].as_str().unwrap().contains("batch"), "{error}");
    }
    let mut sse = Sse::connect(&serving).await;
    sse.send(&serving.http, &about("2025-03-26")).await;
    assert_eq!(sse.receive().await["result"]["protocolVersion"], "2025-03-26");
    sse.send(&serving.http, &json!([ping(1), ping(2)])).await;
    assert_eq!(sse.receive().await.as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_a_batch_is_answered_whatever_the_others_are() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    let session = begin(&serving, "2025-03-26").await;
    let send = |body: Vec<u8>| serving.post(&Value::Null).header("mcp-session-id", &session).body(body).send();
    let mut many = (0..1_001).map(ping).collect::<Vec<_>>();
    let too_many = json_of(send(serde_json::to_vec(&many).unwrap()).await.unwrap()).await;
    assert!(too_many["error"]["message"].as_str().unwrap().contains("at most 1000"), "{too_many}");
    many.pop();
    assert_eq!(json_of(send(serde_json::to_vec(&many).unwrap()).await.unwrap()).await.as_array().map(Vec::len), Some(1_000));
    let broken = b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"},{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\",\"params\":{\"a\":\"\xff\"}}]";
    for (body, expected) in [
        (json!([ping(5), ping(5), ping(6)]).to_string().into_bytes(), vec![(json!(5), 0), (json!(5), -32600), (json!(6), 0)]),
        (
            b"[{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\"},{\"jsonrpc\":\"2.0\",\"id\":7.0,\"method\":\"ping\"}]".to_vec(),
            vec![(json!(7), 0), (json!(7), -32600)],
        ),
        (broken.to_vec(), vec![(json!(1), 0), (json!(2), -32700)]),
    ] {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let answers = tokio::time::timeout(Duration::from_secs(20), async { json_of(send(body).await.unwrap()).await }).await;
        let answers = answers.unwrap_or_else(|_| panic!("no answer to {shown}"));
        let got: Vec<(Value, i64)> = answers
            .as_array()
            .unwrap()
            .iter()
            .map(|answer| (answer["id"].clone(), answer["error"]["code"].as_i64().unwrap_or(0)))
            .collect();
        let as_written = |id: &Value| id.as_f64().unwrap();
        assert_eq!(got.len(), expected.len(), "{shown}: {answers}");
        for ((id, code), (wanted_id, wanted)) in got.iter().zip(&expected) {
            assert_eq!((as_written(id), code), (as_written(wanted_id), wanted), "{shown}: {answers}");
        }
    }
    // An id of a call that is under way elsewhere.
    let call = json!({"jsonrpc": "2.0", "id": 50, "method": "tools/call", "params": {"name": "login", "arguments": {}}});
    let (alone, batch) = tokio::join!(send(call.to_string().into_bytes()), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        json_of(send(json!([ping(50), ping(51)]).to_string().into_bytes()).await.unwrap()).await
    });
    assert_eq!(batch[1]["result"], json!({}), "{batch}");
    assert_eq!(last_message(alone.unwrap()).await["result"]["isError"], false, "it has its answer, whatever the other one got");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_is_refused_where_its_answer_is_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    let large = format!("{{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"ping\",\"params\":{{\"a\":\"{}\"}}}}", "x".repeat(34 << 20));
    let session = begin(&serving, "2025-11-25").await;
    let mut sse = Sse::connect(&serving).await;
    sse.introduce(&serving.http).await;
    for url in [format!("{}/mcp", serving.root), sse.endpoint.clone()] {
        let request =
            serving.http.post(&url).header("accept", "application/json, text/event-stream").header("content-type", "application/json");
        let answer = request.header("mcp-session-id", &session).body(large.clone()).send().await;
        // The rest is not read, so a client may find the connection closed before it has read this.
        if let Ok(answer) = answer {
            assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
            assert_eq!(json_of(answer).await["id"], 5);
        }
    }
    let told = sse.receive().await;
    assert!(told["id"] == 5 && told["error"]["message"].as_str().unwrap().contains("33 MiB"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_and_begins_as_clients_expect() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    let session = begin(&serving, "2025-06-18").await;
    let end = || serving.http.delete(format!("{}/mcp", serving.root)).header("mcp-session-id", &session).send();
    let ended = end().await.unwrap();
    assert_eq!((ended.status(), ended.text().await.unwrap().len()), (StatusCode::NO_CONTENT, 0));
    assert_eq!(end().await.unwrap().status(), StatusCode::NOT_FOUND);
    // A client that begins again may still name the session that has ended.
    let again = serving.post(&about("2025-11-25")).header("mcp-session-id", &session).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::OK);
    assert_ne!(again.headers()["mcp-session-id"].to_str().unwrap(), session);
    let slash = serving.http.post(format!("{}/mcp/", serving.root)).header("content-type", "application/json").header("accept", "*/*");
    let begun = slash.body(about("2025-11-25").to_string()).send().await.unwrap();
    assert_eq!(begun.status(), StatusCode::OK);
    let session = begun.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let end = serving.http.delete(format!("{}/mcp/", serving.root)).header("mcp-session-id", &session).send().await.unwrap();
    assert_eq!(end.status(), StatusCode::NO_CONTENT);
    // The same request twice at a time would leave one of them without an answer.
    let session = begin(&serving, "2025-11-25").await;
    assert_eq!(last_message(serving.in_session(&session, &ping(1)).send().await.unwrap()).await["result"], json!({}));
    assert_eq!(last_message(serving.in_session(&session, &ping(1)).send().await.unwrap()).await["result"], json!({}));
}
