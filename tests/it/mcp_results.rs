//! What answers that are long, or no text, become: cut with a way to read on, images and sound that a client can show, and nothing that hides.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    fake_upstream::{FakeUpstream, PNG, base64},
    mcp_stdio::{Server, error_code, with_upstream},
};

/// The most a result may have, in characters, unless it was asked for more.
const CHARS_MAX: usize = 20_000;

fn ready(home: &Path, upstream: &FakeUpstream, modern: bool) -> Server {
    let mut server = Server::start(with_upstream(home, upstream), modern);
    assert_eq!(server.call("login", json!({}))["isError"], false);
    server
}

fn words(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

fn is_within(result: &Value, max: usize) -> bool {
    words(result).chars().count() <= max && result["structuredContent"].to_string().chars().count() <= max
}

fn ask(url: &str, model: &str) -> Value {
    json!({"url": format!("{url}/chat/completions"), "body": {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50}})
}

/// The same at an endpoint whose answers may be anything.
fn ask_for_bytes(url: &str, model: &str) -> Value {
    json!({"url": format!("{url}/embeddings"), "body": {"model": model, "input": "Hi"}})
}

/// Reads a cut result to its end, as an agent does that only has tools.
fn read_on(server: &mut Server, truncated: &Value) -> String {
    let mut all = String::new();
    let mut next = truncated["next"].clone();
    while next.is_string() {
        let page = server.call("call", json!({ "url": next }));
        assert!(is_within(&page, CHARS_MAX));
        assert_eq!(page["structuredContent"]["cost"], "0.00");
        all.push_str(page["structuredContent"]["body"].as_str().unwrap());
        next = page["structuredContent"]["truncated"]["next"].clone();
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_is_cut_and_can_be_read_on() {
    let upstream = FakeUpstream::start().await;
    for modern in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut server = ready(home.path(), &upstream, modern);
        for length in [6_000, 12_000, 70_000] {
            let prompt = server.call("prompt", json!({"model": format!("fake/long-{length}"), "input": "Hi"}));
            let answer = &prompt["structuredContent"];
            assert!(is_within(&prompt, CHARS_MAX), "{length}");
            let (mut text, rest) = (answer["content"].as_str().unwrap().to_owned(), answer["truncated"].clone());
            assert_eq!(rest.is_null(), length < 15_000, "{rest}");
            text.push_str(&read_on(&mut server, &rest));
            assert!(text.ends_with("\"quotes\"\nend") && text.len() > length - 30, "{length}: {}", text.len());
            if !rest.is_null() {
                assert_eq!(rest["total_chars"], text.len());
                assert_eq!(std::fs::read_to_string(rest["file"].as_str().unwrap()).unwrap(), text);
                assert!(words(&prompt).contains(rest["next"].as_str().unwrap()), "the words say where it goes on");
                let link = &prompt["content"][1];
                assert_eq!((&link["type"], &link["mimeType"]), (&json!("resource_link"), &json!("text/plain")));
                let whole = server.request("resources/read", json!({"uri": link["uri"]}));
                assert_eq!(whole["result"]["contents"][0]["text"], text);
            }
        }
        let call = server.call("call", ask(&upstream.url, "long-70000"));
        assert!(is_within(&call, CHARS_MAX));
        let answer = &call["structuredContent"];
        let mut text = answer["body"].as_str().unwrap().to_owned();
        text.push_str(&read_on(&mut server, &answer["truncated"]));
        let whole: Value = serde_json::from_str(&text).unwrap();
        assert!(whole["choices"][0]["message"]["content"].as_str().unwrap().ends_with("end"));
        server.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_call_of_a_function_is_kept_whole() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut server = ready(home.path(), &upstream, true);
    let prompt = server.call("prompt", json!({"model": "fake/calls-long", "input": "Hi"}));
    assert!(is_within(&prompt, CHARS_MAX), "{}", prompt.to_string().len());
    let answer = &prompt["structuredContent"];
    assert_eq!((&answer["content"], &answer["message"]), (&json!("Calling."), &json!({"role": "assistant"})));
    let whole: Value = serde_json::from_str(&read_on(&mut server, &answer["truncated"])).unwrap();
    assert_eq!(whole["tool_calls"][0]["function"]["arguments"].as_str().unwrap().len(), 40_011);
    let asked = json!({"model": "fake/calls-long", "input": "Hi", "max_tokens": 20_000});
    let prompt = server.call("prompt", asked);
    assert!(is_within(&prompt, 100_000));
    assert_eq!(prompt["structuredContent"]["message"]["tool_calls"], whole["tool_calls"]);
    server.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_asked_for_at_length_comes_whole() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut server = ready(home.path(), &upstream, true);
    let prompt = server.call("prompt", json!({"model": "fake/long-60000", "input": "Hi", "max_tokens": 16_000}));
    let answer = &prompt["structuredContent"];
    assert!(answer["content"].as_str().unwrap().ends_with("end") && answer["truncated"].is_null());
    assert!(is_within(&prompt, 100_000) && !is_within(&prompt, CHARS_MAX));
    let tools = server.request("tools/list", json!({}))["result"]["tools"].clone();
    let lets_pass: Vec<&Value> = tools.as_array().unwrap().iter().filter(|tool| tool["_meta"].is_object()).collect();
    assert_eq!((lets_pass.len(), &lets_pass[0]["name"]), (1, &json!("prompt")));
    assert_eq!(lets_pass[0]["_meta"]["anthropic/maxResultSizeChars"], 100_000);
    server.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn images_and_sound_come_as_such() {
    let upstream = FakeUpstream::start().await;
    for modern in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut server = ready(home.path(), &upstream, modern);
        let image = json!({"type": "image", "data": base64(PNG), "mimeType": "image/png"});
        for arguments in [ask_for_bytes(&upstream.url, "png"), ask(&upstream.url, "draws")] {
            let call = server.call("call", arguments);
            assert!(call["content"].as_array().unwrap().contains(&image), "{call}");
            assert!(!call["structuredContent"].to_string().contains(&base64(PNG)), "the image is not said twice");
        }
        let about = server.call("call", ask_for_bytes(&upstream.url, "png"))["structuredContent"]["body"].clone();
        assert_eq!((&about["media_type"], &about["bytes"]), (&json!("image/png"), &json!(PNG.len())), "{about}");
        assert_eq!(std::fs::read(about["file"].as_str().unwrap()).unwrap(), PNG);
        let blob = server.request("resources/read", json!({"uri": about["uri"]}))["result"]["contents"][0].clone();
        assert_eq!((&blob["blob"], &blob["mimeType"]), (&json!(base64(PNG)), &json!("image/png")));
        let again = server.call("call", json!({"url": about["uri"]}));
        assert!(again["content"].as_array().unwrap().contains(&image), "{again}");

        let prompt = server.call("prompt", json!({"model": "fake/draws", "input": "Hi", "max_tokens": 50}));
        let content = prompt["content"].as_array().unwrap();
        assert!(content.contains(&image), "{prompt}");
        assert!(content.contains(&json!({"type": "audio", "data": base64(b"ID3 sound"), "mimeType": "audio/mpeg"})), "{prompt}");
        let message = &prompt["structuredContent"]["message"];
        assert_eq!(message["images"][0]["image_url"]["url"]["media_type"], "image/png");
        assert_eq!((&message["audio"]["transcript"], &message["audio"]["data"]["bytes"]), (&json!("Here"), &json!(9)));

        // What only says that it is an image could end a conversation.
        let wrong = server.call("call", ask_for_bytes(&upstream.url, "wav-called-png"));
        assert!(wrong["content"].as_array().unwrap().iter().all(|block| block["type"] != "image"), "{wrong}");
        let binary = server.call("call", ask_for_bytes(&upstream.url, "binary"));
        let kinds: Vec<&Value> = binary["content"].as_array().unwrap().iter().map(|block| &block["type"]).collect();
        assert_eq!(kinds, ["text", "resource_link"], "{binary}");
        assert_eq!(binary["structuredContent"]["body"]["media_type"], "application/octet-stream");
        server.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_first_revision_gets_nothing_it_does_not_know() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start_as(with_upstream(home.path(), &upstream), "2024-11-05");
    server.call("login", json!({}));
    let prompt = server.call("prompt", json!({"model": "fake/draws", "input": "Hi", "max_tokens": 50}));
    let kinds: Vec<&Value> = prompt["content"].as_array().unwrap().iter().map(|block| &block["type"]).collect();
    assert_eq!(kinds, ["text", "image"]);
    server.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_only_read_by_its_session() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut server = ready(home.path(), &upstream, true);
    let about = server.call("call", ask_for_bytes(&upstream.url, "png"))["structuredContent"]["body"].clone();
    server.close();
    let uri = about["uri"].as_str().unwrap();
    // The same client in a new process may.
    let mut same = Server::start(with_upstream(home.path(), &upstream), true);
    assert!(same.request("resources/read", json!({"uri": uri}))["result"]["contents"][0]["blob"].is_string());
    for wrong in [
        "lava-mcp://results/00000000000000000000000000000000",
        "lava-mcp://results/../ledger",
        "lava-mcp://results/",
        &format!("{uri}?offset=x"),
    ] {
        assert_eq!(error_code(&same.call("call", json!({"url": wrong}))), "result_not_found", "{wrong}");
        assert_eq!(same.request("resources/read", json!({"uri": wrong}))["error"]["code"], -32602, "{wrong}");
    }
    same.close();
    let mut other = Server::start_named(with_upstream(home.path(), &upstream), "another client");
    assert_eq!(other.request("resources/read", json!({"uri": uri}))["error"]["code"], -32602);
    assert_eq!(error_code(&other.call("call", json!({"url": uri}))), "result_not_found");
    other.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hides_in_an_answer_is_not_shown() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut server = ready(home.path(), &upstream, true);
    for result in [
        server.call("prompt", json!({"model": "fake/hides", "input": "Hi", "max_tokens": 50})),
        server.call("call", ask(&upstream.url, "hides")),
        server.call("prompt", json!({"model": "fake/no\u{202e}ne\u{200b}", "input": "Hi", "max_tokens": 50})),
        server.call("search", json!({"query": "x\u{202e}y\u{e0041}z"})),
        server.call("get_provider_docs", json!({"provider": "x\u{202e}y"})),
    ] {
        let shown = result.to_string();
        assert!(!shown.contains(['\u{202e}', '\u{200b}', '\u{e0041}']), "{shown}");
    }
    server.close();
}

#[test]
fn no_tool_says_more_than_it_may() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::sandbox(home.path(), true);
    server.call("login", json!({}));
    for (tool, arguments) in [
        ("search", json!({"query": "", "provider": "openai", "limit": 25})),
        ("search", json!({"query": "vision", "limit": 25})),
        ("get_provider_docs", json!({"provider": "openai"})),
        ("usage", json!({"limit": 50})),
        ("prompt", json!({"model": "x".repeat(50_000), "input": "Hi"})),
        ("get_provider_docs", json!({"provider": "x".repeat(50_000)})),
        ("call", json!({"url": "x".repeat(50_000)})),
        ("call", json!({"url": format!("https://{}.com/", "x".repeat(50_000))})),
        ("shell", json!({})),
    ] {
        let result = server.call(tool, arguments);
        assert!(result.is_null() || is_within(&result, CHARS_MAX), "{tool}: {}", result.to_string().len());
    }
    // A page that was cut short goes on where it ended.
    let mut seen = Vec::new();
    let mut arguments = json!({"query": "", "provider": "openai", "limit": 25});
    loop {
        let page = server.call("search", arguments.clone())["structuredContent"].clone();
        seen.extend(page["results"].as_array().unwrap().iter().map(|hit| hit["id"].to_string()));
        if page["next_cursor"].is_null() {
            assert_eq!(page["total"], seen.len());
            break;
        }
        arguments["cursor"] = page["next_cursor"].clone();
    }
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count);
    server.close();
}
