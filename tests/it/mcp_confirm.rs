//! Asking a person before a dear call, in both eras, and what happens with a client that cannot.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{
    fake_upstream::FakeUpstream,
    mcp_stdio::{Server, entries, error_code, with_upstream},
    remote,
};

/// At the test's prices 100,000 tokens of output cost 0.20 USD.
fn dear() -> Value {
    json!({"model": "fake/ok", "input": "Hi", "max_tokens": 100_000})
}

fn start(home: &Path, upstream: &FakeUpstream, modern: bool, can_ask: bool) -> Server {
    let mut command = with_upstream(home, upstream);
    // The limit of the session is another question.
    command.env("LAVA_ASK_ABOVE", "0.01").env("LAVA_ASK", "0");
    let capabilities = if can_ask { json!({"elicitation": {}}) } else { json!({}) };
    let mut server = Server::start_with(command, modern, capabilities);
    assert_eq!(server.call("login", json!({}))["isError"], false);
    server
}

/// Makes a call, answers the question that comes as a person does, and returns the question with the result.
fn answered(server: &mut Server, tool: &str, arguments: &Value, action: &str) -> (String, Value) {
    // Nobody reads faster; a yes may be as fast as it likes.
    let time = if action == "accept" { Duration::ZERO } else { Duration::from_millis(1_050) };
    answered_after(server, tool, arguments, action, time)
}

fn answered_after(server: &mut Server, tool: &str, arguments: &Value, action: &str, time: Duration) -> (String, Value) {
    let params = json!({"name": tool, "arguments": arguments});
    if server.modern {
        let asked = server.request("tools/call", params.clone())["result"].clone();
        assert_eq!(asked["resultType"], "input_required", "{asked}");
        let question = &asked["inputRequests"]["confirm"];
        assert_eq!((&question["method"], &question["params"]["mode"]), (&json!("elicitation/create"), &json!("form")), "{question}");
        std::thread::sleep(time);
        let mut again = params;
        again["requestState"] = asked["requestState"].clone();
        again["inputResponses"] = json!({"confirm": {"action": action}});
        let result = server.request("tools/call", again)["result"].clone();
        return (question["params"]["message"].as_str().unwrap().to_owned(), result);
    }
    let id = server.post("tools/call", params);
    let question = server.read();
    assert_eq!(question["method"], "elicitation/create", "{question}");
    std::thread::sleep(time);
    server.send(&json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": action}}).to_string());
    (question["params"]["message"].as_str().unwrap().to_owned(), server.answer(id)["result"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_asked_above_the_threshold() {
    let upstream = FakeUpstream::start().await;
    for modern in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut server = start(home.path(), &upstream, modern, true);
        let cheap = server.call("prompt", json!({"model": "fake/ok", "input": "Hi", "max_tokens": 50}));
        assert_eq!(cheap["isError"], false, "nobody is asked: {cheap}");

        let (question, refused) = answered(&mut server, "prompt", &dear(), "decline");
        assert!(question.contains("up to 0.20") && question.contains("fake/ok") && question.contains("0.01"), "{question}");
        assert_eq!(error_code(&refused), "declined");
        assert_eq!(entries(home.path()).len(), 1, "nothing was spent on it");
        assert_eq!(error_code(&answered(&mut server, "prompt", &dear(), "cancel").1), "not_confirmed");

        let (_, paid) = answered(&mut server, "prompt", &dear(), "accept");
        assert_eq!(paid["structuredContent"]["content"], "Hello there.", "{paid}");
        assert_eq!(entries(home.path()).len(), 2);
        let body = json!({"model": "ok", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100_000});
        let url = format!("{}/chat/completions", upstream.url);
        let (question, paid) = answered(&mut server, "call", &json!({"url": url, "body": body, "max_cost": "5"}), "accept");
        assert!(question.contains(&format!("POST {url}")), "{question}");
        assert_eq!(paid["structuredContent"]["status"], 200, "{paid}");

        // The caller's own limit is below what it may cost: then there is nothing to ask.
        let mut limited = dear();
        limited["max_cost"] = "0.05".into();
        let refused = server.call("prompt", limited);
        assert_eq!(error_code(&refused), "max_cost_exceeded");
        assert_eq!(refused["structuredContent"]["error"]["max_cost"], "0.05");
        // Without max_tokens the answer is fitted below the threshold.
        assert_eq!(server.call("prompt", json!({"model": "fake/ok", "input": "Hi"}))["isError"], false);
        server.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_that_nobody_can_have_said_names_the_setting() {
    let upstream = FakeUpstream::start().await;
    for modern in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut server = start(home.path(), &upstream, modern, true);
        for action in ["decline", "cancel"] {
            let (_, refused) = answered_after(&mut server, "prompt", &dear(), action, Duration::ZERO);
            let error = &refused["structuredContent"]["error"];
            assert!(refused["isError"] == true && error["message"].as_str().unwrap().contains("by itself"), "{action}: {refused}");
            assert!(error["hint"].as_str().unwrap().contains("LAVA_ASK_ABOVE"), "{error}");
        }
        assert!(entries(home.path()).is_empty());
        // It is not remembered: whoever reads the question may still say yes.
        assert_eq!(answered(&mut server, "prompt", &dear(), "accept").1["isError"], false);
        server.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_changes_something_is_asked_about_whatever_it_costs() {
    let upstream = FakeUpstream::start().await;
    for modern in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut server = start(home.path(), &upstream, modern, true);
        let arguments = json!({"url": format!("{}/files/1", upstream.url), "method": "DELETE"});
        let (question, refused) = answered(&mut server, "call", &arguments, "decline");
        assert!(question.contains("DELETE") && question.contains("/files/1"), "{question}");
        assert_eq!(error_code(&refused), "declined");
        server.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cannot_ask_is_told_the_way_out() {
    let upstream = FakeUpstream::start().await;
    for modern in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut server = start(home.path(), &upstream, modern, false);
        let refused = server.call("prompt", dear());
        assert_eq!(error_code(&refused), "confirmation_needed");
        let hint = refused["structuredContent"]["error"]["hint"].as_str().unwrap();
        assert!(hint.contains("LAVA_ASK_ABOVE") && hint.contains("max_tokens"), "{hint}");
        assert!(entries(home.path()).is_empty());
        server.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_is_good_for_one_call_and_no_other() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut server = start(home.path(), &upstream, true, true);
    let asked = server.request("tools/call", json!({"name": "prompt", "arguments": dear()}))["result"].clone();
    let with = |arguments: Value, state: Value| json!({"name": "prompt", "arguments": arguments, "requestState": state, "inputResponses": {"confirm": {"action": "accept"}}});
    let mut dearer = dear();
    dearer["max_tokens"] = 200_000.into();
    for (arguments, state) in [(dearer, asked["requestState"].clone()), (dear(), json!("0123456789abcdef0123456789abcdef"))] {
        let again = server.request("tools/call", with(arguments, state))["result"].clone();
        assert_eq!(again["resultType"], "input_required", "it is asked anew: {again}");
    }
    let paid = server.request("tools/call", with(dear(), asked["requestState"].clone()))["result"].clone();
    assert_eq!(paid["isError"], false, "{paid}");
    let twice = server.request("tools/call", with(dear(), asked["requestState"].clone()))["result"].clone();
    assert_eq!(twice["resultType"], "input_required", "{twice}");
    assert_eq!(entries(home.path()).len(), 1);

    // With an idempotency key, a question is no result to remember.
    let mut keyed = dear();
    keyed["idempotency_key"] = "k".into();
    let (_, first) = answered(&mut server, "prompt", &keyed, "accept");
    assert_eq!(first["isError"], false, "{first}");
    assert_eq!(server.call("prompt", keyed)["structuredContent"], first["structuredContent"]);
    assert_eq!(entries(home.path()).len(), 2);
    server.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_price_is_told_beforehand_each_call_is_asked_about() {
    let address = remote::start().await;
    for modern in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut command = remote::client(home.path(), &address);
        command.env("LAVA_ASK_ABOVE", "1.00").env("LAVA_ASK", "0");
        let mut server = Server::start_with(command, modern, json!({"elicitation": {"form": {}}}));
        server.call("login", json!({}));
        let asked = json!({"model": "gpt-4o-mini", "input": "Hi"});
        let (question, refused) = answered(&mut server, "prompt", &asked, "decline");
        assert!(question.contains("does not say in advance"), "{question}");
        assert_eq!(error_code(&refused), "declined");
        let (_, paid) = answered(&mut server, "prompt", &asked, "accept");
        assert_eq!(paid["structuredContent"]["content"], "Hello from Lava", "{paid}");
        server.close();
    }
}
