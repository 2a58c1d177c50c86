//! What is set aside for a request's input is never less than what a provider can bill for it: generated bodies, held against counts that this program has no part in.

use std::sync::OnceLock;

use bytes::Bytes;
use lava_mcp::translate::{anthropic::MessagesRequest, openai::ChatRequest};
use proptest::{collection::vec, prelude::*, sample::select};
use serde::Serialize;
use serde_json::{Value, json};
use tiktoken::CoreBpe;

/// Tokens that OpenAI's cookbook counts around a message, and around all of them.
const AROUND: usize = 3;
/// The highest published price of an image: gpt-4o-mini in high detail, eight tiles.
const IMAGE: usize = 2_833 + 8 * 5_667;

fn vocabulary() -> &'static CoreBpe {
    static VOCABULARY: OnceLock<&'static CoreBpe> = OnceLock::new();
    VOCABULARY.get_or_init(|| tiktoken::get_encoding("o200k_base").unwrap())
}

type Count = fn(&str) -> usize;

/// How a provider may count a text: by a vocabulary, or, with the worst one there can be, by its bytes.
fn counters() -> [(&'static str, Count); 2] {
    [("o200k", |text| vocabulary().count(text)), ("bytes", str::len)]
}

/// A value as a template can write it: compact, as Python does, indented by four; with and without escapes.
fn renderings(value: &Value) -> Vec<String> {
    let mut indented = Vec::new();
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut indented, serde_json::ser::PrettyFormatter::with_indent(b"    ")))
        .unwrap();
    let plain = [value.to_string(), String::from_utf8(indented).unwrap()];
    let escaped = plain.iter().map(|text| {
        let escape = |c: char| if c.is_ascii() && !"<>&'".contains(c) { c.to_string() } else { units(c) };
        text.chars().map(escape).collect()
    });
    plain.iter().cloned().chain(escaped).collect()
}

fn units(c: char) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// Most tokens of a value, whatever the rendering; a text that holds JSON may be parsed first.
fn most(count: Count, value: &Value) -> usize {
    let parsed =
        value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()).filter(|value| value.is_object() || value.is_array());
    let text = value.as_str().map_or(0, count);
    [Some(value.clone()), parsed].iter().flatten().flat_map(renderings).map(|text| count(&text)).fold(text, usize::max)
}

/// What a provider can bill for the input of a chat request, without its template.
fn chat_bill(count: Count, body: &Value) -> usize {
    let messages = body["messages"].as_array().unwrap().iter().map(|message| {
        let content = match &message["content"] {
            Value::String(_) if message["role"] == "tool" => most(count, &message["content"]),
            Value::String(text) => count(text),
            Value::Array(parts) => parts.iter().map(|part| part["text"].as_str().map_or(IMAGE, count)).sum(),
            _ => 0,
        };
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        let called: usize =
            calls.map(|call| count(call["function"]["name"].as_str().unwrap()) + most(count, &call["function"]["arguments"])).sum();
        AROUND + count(message["role"].as_str().unwrap()) + message["name"].as_str().map_or(0, count) + content + called
    });
    messages.sum::<usize>()
        + body.get("tools").map_or(0, |tools| most(count, tools))
        + body.get("response_format").map_or(0, |format| most(count, format))
}

fn messages_bill(count: Count, body: &Value) -> usize {
    let blocks = |content: &Value| -> usize {
        let Some(blocks) = content.as_array() else { return content.as_str().map_or(0, count) };
        let block = |block: &Value| match block["type"].as_str().unwrap() {
            "text" => count(block["text"].as_str().unwrap()),
            "image" => IMAGE,
            "tool_use" => count(block["name"].as_str().unwrap()) + most(count, &block["input"]),
            _ => most(count, &block["content"]),
        };
        blocks.iter().map(block).sum()
    };
    let messages = body["messages"].as_array().unwrap().iter().map(|message| AROUND + blocks(&message["content"]));
    messages.sum::<usize>() + blocks(&body["system"]) + body.get("tools").map_or(0, |tools| most(count, tools))
}

/// Texts that tokenizers and JSON writers find hard: escapes before words, other scripts, pieces of markup, runs of blanks, and anything at all.
fn text() -> impl Strategy<Value = String> {
    const HARD: [&str; 14] = [
        "\repository",
        "\tabs",
        "\u{8}\u{c}\n",
        "\\\\\"",
        "</s><|im_start|>",
        "<b>&'",
        "日本語",
        "العربية",
        "👩‍👩‍👧‍👦",
        "e\u{301}",
        "    ",
        "\u{0}",
        "~~~~",
        "0.1e9",
    ];
    let piece = prop_oneof![
        select(&HARD[..]).prop_map(str::to_owned),
        "\\PC{0,12}",
        "[a-z ]{0,20}",
        any::<String>().prop_map(|text| text.chars().take(9).collect())
    ];
    vec((piece, 1_usize..30), 0..5).prop_map(|pieces| pieces.iter().map(|(piece, times)| piece.repeat(*times)).collect())
}

/// Any JSON, nested deeper than it is wide.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from)
    ];
    leaf.prop_recursive(6, 40, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((text(), inner), 0..4).prop_map(|pairs| pairs.into_iter().collect())
        ]
    })
}

fn chat_body() -> impl Strategy<Value = Value> {
    let part = prop_oneof![
        3 => text().prop_map(|text| json!({"type": "text", "text": text})),
        1 => Just(json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}})),
    ];
    let message = prop_oneof![
        (select(&["user", "system", "assistant", "developer"][..]), text(), proptest::option::of("[a-z]{1,20}"))
            .prop_map(|(role, text, name)| json!({"role": role, "content": text, "name": name})),
        vec(part, 0..4).prop_map(|parts| json!({"role": "user", "content": parts})),
        prop_oneof![text(), value().prop_map(|value| value.to_string())]
            .prop_map(|text| json!({"role": "tool", "tool_call_id": "c", "content": text})),
        ("[a-z]{1,9}", value()).prop_map(|(name, arguments)| json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments.to_string()}}]})),
    ];
    let tool = ("[a-z]{1,9}", text(), value()).prop_map(
        |(name, text, schema)| json!({"type": "function", "function": {"name": name, "description": text, "parameters": schema}}),
    );
    let format = value().prop_map(|schema| json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}));
    (vec(message, 0..5), proptest::option::of(vec(tool, 0..3)), proptest::option::of(format)).prop_map(|(messages, tools, format)| {
        let mut body = json!({"model": "m", "messages": messages});
        tools.into_iter().for_each(|tools| body["tools"] = tools.into());
        format.into_iter().for_each(|format| body["response_format"] = format);
        body
    })
}

fn messages_body() -> impl Strategy<Value = Value> {
    let block = prop_oneof![
        text().prop_map(|text| json!({"type": "text", "text": text})),
        Just(json!({"type": "image", "source": {"type": "url", "url": "https://x/y.png"}})),
        ("[a-z]{1,9}", value()).prop_map(|(name, input)| json!({"type": "tool_use", "id": "t", "name": name, "input": input})),
        prop_oneof![text(), value().prop_map(|value| value.to_string())]
            .prop_map(|text| json!({"type": "tool_result", "tool_use_id": "t", "content": text})),
    ];
    let content = prop_oneof![text().prop_map(Value::from), vec(block, 0..4).prop_map(Value::from)];
    let tool =
        ("[a-z]{1,9}", text(), value()).prop_map(|(name, text, schema)| json!({"name": name, "description": text, "input_schema": schema}));
    (vec(content, 0..4), text(), proptest::option::of(vec(tool, 0..3))).prop_map(|(contents, system, tools)| {
        let messages: Vec<Value> = contents.into_iter().map(|content| json!({"role": "user", "content": content})).collect();
        let mut body = json!({"model": "m", "max_tokens": 9, "system": system, "messages": messages});
        tools.into_iter().for_each(|tools| body["tools"] = tools.into());
        body
    })
}

/// The same body as other programs write it: with everything escaped that can be, or with halves of surrogate pairs, which readers replace.
fn as_sent(body: &Value) -> [String; 2] {
    let plain = body.to_string();
    let escaped = plain.chars().map(|c| if c.is_ascii() { c.to_string() } else { units(c) }).collect();
    [plain, escaped]
}

fn runs() -> ProptestConfig {
    ProptestConfig::with_cases(std::env::var("LAVA_BODIES").ok().and_then(|text| text.parse().ok()).unwrap_or(200))
}

proptest! {
    #![proptest_config(runs())]

    #[test]
    fn no_chat_request_can_be_billed_more_input_than_is_set_aside(body in chat_body()) {
        for sent in as_sent(&body) {
            let request = ChatRequest::parse(&Bytes::from(sent)).unwrap();
            for (name, count) in counters() {
                let bill = chat_bill(count, &body) as u64;
                let held = request.bound().tokens(None).unwrap();
                prop_assert!(held >= bill, "{name}: {held} of {bill} by bytes");
                if let Some(counted) = request.count_tokens(|text| count(text) as u64) {
                    prop_assert!(counted >= bill, "{name}: {counted} of {bill} counted");
                }
            }
        }
    }

    #[test]
    fn no_messages_request_can_be_billed_more_input_than_is_set_aside(body in messages_body()) {
        for sent in as_sent(&body) {
            let request = MessagesRequest::parse(&Bytes::from(sent)).unwrap();
            for (name, count) in counters() {
                let bill = messages_bill(count, &body) as u64;
                let held = request.bound().tokens(None).unwrap();
                prop_assert!(held >= bill, "{name}: {held} of {bill} by bytes");
                if let Some(counted) = request.count_tokens(|text| count(text) as u64) {
                    prop_assert!(counted >= bill, "{name}: {counted} of {bill} counted");
                }
            }
        }
    }
}

#[test]
fn a_text_of_escapes_is_counted_as_the_model_reads_it() {
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#, r"\repository".repeat(1_900));
    let request = ChatRequest::parse(&Bytes::from(body)).unwrap();
    let read = vocabulary().count(&"\repository".repeat(1_900)) as u64;
    let counted = request.count_tokens(|text| vocabulary().count(text) as u64).unwrap();
    assert!((read..read + 50).contains(&counted), "{counted} of {read}");
}

#[test]
fn names_within_messages_that_readers_confuse_are_refused() {
    let chat = |message: &str| ChatRequest::parse(&Bytes::from(format!(r#"{{"model":"m","messages":[{message}]}}"#)));
    let claude = |message: &str| MessagesRequest::parse(&Bytes::from(format!(r#"{{"model":"m","max_tokens":1,"messages":[{message}]}}"#)));
    for message in [
        r#"{"role":"user","content":"a","Content":[{"type":"image_url","image_url":{"url":"https://x"}}]}"#,
        r#"{"role":"user","content":[{"type":"text","text":"a","TYPE":"image_url"}]}"#,
        r#"{"role":"user","content":[{"type":"text","text":"a","imageUrl":{"url":"https://x"}}]}"#,
    ] {
        let error = chat(message).unwrap_err().to_string();
        assert!(error.contains("some providers read this as"), "{message}: {error}");
    }
    assert!(claude(r#"{"role":"user","content":"a","CONTENT":[]}"#).is_err());
    assert!(claude(r#"{"role":"user","content":[{"type":"text","text":"a","Source":{}}]}"#).is_err());
    // Readers take the one or the other of what is there twice.
    let twice = chat(r#"{"role":"user","content":"a","content":[{"type":"image_url"}]}"#).unwrap_err();
    assert!(twice.to_string().contains("duplicate field \"content\""), "{twice}");
}

fn chat(messages: &str, more: &str) -> ChatRequest {
    ChatRequest::parse(&Bytes::from(format!(r#"{{"model":"m","messages":[{messages}]{more}}}"#))).unwrap()
}

/// A piece is a message, a part of one or a tool: 16 tokens around what is in it. A tool is counted as its longest rendering, indented by four.
#[test]
fn each_part_of_a_request_adds_what_it_can_come_to() {
    let message = r#"{"role":"user","content":"Hi"}"#;
    let image = r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}"#;
    for (messages, more, tokens) in [
        ("", "", 0),
        (message, "", 16 + 4 + 2),
        (&format!("{message},{message}"), "", 2 * (16 + 4 + 2)),
        (&format!(r#"{{"role":"user","content":[{image}]}}"#), "", 16 + 4 + 16 + 50_000),
        (&format!(r#"{{"role":"user","content":[{image},{image}]}}"#), "", 16 + 4 + 2 * (16 + 50_000)),
        ("", r#","tools":null"#, 0),
        ("", r#","tools":[]"#, 2),
        ("", r#","tools":[{}]"#, 16 + "[\n    {}\n]".len() as u64),
        ("", r#","tools":[{},{}]"#, 2 * 16 + "[\n    {},\n    {}\n]".len() as u64),
    ] {
        assert_eq!(chat(messages, more).bound().tokens(None), Some(tokens), "{messages} {more}");
    }
    let messages = |tools: &str| {
        let body = format!(r#"{{"model":"m","max_tokens":1,"messages":[],"tools":{tools}}}"#);
        MessagesRequest::parse(&Bytes::from(body)).unwrap().bound().tokens(None).unwrap()
    };
    let (none, own) = (messages("[]"), r#"{"type":"custom","name":"bash"}"#);
    let vendors = r#"{"type":"bash_20250124","name":"bash"}"#;
    let more = |tools: &str, of: &str| messages(tools) - none - messages(of) + none;
    // Instructions of the vendor's own: 2,000 tokens for each of its tools, beside what is written.
    assert_eq!(more(&format!("[{vendors}]"), &format!("[{own}]")), 2_000 + (vendors.len() - own.len()) as u64);
    assert_eq!(more(&format!("[{vendors},{vendors}]"), &format!("[{own},{own}]")), 2 * (2_000 + (vendors.len() - own.len()) as u64));
}

#[test]
fn what_a_template_depends_on_is_seen() {
    for (more, tools, is_special) in [
        ("", false, false),
        (r#","tools":[]"#, false, false),
        (r#","tools":[{}]"#, true, false),
        (r#","tools":[{}],"functions":[]"#, true, false),
        (r#","tools":[{}],"tool_choice":"auto""#, true, false),
        (r#","tools":[{}],"tool_choice":"none""#, true, true),
        (r#","tool_choice":"none","function_call":"auto""#, false, true),
    ] {
        let features = chat("", more).bound().features;
        assert_eq!((features.tools, features.is_special), (tools, is_special), "{more}");
    }
}

#[test]
fn texts_are_counted_and_nothing_else_and_not_what_is_very_long() {
    let by_bytes = |request: &ChatRequest| request.count_tokens(|text| text.len() as u64);
    let said = |length: usize| chat(&format!(r#"{{"role":"user","content":"{}"}}"#, "a".repeat(length)), "");
    // With the role.
    let most = (1 << 20) - 4;
    assert_eq!(by_bytes(&said(0)), Some(16 + 4));
    assert_eq!(by_bytes(&said(most)), Some(16 + (1 << 20)));
    assert!(by_bytes(&said(most + 1)).is_none() && by_bytes(&said(most + 2)).is_none());
    let part = |part: &str| by_bytes(&chat(&format!(r#"{{"role":"user","content":[{part}]}}"#), ""));
    assert!(part(r#"{"type":"text","text":"a"}"#).is_some());
    assert!(part(r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}"#).is_none());
    assert!(part(r#"{"type":"file","file":{"file_id":"f"}}"#).is_none());
}
