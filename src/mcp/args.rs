//! Arguments as they come: read leniently where there is only one thing they can mean, and strictly by serde after that.
//!
//! Models write a number as text, a list as JSON text, and null or nothing for what they leave out; clients add arguments of their own. All of that is read here, by
//! the schema of the tool and not tool by tool. A text stays what it is wherever text is asked for.

use std::collections::BTreeSet;

use rmcp::model::{CallToolResponse, JsonObject, Tool};
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

use super::{error::ToolError, schema, unknown};

/// Arguments of which an empty one is more likely a mistake than nothing: without them a call may cost more, or be paid twice.
const NEVER_EMPTY: [&str; 3] = ["max_cost", "spend_limit", "idempotency_key"];
/// Texts that hold money, for which a number will do.
const MONEY: [&str; 2] = ["max_cost", "amount"];
/// Texts in which there may be a JSON object, for which there is no type that all models know.
const MAY_HOLD_JSON: [&str; 1] = ["tool_choice"];
/// Members that are sent on when they are empty: an assistant's message with calls alone has no content, and says so.
const MAY_BE_EMPTY: [&str; 1] = ["content"];
/// A number with more digits may have lost some before it came here.
const DIGITS_MAX: usize = 15;

/// The arguments of a call, as its tool asks for them.
pub(super) struct Given {
    pub(super) arguments: JsonObject,
    /// Names of arguments that the tool does not have.
    ignored: Vec<String>,
}

/// Reads the arguments of a call of this tool.
///
/// # Errors
/// [`ToolError`] that names the argument.
pub(super) fn read(tool: &Tool, given: JsonObject) -> Result<Given, ToolError> {
    let nothing = JsonObject::new();
    let properties = tool.input_schema.get("properties").and_then(Value::as_object).unwrap_or(&nothing);
    let required = names_in(tool.input_schema.get("required"));
    let missing: BTreeSet<&str> = required.iter().copied().filter(|name| !given.contains_key(*name)).collect();
    let (mut arguments, mut ignored) = (JsonObject::new(), Vec::new());
    for (name, value) in given {
        let Some(property) = properties.get(&name) else {
            ignored.extend(unknown::ignored(tool, (&name, &value), properties, &missing)?);
            continue;
        };
        let was_null = value.is_null();
        let value = convert(property, value, &name)?;
        let is_empty = is_empty(&value);
        if is_empty && !was_null && NEVER_EMPTY.contains(&name.as_str()) {
            return Err(ToolError::invalid(format!("{name}: it is empty; leave it out, or give a value")));
        }
        if !value.is_null() && (!is_empty || required.contains(name.as_str())) {
            arguments.insert(name, value);
        }
    }
    Ok(Given { arguments, ignored })
}

/// Reads arguments that were made plain into the type of their tool. One that does not exist is refused by name, with the names there are.
pub(super) fn parse<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, ToolError> {
    serde_path_to_error::deserialize(Value::Object(arguments)).map_err(|error| match error.path().to_string().as_str() {
        // A field that does not exist is named by the error itself.
        "." | "?" => ToolError::invalid(error.inner().to_string()),
        path => ToolError::invalid(format!("{path}: {}", error.inner())),
    })
}

/// The response as it is sent: without null, and with a word about what was ignored.
pub(super) fn finish(tool: &Tool, ignored: &[String], mut response: CallToolResponse) -> CallToolResponse {
    if let CallToolResponse::Complete(result) = &mut response {
        if let (Some(schema), Some(structured)) = (&tool.output_schema, &mut result.structured_content) {
            schema::leave_out_null(schema, structured);
        }
        // A failure says nothing but what is wrong.
        if !ignored.is_empty() && result.is_error != Some(true) {
            unknown::warn(result, ignored);
        }
    }
    response
}

impl Given {
    /// The arguments, and the names of those that the tool does not have.
    pub(super) fn into_parts(self) -> (JsonObject, Vec<String>) {
        (self.arguments, self.ignored)
    }
}

fn names_in(list: Option<&Value>) -> BTreeSet<&str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The value in the type that its schema asks for, where it says so in another one. What cannot be read stays as it is; serde refuses it with its place.
fn convert(schema: &Value, value: Value, name: &str) -> Result<Value, ToolError> {
    if let Some(Value::Array(choices)) = schema.get("anyOf") {
        return choose(choices, value, name);
    }
    let value = match (schema["type"].as_str(), value) {
        (Some("string"), Value::Number(number)) if MONEY.contains(&name) => decimal(&number, name)?.into(),
        (Some("string"), Value::String(text)) if MAY_HOLD_JSON.contains(&name) => parsed(text, Value::is_object),
        (Some("string"), Value::String(text)) => return Ok(as_listed(schema, text)),
        (Some("string"), value) => return Ok(value),
        // What is empty, or says null, is no text to be read. Blanks can be meant where a list of texts may be a single one, such as a line end to stop at.
        (Some(_), Value::String(text)) if text.is_empty() || text == "null" => Value::Null,
        (Some(kind), Value::String(text)) if text.trim().is_empty() && !(kind == "array" && schema["items"]["type"] == "string") => {
            Value::Null
        }
        (Some("integer"), Value::String(text)) => number(&text).map_or(Value::String(text), whole),
        (Some("integer"), Value::Number(number)) => whole(number),
        (Some("number"), Value::String(text)) => number(&text).map_or(Value::String(text), Value::Number),
        (Some("boolean"), Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
            "true" => true.into(),
            "false" => false.into(),
            _ => text.into(),
        },
        (Some("array"), Value::String(text)) => parsed(text, Value::is_array),
        (Some("object"), Value::String(text)) => parsed(text, Value::is_object),
        (_, value) => value,
    };
    within(schema, value, name)
}

/// The same for what is in a list, and for the named fields of an object. One that may be missing and is null or empty was left out: OpenAI's strict mode makes
/// every field required, so that its models write null.
fn within(schema: &Value, value: Value, name: &str) -> Result<Value, ToolError> {
    match value {
        Value::Array(items) => match schema.get("items") {
            Some(schema) => items.into_iter().map(|item| convert(schema, item, name)).collect(),
            None => Ok(items.into()),
        },
        Value::Object(fields) => {
            let required = names_in(schema.get("required"));
            let mut kept = JsonObject::new();
            for (name, value) in fields {
                let Some(property) = schema["properties"].get(&name) else {
                    kept.insert(name, value);
                    continue;
                };
                let value = convert(property, value, &name)?;
                if !is_empty(&value) || required.contains(name.as_str()) || MAY_BE_EMPTY.contains(&name.as_str()) {
                    kept.insert(name, value);
                }
            }
            Ok(Value::Object(kept))
        }
        value => Ok(value),
    }
}

/// The word of the list that was meant, whatever its case; any other text stays.
fn as_listed(schema: &Value, text: String) -> Value {
    let words = schema["enum"].as_array().into_iter().flatten();
    let meant = words.filter_map(Value::as_str).find(|word| word.eq_ignore_ascii_case(text.trim()));
    match meant {
        Some(word) => word.into(),
        None => text.into(),
    }
}

/// A value for which there are several types, such as what somebody says in a message: text stays text there.
fn choose(choices: &[Value], value: Value, name: &str) -> Result<Value, ToolError> {
    let kind = match value {
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        _ => return Ok(value),
    };
    match choices.iter().find(|choice| choice["type"] == kind) {
        Some(choice) => convert(choice, value, name),
        None => Ok(value),
    }
}

/// What a text says as JSON, if it is of the kind that is asked for; else the text.
fn parsed(text: String, is_right: impl Fn(&Value) -> bool) -> Value {
    serde_json::from_str::<Value>(&text).ok().filter(is_right).unwrap_or(Value::String(text))
}

fn number(text: &str) -> Option<Number> {
    serde_json::from_str::<Value>(text.trim()).ok().and_then(|value| if let Value::Number(number) = value { Some(number) } else { None })
}

/// A whole number as an integer, however it was written.
fn whole(number: Number) -> Value {
    /// Beyond this, a float does not tell one integer from the next.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let float = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT_MAX);
    match float.and_then(|float| format!("{float:.0}").parse::<i64>().ok()) {
        Some(integer) => integer.into(),
        None => Value::Number(number),
    }
}

/// The amount that was written, or a refusal where its digits may not be all there.
fn decimal(number: &Number, name: &str) -> Result<String, ToolError> {
    if !number.is_f64() {
        return Ok(number.to_string());
    }
    // The shortest text that is read as this float: what was written, up to so many digits.
    let text = number.as_f64().map(|float| format!("{float}")).unwrap_or_default();
    let digits = text.trim_start_matches(['-', '0', '.']).chars().filter(char::is_ascii_digit).count();
    if digits > DIGITS_MAX {
        return Err(ToolError::invalid(format!("{name}: a number with so many digits is not exact; give it as text, such as \"0.05\"")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mcp::LavaMcp;

    fn tool(name: &str) -> Tool {
        LavaMcp::tools().into_iter().find(|tool| tool.name == name).unwrap()
    }

    fn given(name: &str, arguments: &Value) -> Result<Value, String> {
        let read = read(&tool(name), arguments.as_object().cloned().unwrap());
        read.map(|given| Value::Object(given.arguments)).map_err(|error| error.to_text())
    }

    #[test]
    fn what_can_mean_one_thing_only_is_taken_as_that() {
        for (name, given_as, read_as) in [
            ("max_tokens", json!("20"), json!(20)),
            ("max_tokens", json!(" 20.0 "), json!(20)),
            ("max_tokens", json!(20.0), json!(20)),
            ("max_tokens", json!(2e1), json!(20)),
            ("max_tokens", json!(3.5), json!(3.5)),
            ("max_tokens", json!("3.5"), json!(3.5)),
            ("max_tokens", json!("many"), json!("many")),
            ("temperature", json!("0.7"), json!(0.7)),
            ("temperature", json!(1), json!(1)),
            ("messages", json!("[{\"role\":\"user\",\"content\":\"[1]\"}]"), json!([{"role": "user", "content": "[1]"}])),
            ("messages", json!(["{\"role\":\"user\",\"content\":\"x\"}"]), json!([{"role": "user", "content": "x"}])),
            (
                "messages",
                json!([{"role": "user", "content": null, "other": null}]),
                json!([{"role": "user", "content": null, "other": null}]),
            ),
            (
                "messages",
                json!([{"role": "assistant", "content": "", "tool_calls": null, "tool_call_id": ""}, {"role": "", "tool_calls": [], "name": ""}]),
                json!([{"role": "assistant", "content": ""}, {"role": "", "name": ""}]),
            ),
            (
                "tools",
                json!([{"type": "function", "function": {"name": "f", "description": null, "parameters": null, "strict": null}}]),
                json!([{"type": "function", "function": {"name": "f", "strict": null}}]),
            ),
            (
                "tools",
                json!([{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"default": null}}}}}]),
                json!([{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"default": null}}}}}]),
            ),
            ("response_format", json!({"type": "text", "json_schema": null}), json!({"type": "text"})),
            ("response_format", json!({"type": null, "json_schema": {}}), json!({"type": null})),
            ("fallbacks", json!([{"model": "x/y", "url": ""}, {"model": null, "url": null}]), json!([{"model": "x/y"}, {"model": null}])),
            ("stop", json!("[\"a\",\"b\"]"), json!(["a", "b"])),
            ("stop", json!("]"), json!("]")),
            ("stop", json!("\n"), json!("\n")),
            ("stop", json!(["", "null"]), json!(["", "null"])),
            ("stop", json!("{\"a\": 1}"), json!("{\"a\": 1}")),
            (
                "tool_choice",
                json!("{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"),
                json!({"type": "function", "function": {"name": "f"}}),
            ),
            ("tool_choice", json!("auto"), json!("auto")),
            ("response_format", json!("{\"type\":\"json_object\"}"), json!({"type": "json_object"})),
            ("input", json!("[1, 2]"), json!("[1, 2]")),
            ("input", json!("20"), json!("20")),
            ("input", json!("null"), json!("null")),
            ("max_cost", json!(0.1), json!("0.1")),
            ("max_cost", json!(5), json!("5")),
            ("max_cost", json!(1e-7), json!("0.0000001")),
            ("max_cost", json!("0.30"), json!("0.30")),
        ] {
            let read = given("prompt", &json!({name: given_as})).unwrap();
            assert_eq!(read, json!({name: read_as}), "{name} as {given_as}");
        }
        for (tool, name, given_as, read_as) in [
            ("call", "method", json!("post"), json!("POST")),
            ("call", "method", json!("fetch"), json!("fetch")),
            ("search", "kind", json!(" Model "), json!("model")),
            ("call", "headers", json!({"accept": null, "content-type": "", "openai-beta": "x"}), json!({"openai-beta": "x"})),
            ("call", "body", json!({"a": null, "headers": {"accept": null}}), json!({"a": null, "headers": {"accept": null}})),
        ] {
            assert_eq!(given(tool, &json!({name: given_as})).unwrap(), json!({name: read_as}), "{tool} {name}");
        }
        let limit = given("login", &json!({"spend_limit": "{\"amount\": 0.5, \"cycle\": \"Daily\"}", "force": "True"})).unwrap();
        assert_eq!(limit, json!({"spend_limit": {"amount": "0.5", "cycle": "daily"}, "force": true}));
        assert!(
            given("prompt", &json!({"max_cost": 0.123_456_789_012_345_68})).unwrap_err().contains("max_cost: a number with so many digits")
        );
    }

    #[test]
    fn what_is_empty_was_left_out_but_for_what_bounds_a_call() {
        for tool in LavaMcp::tools() {
            let required = names_in(tool.input_schema.get("required"));
            for name in tool.input_schema["properties"].as_object().unwrap().keys() {
                for empty in [json!(null), json!(""), json!([]), json!({})] {
                    let read = given(&tool.name, &json!({name: empty}));
                    let shown = format!("{} {name} {empty}", tool.name);
                    match read {
                        Err(error) => assert!(NEVER_EMPTY.contains(&name.as_str()) && error.contains(&**name), "{shown}: {error}"),
                        Ok(read) if !empty.is_null() && required.contains(name.as_str()) => {
                            assert!(read.get(name).is_some() || !empty.is_string(), "{shown}")
                        }
                        Ok(read) => assert_eq!(read, json!({}), "{shown}"),
                    }
                }
            }
        }
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its refusals are looked at")]
    struct Args {
        words: Option<Vec<String>>,
        count: u32,
    }

    #[test]
    fn a_wrong_argument_is_named() {
        let read = |value: Value| parse::<Args>(value.as_object().cloned().unwrap()).map(|args| format!("{args:?}")).unwrap_err().to_text();
        assert!(read(json!({"words": [1]})).starts_with("words[0]: invalid type"), "{}", read(json!({"words": [1]})));
        assert!(read(json!({"word": "daily"})).contains("unknown field `word`, expected `words` or `count`"));
    }
}
