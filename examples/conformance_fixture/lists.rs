//! What there is: tools, prompts and resources by the names that the suite looks for.

use rmcp::{ErrorData, model::JsonObject};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::rounds;

/// A value of the protocol, written as JSON because the suite describes it so.
pub(crate) fn made<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value).map_err(|error| ErrorData::internal_error(format!("the fixture is wrong: {error}"), None))
}

/// A whole result. Clients of the older era are not told that it is one; rmcp sees to that.
pub(crate) fn result<T: DeserializeOwned>(mut value: Value) -> Result<T, ErrorData> {
    value["resultType"] = "complete".into();
    made(value)
}

fn tool(name: &str, input_schema: &Value) -> Value {
    json!({"name": name, "description": format!("A fixture of the conformance suite: {name}"), "inputSchema": input_schema})
}

fn takes(properties: &Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

/// All tools.
pub(crate) fn tools() -> Value {
    let nothing = takes(&json!({}), &[]);
    let text = json!({"type": "string"});
    let plain = [
        "test_simple_text",
        "test_image_content",
        "test_audio_content",
        "test_embedded_resource",
        "test_multiple_content_types",
        "test_error_handling",
        "test_tool_with_progress",
        "test_tool_with_logging",
        "test_logging_tool",
        "test_reconnection",
        "test_elicitation_sep1034_defaults",
        "test_elicitation_sep1330_enums",
        "test_missing_capability",
        "test_trigger_tool_change",
        "test_trigger_prompt_change",
        "failing_job",
        "protocol_error_job",
        "multi_input",
    ];
    let mut tools: Vec<Value> = plain.iter().chain(rounds::TOOLS).map(|name| tool(name, &nothing)).collect();
    tools.extend([
        tool("test_sampling", &takes(&json!({"prompt": text}), &["prompt"])),
        tool("test_elicitation", &takes(&json!({"message": text}), &["message"])),
        tool("greet", &takes(&json!({"name": text}), &["name"])),
        tool("confirm_delete", &takes(&json!({"filename": text}), &[])),
        tool("slow_compute", &takes(&json!({"seconds": {"type": "number"}, "label": text}), &["seconds"])),
        tool("test_custom_header", &takes(&json!({"region": {"type": "string", "x-mcp-header": "Region"}}), &["region"])),
        tool("json_schema_2020_12_tool", &full_schema()),
    ]);
    json!({"tools": tools})
}

/// A schema with keywords that lesser JSON Schema libraries drop.
fn full_schema() -> Value {
    let text = json!({"type": "string"});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"street": text, "city": text}}},
        "properties": {
            "name": text, "phone": text, "email": text,
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]}
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": false
    })
}

/// The schema of a tool, if there is one of that name.
pub(crate) fn schema_of(name: &str) -> Option<JsonObject> {
    let tools = tools();
    tools["tools"].as_array()?.iter().find(|tool| tool["name"] == name)?["inputSchema"].as_object().cloned()
}

/// All prompts.
pub(crate) fn prompts() -> Value {
    let prompt = |name: &str, arguments: &[&str]| {
        let arguments: Vec<Value> =
            arguments.iter().map(|name| json!({"name": name, "description": format!("the {name}"), "required": true})).collect();
        json!({"name": name, "description": format!("A fixture of the conformance suite: {name}"), "arguments": arguments})
    };
    json!({"prompts": [
        prompt("test_simple_prompt", &[]),
        prompt("test_prompt_with_arguments", &["arg1", "arg2"]),
        prompt("test_prompt_with_embedded_resource", &["resourceUri"]),
        prompt("test_prompt_with_image", &[]),
        prompt("test_input_required_result_prompt", &[]),
    ]})
}

/// All resources that have an address of their own.
pub(crate) fn resources() -> Value {
    let resource = |uri: &str, mime: &str| json!({"uri": uri, "name": uri, "description": "A fixture", "mimeType": mime});
    json!({"resources": [
        resource("test://static-text", "text/plain"),
        resource("test://static-binary", "image/png"),
        resource("test://watched-resource", "text/plain"),
    ]})
}

/// The one family of resources.
pub(crate) fn templates() -> Value {
    json!({"resourceTemplates": [
        {"uriTemplate": "test://template/{id}/data", "name": "template", "description": "A fixture", "mimeType": "application/json"}
    ]})
}
