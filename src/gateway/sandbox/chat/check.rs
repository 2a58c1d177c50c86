//! What OpenAI refuses in a chat request, in its words. Fields that are another provider's alone are left alone.

use std::collections::HashSet;

use serde_json::Value;

use crate::gateway::sandbox::Refusal;

const ROLES: [&str; 6] = ["system", "assistant", "user", "function", "tool", "developer"];
/// Fields that are a number within bounds.
const RANGES: [(&str, i64, i64); 4] = [("temperature", 0, 2), ("top_p", 0, 1), ("presence_penalty", -2, 2), ("frequency_penalty", -2, 2)];
/// Fields that are a whole number within bounds.
const COUNTS: [(&str, i64, i64); 2] = [("n", 1, 128), ("top_logprobs", 0, 20)];
const STOPS_MAX: usize = 4;
const TOOLS_MAX: usize = 128;
const NAME_CHARS_MAX: usize = 64;

pub(super) fn check(body: &Value) -> Result<(), Refusal> {
    for (name, least, most) in RANGES {
        check_range(body, name, least, most, false)?;
    }
    for (name, least, most) in COUNTS {
        check_range(body, name, least, most, true)?;
    }
    check_messages(body["messages"].as_array().map_or(&[], Vec::as_slice))?;
    check_tools(body)?;
    check_form(body)?;
    if body["top_logprobs"].is_number() && body["logprobs"] != true {
        let message = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.";
        return Err(Refusal::of("top_logprobs", None, message));
    }
    let stops = body["stop"].as_array().map_or(0, Vec::len);
    if stops > STOPS_MAX {
        let message = format!(
            "Invalid 'stop': array too long. Expected an array with maximum length {STOPS_MAX}, but got an array with length {stops} instead."
        );
        return Err(Refusal::of("stop", Some("array_above_max_length"), message));
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "the bounds are a handful of small numbers")]
fn check_range(body: &Value, name: &'static str, least: i64, most: i64, is_whole: bool) -> Result<(), Refusal> {
    let value = &body[name];
    let (kind, code_kind) = if is_whole { ("an integer", "integer") } else { ("a decimal", "decimal") };
    if value.is_null() {
        return Ok(());
    }
    let Some(number) = value.as_f64().filter(|_| !is_whole || value.is_i64() || value.is_u64()) else {
        return Err(wrong_type(name, kind, value));
    };
    let (code, bound) = if number < least as f64 {
        (
            if is_whole { "integer_below_min_value" } else { "decimal_below_min_value" },
            format!("below minimum value. Expected a value >= {least}"),
        )
    } else if number > most as f64 {
        (
            if is_whole { "integer_above_max_value" } else { "decimal_above_max_value" },
            format!("above maximum value. Expected a value <= {most}"),
        )
    } else {
        return Ok(());
    };
    Err(Refusal::of(name, Some(code), format!("Invalid '{name}': {code_kind} {bound}, but got {value} instead.")))
}

fn wrong_type(place: &str, expected: &str, got: &Value) -> Refusal {
    let kind = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Refusal::of(place, Some("invalid_type"), format!("Invalid type for '{place}': expected {expected}, but got {kind} instead."))
}

fn missing(place: &str) -> Refusal {
    Refusal::of(place, Some("missing_required_parameter"), format!("Missing required parameter: '{place}'."))
}

fn check_messages(messages: &[Value]) -> Result<(), Refusal> {
    if messages.is_empty() {
        let message = "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.";
        return Err(Refusal::of("messages", Some("empty_array"), message));
    }
    // Ids of the calls that may be answered now, and of those that were.
    let (mut offered, mut answered): (HashSet<&str>, HashSet<&str>) = (HashSet::new(), HashSet::new());
    for (at, message) in messages.iter().enumerate() {
        let place = format!("messages[{at}]");
        let role = check_message(message, &place)?;
        if role == "tool" {
            let id = message["tool_call_id"].as_str().ok_or_else(|| missing(&format!("{place}.tool_call_id")))?;
            if offered.is_empty() {
                let message = "Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'.";
                return Err(Refusal::of(format!("messages.[{at}].role"), None, message));
            }
            if !offered.contains(id) {
                let message = format!("Invalid parameter: 'tool_call_id' of '{id}' not found in 'tool_calls' of previous message.");
                return Err(Refusal::of(format!("messages.[{at}].tool_call_id"), None, message));
            }
            answered.insert(id);
            continue;
        }
        check_answered(&offered, &answered, at)?;
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        offered = calls.filter_map(|call| call["id"].as_str()).collect();
        answered.clear();
    }
    check_answered(&offered, &answered, messages.len() - 1)
}

fn check_answered(offered: &HashSet<&str>, answered: &HashSet<&str>, at: usize) -> Result<(), Refusal> {
    let mut pending: Vec<&str> = offered.difference(answered).copied().collect();
    if pending.is_empty() {
        return Ok(());
    }
    pending.sort_unstable();
    let message = format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not \
         have response messages: {}",
        pending.join(", ")
    );
    Err(Refusal::of(format!("messages.[{at}].role"), None, message))
}

fn check_message<'a>(message: &'a Value, place: &str) -> Result<&'a str, Refusal> {
    if !message.is_object() {
        return Err(wrong_type(place, "an object", message));
    }
    let role = match &message["role"] {
        Value::Null => return Err(missing(&format!("{place}.role"))),
        Value::String(role) if ROLES.contains(&role.as_str()) => role,
        other => {
            let names = ROLES.map(|role| format!("'{role}'")).join(", ");
            let shown = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
            let message = format!("Invalid value: '{shown}'. Supported values are: {names}.");
            return Err(Refusal::of(format!("{place}.role"), Some("invalid_value"), message));
        }
    };
    let says_otherwise =
        role == "assistant" && ["tool_calls", "function_call", "audio", "refusal"].iter().any(|name| !message[*name].is_null());
    match message.get("content") {
        None | Some(Value::Null) if says_otherwise => {}
        None => return Err(missing(&format!("{place}.content"))),
        Some(Value::Null) => {
            return Err(Refusal::of(format!("{place}.content"), None, "Invalid value for 'content': expected a string, got null."));
        }
        Some(Value::String(_)) => {}
        Some(Value::Array(parts)) => {
            for (at, part) in parts.iter().enumerate() {
                let place = format!("{place}.content[{at}]");
                // A bare text is taken by some providers.
                if !part.is_object() && !part.is_string() {
                    return Err(wrong_type(&place, "an object", part));
                }
                if part.is_object() && !part["type"].is_string() {
                    return Err(missing(&format!("{place}.type")));
                }
            }
        }
        Some(other) => return Err(wrong_type(&format!("{place}.content"), "one of an array of objects or string", other)),
    }
    Ok(role)
}

fn check_tools(body: &Value) -> Result<(), Refusal> {
    let tools = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    if tools.len() > TOOLS_MAX {
        let length = tools.len();
        let message = format!(
            "Invalid 'tools': array too long. Expected an array with maximum length {TOOLS_MAX}, but got an array with length {length} instead."
        );
        return Err(Refusal::of("tools", Some("array_above_max_length"), message));
    }
    for (at, tool) in tools.iter().enumerate() {
        let kind = if tool["type"] == "custom" { "custom" } else { "function" };
        if tool["type"].is_null() {
            return Err(missing(&format!("tools[{at}].type")));
        }
        if tool["type"] != kind {
            continue;
        }
        let declared = &tool[kind];
        let place = format!("tools[{at}].{kind}");
        if declared.is_null() {
            return Err(missing(&place));
        }
        let name = declared["name"].as_str().ok_or_else(|| missing(&format!("{place}.name")))?;
        let is_fine = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !is_fine {
            let message = format!(
                "Invalid '{place}.name': string does not match pattern. Expected a string of 1 to {NAME_CHARS_MAX} characters that matches the pattern \
                 '^[a-zA-Z0-9_-]+$'."
            );
            return Err(Refusal::of(format!("{place}.name"), Some("invalid_value"), message));
        }
        if let Some(other) = declared["parameters"]["type"].as_str().filter(|kind| *kind != "object") {
            let message = format!(
                "Invalid schema for function '{name}': schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{other}\"'."
            );
            return Err(Refusal::of(format!("{place}.parameters"), Some("invalid_function_parameters"), message));
        }
    }
    check_tool_choice(body, tools)
}

fn check_tool_choice(body: &Value, tools: &[Value]) -> Result<(), Refusal> {
    let choice = &body["tool_choice"];
    let refuse = |message: String| Err(Refusal::of("tool_choice", None, message));
    if let Some(mode) = choice.as_str() {
        // "any" is how Mistral says it.
        if !matches!(mode, "none" | "auto" | "required" | "any") {
            let message = format!("Invalid value: '{mode}'. Supported values are: 'none', 'auto', and 'required'.");
            return Err(Refusal::of("tool_choice", Some("invalid_value"), message));
        }
        if tools.is_empty() && !matches!(mode, "none" | "auto") {
            return refuse("Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.".to_owned());
        }
    }
    for kind in ["function", "custom"] {
        let Some(name) = choice[kind]["name"].as_str() else { continue };
        if !tools.iter().any(|tool| tool[kind]["name"] == name) {
            return refuse(format!("Invalid value for 'tool_choice': no {kind} named '{name}' was specified in the 'tools' parameter."));
        }
    }
    Ok(())
}

fn check_form(body: &Value) -> Result<(), Refusal> {
    let format = &body["response_format"];
    if format.is_null() {
        return Ok(());
    }
    match format["type"].as_str() {
        Some("text" | "json_object") => Ok(()),
        Some("json_schema") => {
            let form = format.get("json_schema").ok_or_else(|| missing("response_format.json_schema"))?;
            form["name"].as_str().map(|_| ()).ok_or_else(|| missing("response_format.json_schema.name"))
        }
        // Some providers know others.
        Some("grammar" | "regex" | "json" | "python") => Ok(()),
        Some(other) => {
            let message = format!("Invalid value: '{other}'. Supported values are: 'json_object', 'json_schema', and 'text'.");
            Err(Refusal::of("response_format.type", Some("invalid_value"), message))
        }
        None => Err(missing("response_format.type")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_names_the_parameter_and_has_the_code_of_the_provider() {
        let call =
            json!({"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
        let hi = json!({"role": "user", "content": "hi"});
        for (more, param, code) in [
            (json!({"messages": []}), "messages", json!("empty_array")),
            (json!({"messages": [{"role": "robot", "content": "hi"}]}), "messages[0].role", json!("invalid_value")),
            (json!({"messages": [{"role": "user"}]}), "messages[0].content", json!("missing_required_parameter")),
            (json!({"messages": [hi, call, hi]}), "messages.[2].role", Value::Null),
            (json!({"messages": [hi, {"role": "tool", "tool_call_id": "c", "content": "x"}]}), "messages.[1].role", Value::Null),
            (json!({"messages": [hi], "temperature": 2.5}), "temperature", json!("decimal_above_max_value")),
            (json!({"messages": [hi], "n": 0.5}), "n", json!("invalid_type")),
            (json!({"messages": [hi], "tool_choice": "required"}), "tool_choice", Value::Null),
            (json!({"messages": [hi], "response_format": {"type": "xml"}}), "response_format.type", json!("invalid_value")),
        ] {
            let refused = check(&more).unwrap_err().to_openai();
            let error = &refused["error"];
            assert_eq!(
                (&error["type"], &error["param"], &error["code"]),
                (&json!("invalid_request_error"), &json!(param), &code),
                "{more}"
            );
        }
        let answered =
            json!({"messages": [hi, call, {"role": "tool", "tool_call_id": "c", "content": "x"}, hi], "temperature": 2, "n": 128});
        assert!(check(&answered).is_ok());
    }
}
