//! Schemas that every model understands, and arguments as models and clients really send them.

use serde_json::{Map, Value, json};

use crate::{
    fake_upstream::FakeUpstream,
    mcp_stdio::{Server, error_code, with_upstream},
};

/// What Gemini's `FunctionDeclaration`, OpenAI's strict mode and Anthropic's schemas have in common.
const KEYWORDS: [&str; 7] = ["type", "description", "properties", "required", "items", "enum", "anyOf"];
const TYPES: [&str; 6] = ["object", "array", "string", "integer", "number", "boolean"];

/// What is wrong with a schema, by its place.
fn faults(schema: &Value, place: &str, found: &mut Vec<String>) {
    let mut fault = |what: String| found.push(format!("{place}: {what}"));
    let Some(fields) = schema.as_object() else { return fault(format!("{schema} is not an object")) };
    for name in fields.keys().filter(|name| !KEYWORDS.contains(&name.as_str())) {
        fault(format!("{name} is not understood everywhere"));
    }
    if let Some(words) = fields.get("enum") {
        let words = words.as_array().unwrap();
        if words.is_empty() || !words.iter().all(Value::is_string) || fields["type"] != "string" {
            fault(format!("{words:?} is no list of words"));
        }
    }
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    if let Some(choices) = fields.get("anyOf") {
        // Gemini takes nothing beside it, OpenAI none at the top.
        if fields.len() > 1 || !place.contains('.') {
            fault("something is said beside anyOf".to_owned());
        }
        for (at, choice) in choices.as_array().unwrap().iter().enumerate() {
            faults(choice, &format!("{place}.{at}"), found);
        }
        return;
    }
    if !TYPES.contains(&kind) {
        fault(format!("its type is {:?}", fields.get("type")));
    }
    match (kind, fields.get("items")) {
        ("array", Some(items)) => faults(items, &format!("{place}.items"), found),
        ("array", None) => fault("items are missing".to_owned()),
        (_, Some(_)) => fault("items without an array".to_owned()),
        _ => {}
    }
    let empty = Map::new();
    let properties = fields.get("properties").map_or(&empty, |properties| properties.as_object().unwrap());
    for required in fields.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !properties.contains_key(required.as_str().unwrap()) {
            found.push(format!("{place}: {required} is required and not described"));
        }
    }
    for (name, property) in properties {
        faults(property, &format!("{place}.{name}"), found);
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text == "null",
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

#[test]
fn every_schema_is_in_the_common_subset() {
    let home = tempfile::tempdir().unwrap();
    for modern in [false, true] {
        let mut server = Server::sandbox(home.path(), modern);
        let tools = server.request("tools/list", json!({}))["result"]["tools"].clone();
        let mut found = Vec::new();
        for tool in tools.as_array().unwrap() {
            for side in ["inputSchema", "outputSchema"] {
                faults(&tool[side], &format!("{} {side}", tool["name"]), &mut found);
                assert!(!has_null(&tool[side]), "{tool}");
            }
        }
        assert!(found.is_empty(), "{found:#?}");
        server.close();
    }
}

/// A value for a schema, as a model may make one up.
fn sample(schema: &Value) -> Value {
    if let Some(choices) = schema.get("anyOf") {
        return sample(&choices[0]);
    }
    match schema["type"].as_str().unwrap() {
        "string" => schema.get("enum").map_or_else(|| json!("1.00"), |words| words[0].clone()),
        "integer" => json!(7),
        "number" => json!(0.5),
        "boolean" => json!(true),
        "array" => json!([sample(&schema["items"])]),
        _ => {
            let fields = schema
                .get("properties")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_else(|| Map::from_iter([("x".into(), json!({"type": "string"}))]));
            Value::Object(fields.iter().map(|(name, field)| (name.clone(), sample(field))).collect())
        }
    }
}

/// For each argument of each tool: what is given in another form is answered in the same way as in its own, and what is left out in any form as if it were not there.
#[test]
fn every_argument_may_come_in_every_form() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::sandbox(home.path(), true);
    let tools = server.request("tools/list", json!({}))["result"]["tools"].clone();
    // Nobody is logged in, so that nothing is bought, and what comes before that is all that differs.
    let shown = |result: Value| match result["structuredContent"]["error"]["code"].as_str() {
        Some("invalid_arguments") => format!("refused: {}", result["structuredContent"]["error"]["message"]),
        Some(code) => code.to_owned(),
        None => "answered".to_owned(),
    };
    for tool in tools.as_array().unwrap().iter().filter(|tool| tool["name"] != "login") {
        let name = tool["name"].as_str().unwrap();
        let needed = match name {
            "search" => json!({"query": "gpt"}),
            "prompt" => json!({"model": "gpt-4o-mini"}),
            "call" => json!({"url": "https://api.openai.com/v1/models"}),
            "get_provider_docs" => json!({"provider": "openai"}),
            _ => json!({}),
        };
        let mut ask = |argument: &str, value: Option<Value>| {
            let mut arguments = needed.clone();
            if let Some(value) = value {
                arguments[argument] = value;
            }
            shown(server.call(name, arguments))
        };
        for (argument, schema) in tool["inputSchema"]["properties"].as_object().unwrap() {
            let place = format!("{name}.{argument}");
            let plain = sample(schema);
            let expected = ask(argument, Some(plain.clone()));
            if !plain.is_string() {
                assert_eq!(ask(argument, Some(plain.to_string().into())), expected, "{place} as text");
            }
            if let Some(integer) = plain.as_u64() {
                assert_eq!(ask(argument, Some(json!(integer as f64))), expected, "{place} as a float");
                let refused = ask(argument, Some(json!(integer as f64 + 0.5)));
                assert!(refused.contains("refused") && refused.contains(argument), "{place}: {refused}");
            }
            if needed.get(argument).is_some() {
                continue;
            }
            let without = ask(argument, None);
            assert_eq!(ask(argument, Some(Value::Null)), without, "{place} is null");
            for empty in [json!(""), json!([]), json!({})] {
                let answer = ask(argument, Some(empty.clone()));
                if ["max_cost", "idempotency_key"].contains(&argument.as_str()) {
                    assert!(answer.contains("refused") && answer.contains(argument), "{place} {empty}: {answer}");
                } else {
                    assert_eq!(answer, without, "{place} {empty}");
                }
            }
        }
    }
    for empty in [json!(""), json!({}), json!([])] {
        let refused = server.call("login", json!({"spend_limit": empty}));
        assert!(error_code(&refused) == "invalid_arguments" && refused.to_string().contains("spend_limit: it is empty"), "{refused}");
    }
    let ready = server
        .call("login", json!({"spend_limit": null, "allowed_models": null, "allowed_providers": [], "expires_at": "", "force": null}));
    assert_eq!(ready["structuredContent"]["status"], "ready", "{ready}");
    let narrowed = server.call("login", json!({"spend_limit": "{\"amount\": 0.30, \"cycle\": \"daily\"}"}));
    assert_eq!(narrowed["structuredContent"]["spend_key"]["spend_limit"], json!({"amount": "0.30", "cycle": "daily"}), "{narrowed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_meant_reaches_the_provider() {
    let upstream = FakeUpstream::start().await;
    for modern in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut command = with_upstream(home.path(), &upstream);
        command.env("LAVA_ASK", "0");
        let mut server = Server::start(command, modern);
        server.call("login", json!({}));
        let prompt = |more: Value| {
            let mut arguments = json!({"model": "fake/ok", "input": "Hi", "max_tokens": 20});
            for (name, value) in more.as_object().unwrap() {
                arguments[name] = value.clone();
            }
            arguments
        };
        let choice = json!({"type": "function", "function": {"name": "f"}});
        let said = |role: &str, text: &str| json!({"role": role, "content": text});
        let called = json!([{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\":null}"}}]);
        for (arguments, name, sent) in [
            (prompt(json!({"stop": "[\"a\",\"b\"]"})), "stop", json!(["a", "b"])),
            (prompt(json!({"stop": "[a"})), "stop", json!("[a")),
            (
                prompt(json!({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": choice.to_string()})),
                "tool_choice",
                choice.clone(),
            ),
            (prompt(json!({"max_tokens": "20"})), "max_tokens", json!(20)),
            (prompt(json!({"max_tokens": 20.0, "messages": [], "stop": ""})), "messages", json!([{"role": "user", "content": "Hi"}])),
            (
                prompt(json!({"input": "", "messages": "[{\"role\":\"user\",\"content\":\"[1]\"}]"})),
                "messages",
                json!([{"role": "user", "content": "[1]"}]),
            ),
            (prompt(json!({"input": "{\"a\": 1}"})), "messages", json!([{"role": "user", "content": "{\"a\": 1}"}])),
            // What a strict mode makes of members that may be missing.
            (
                prompt(json!({"input": null, "messages": [
                    {"role": "user", "content": "Hi", "tool_calls": null, "tool_call_id": null},
                    {"role": "assistant", "content": null, "tool_calls": called, "tool_call_id": ""},
                    {"role": "tool", "content": "", "tool_calls": [], "tool_call_id": "c"},
                ]})),
                "messages",
                json!([
                    said("user", "Hi"),
                    {"role": "assistant", "content": null, "tool_calls": called},
                    {"role": "tool", "content": "", "tool_call_id": "c"},
                ]),
            ),
            (
                prompt(json!({"tools": [{"type": "function", "function": {"name": "f", "description": null, "parameters": null}}]})),
                "tools",
                json!([choice]),
            ),
            (
                prompt(
                    json!({"tools": [{"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object", "x": null}}}]}),
                ),
                "tools",
                json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "x": null}}}]),
            ),
            (prompt(json!({"response_format": {"type": "text", "json_schema": null}})), "response_format", json!({"type": "text"})),
            (prompt(json!({"response_format": {"type": "text", "json_schema": {}}})), "response_format", json!({"type": "text"})),
            (prompt(json!({"fallbacks": [{"model": "fake/ok", "url": ""}]})), "max_tokens", json!(20)),
            (prompt(json!({"fallbacks": [{"model": "fake/ok", "url": null}]})), "max_tokens", json!(20)),
            (
                prompt(
                    json!({"max_cost": 0.5, "task_progress": "- [x] one", "toolCallId": "call_1", "sessionId": "s", "action": "a", "chatInput": "c"}),
                ),
                "max_tokens",
                json!(20),
            ),
        ] {
            let answer = server.call("prompt", arguments.clone());
            assert_eq!(answer["isError"], false, "{arguments}: {answer}");
            assert_eq!(upstream.seen().last().unwrap().body[name], sent, "{arguments}");
            assert!(answer["structuredContent"].get("warnings").is_none(), "{answer}");
        }
        let body = json!({"model": "ok", "messages": [said("user", "Hi")], "max_tokens": 20, "user": null});
        for more in [
            json!({"headers": {"accept": null, "content-type": null, "openai-beta": null}}),
            json!({"headers": {"accept": "", "Accept": null, "x-foo": null}, "method": "post"}),
            json!({"headers": {"accept": null}, "method": "Post", "query": {"a": null}, "max_cost": null}),
        ] {
            let mut arguments = json!({"url": format!("{}/chat/completions", upstream.url), "body": body});
            for (name, value) in more.as_object().unwrap() {
                arguments[name] = value.clone();
            }
            let answer = server.call("call", arguments);
            assert_eq!(answer["structuredContent"]["status"], 200, "{more}: {answer}");
            assert_eq!(upstream.seen().last().unwrap().body.get("user"), Some(&Value::Null), "what is not ours stays as it is");
        }
        // A provider alone would be asked, and paid, for a model without a name.
        let asked = upstream.seen().len();
        for more in [
            json!({"model": "fake/"}),
            json!({"model": "fake/ "}),
            json!({"model": " "}),
            json!({"fallbacks": [{"model": "fake/ok"}, {"model": "fake/", "url": null}]}),
        ] {
            let refused = server.call("prompt", prompt(more.clone()));
            assert_eq!((error_code(&refused), upstream.seen().len()), ("invalid_arguments", asked), "{more}: {refused}");
            assert!(refused.to_string().contains("model:"), "{refused}");
        }
        // A number is as good as the text, to the last digit.
        let refused = server.call("prompt", prompt(json!({"max_cost": 0.000_000_1, "max_tokens": 100_000})));
        assert_eq!(refused["structuredContent"]["error"]["max_cost"], "0.0000001", "{refused}");
        server.close();
    }
}

#[test]
fn an_argument_too_many_is_ignored_where_it_is_free_and_named_where_it_is_not() {
    let home = tempfile::tempdir().unwrap();
    for modern in [false, true] {
        let mut server = Server::sandbox(home.path(), modern);
        server.call("login", json!({}));
        for (tool, arguments, named) in [
            ("usage", json!({"task_progress": "- [x] one"}), vec!["task_progress"]),
            (
                "search",
                json!({"query": "gpt", "sessionId": "s", "action": "sendMessage", "chatInput": "hi"}),
                vec!["sessionId", "action", "chatInput"],
            ),
            ("get_provider_docs", json!({"provider": "openai", "colour": "blue"}), vec!["colour"]),
            ("search", json!({"query": "gpt", "limits": 3}), vec!["limits (did you mean limit?)"]),
            ("search", json!({"query": "gpt", "Query": "x", "max_results": 3}), vec!["Query (did you mean query?)", "max_results"]),
            ("usage", json!({"Limit": 3, "limt": 3}), vec!["Limit (did you mean limit?)", "limt (did you mean limit?)"]),
            ("get_provider_docs", json!({"provider": "openai", "providers": ["x"]}), vec!["providers (did you mean provider?)"]),
            ("login", json!({"colour": "blue", "task_progress": "x"}), vec!["colour", "task_progress"]),
        ] {
            let answer = server.call(tool, arguments);
            assert_eq!(answer["isError"], false, "{answer}");
            let warning = answer["structuredContent"]["warnings"][0].as_str().unwrap_or_else(|| panic!("{answer}"));
            assert!(named.iter().all(|name| warning.contains(name)), "{warning}");
            assert!(
                answer["content"].as_array().unwrap().iter().any(|block| block["text"].as_str().unwrap().contains(warning)),
                "{answer}"
            );
        }
        for (tool, arguments, says) in [
            // The one that was meant has to be there.
            ("get_provider_docs", json!({"Provider": "openai"}), "did you mean provider?"),
            ("prompt", json!({"model": "gpt-4o-mini", "input": "Hi", "maxCost": "0.01"}), "did you mean max_cost?"),
            ("prompt", json!({"model": "gpt-4o-mini", "input": "Hi", "colour": "blue"}), "prompt takes model, messages, input"),
            ("call", json!({"url": "https://api.openai.com/v1/models", "colour": "blue"}), "call takes url, method"),
            ("login", json!({"spend_limt": {"amount": "1.00", "cycle": "daily"}}), "did you mean spend_limit?"),
            ("login", json!({"allowedModels": ["gpt-4o-mini"]}), "did you mean allowed_models?"),
        ] {
            let refused = server.call(tool, arguments.clone());
            assert_eq!(error_code(&refused), "invalid_arguments", "{refused}");
            assert!(refused["structuredContent"]["error"]["message"].as_str().unwrap().contains(says), "{arguments}: {refused}");
        }
        server.close();
    }
}

/// Where there is a list of words, or of providers, a word in another case can mean one of them only.
#[test]
fn a_word_of_a_list_may_be_in_any_case() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config.toml"), "[providers.MyLab]\nbase_url = \"http://127.0.0.1:9/v1\"\nmodels = [\"m\"]\n").unwrap();
    let mut command = crate::cli::program(home.path());
    command.arg("--sandbox").env("LAVA_CONFIG", home.path().join("config.toml"));
    let mut server = Server::start(command, true);
    let ready = server.call("login", json!({"spend_limit": {"amount": "0.30", "cycle": "Daily"}}));
    assert_eq!(ready["structuredContent"]["spend_key"]["spend_limit"], json!({"amount": "0.30", "cycle": "daily"}), "{ready}");
    for (tool, meant, given) in [
        (
            "search",
            json!({"query": "gpt", "kind": "model"}),
            vec![json!({"query": "gpt", "kind": "MODEL"}), json!({"query": "gpt", "kind": " Model"})],
        ),
        ("search", json!({"query": "gpt", "provider": "openai"}), vec![json!({"query": "gpt", "provider": "OpenAI"})]),
        ("search", json!({"query": "", "provider": "MyLab"}), vec![json!({"query": "", "provider": "mylab"})]),
        ("get_provider_docs", json!({"provider": "openai"}), vec![json!({"provider": "OpenAI"}), json!({"provider": " openai "})]),
        ("get_provider_docs", json!({"provider": "MyLab"}), vec![json!({"provider": "mylab"})]),
        (
            "call",
            json!({"url": "https://api.openai.com/v1/models", "method": "GET"}),
            vec![json!({"url": "https://api.openai.com/v1/models", "method": "get"})],
        ),
    ] {
        let expected = server.call(tool, meant);
        assert_eq!(expected["isError"], false, "{expected}");
        for arguments in given {
            let answer = server.call(tool, arguments.clone());
            let plain = |answer: &Value| {
                let mut plain = answer["structuredContent"].clone();
                plain.as_object_mut().unwrap().remove("request_id");
                plain
            };
            assert_eq!(plain(&answer), plain(&expected), "{tool} {arguments}");
        }
    }
    let refused = server.call("get_provider_docs", json!({"provider": "OpenAI2"}));
    assert_eq!(error_code(&refused), "provider_not_found");
    let refused = server.call("search", json!({"query": "gpt", "kind": "models"}));
    assert_eq!(error_code(&refused), "invalid_arguments");
    server.close();
}
