//! What the plain fixtures answer: values that never change, as the suite describes them.

use rmcp::model::JsonObject;
use serde_json::{Value, json};

/// A picture of one red pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
/// A sound of no length.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

pub(crate) fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

fn image() -> Value {
    json!({"type": "image", "data": PNG, "mimeType": "image/png"})
}

fn resource(uri: &str, mime: &str, text: &str) -> Value {
    json!({"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": text}})
}

/// The result of a tool that does nothing else.
pub(crate) fn tool(name: &str, arguments: &JsonObject) -> Option<Value> {
    Some(match name {
        "test_simple_text" => text("This is a simple text response for testing."),
        "test_image_content" => json!({"content": [image()]}),
        "test_audio_content" => json!({"content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}]}),
        "test_embedded_resource" => {
            json!({"content": [resource("test://embedded-resource", "text/plain", "This is an embedded resource content.")]})
        }
        "test_multiple_content_types" => json!({"content": [
            {"type": "text", "text": "Multiple content types test:"},
            image(),
            resource("test://mixed-content-resource", "application/json", r#"{"test":"data","value":123}"#),
        ]}),
        "test_error_handling" => {
            json!({"isError": true, "content": [{"type": "text", "text": "This tool intentionally returns an error for testing"}]})
        }
        "greet" => text(&format!("Hello, {}!", arguments.get("name").and_then(Value::as_str).unwrap_or_default())),
        "test_reconnection" | "test_custom_header" | "json_schema_2020_12_tool" => text("done"),
        _ => return None,
    })
}

/// The messages of a prompt.
pub(crate) fn prompt(name: &str, arguments: &JsonObject) -> Option<Value> {
    let argument = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default();
    let messages = |contents: Vec<Value>| {
        let messages: Vec<Value> = contents.into_iter().map(|content| json!({"role": "user", "content": content})).collect();
        json!({"messages": messages})
    };
    let says = |text: &str| json!({"type": "text", "text": text});
    Some(match name {
        "test_simple_prompt" => messages(vec![says("This is a simple prompt for testing.")]),
        "test_prompt_with_arguments" => {
            messages(vec![says(&format!("Prompt with arguments: arg1='{}', arg2='{}'", argument("arg1"), argument("arg2")))])
        }
        "test_prompt_with_embedded_resource" => messages(vec![
            resource(argument("resourceUri"), "text/plain", "Embedded resource content for testing."),
            says("Please process the embedded resource above."),
        ]),
        "test_prompt_with_image" => messages(vec![image(), says("Please analyze the image above.")]),
        _ => return None,
    })
}

/// The contents of a resource.
pub(crate) fn contents(uri: &str) -> Option<Value> {
    let content = match uri {
        "test://static-text" => json!({"uri": uri, "mimeType": "text/plain", "text": "This is the content of the static text resource."}),
        "test://static-binary" => json!({"uri": uri, "mimeType": "image/png", "blob": PNG}),
        "test://watched-resource" => json!({"uri": uri, "mimeType": "text/plain", "text": "Watched."}),
        _ => {
            let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
            let data = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
            json!({"uri": uri, "mimeType": "application/json", "text": data.to_string()})
        }
    };
    Some(json!({"contents": [content]}))
}
